--- The answer to the client: looked at and changed before it leaves, or given by the plugin itself.
local phase = require "veloflux.runtime.phase"
local task = require "veloflux.runtime.task"
local view = require "veloflux.runtime.view"
local C = require("ffi").C

local wrong = phase.wrong

---@class pdk.response
local M = {}

local READ = phase.set("after")
local EDIT = phase.set("answer")
local FIELDS = phase.set("answer", "after")
local BODY = phase.set("body_filter")
local CONTENT = phase.set("header_filter", "body_filter")
local EXIT = phase.set("answer")
local MAX_FIELDS, MOST = 100, 1000

local function check(set, name)
  if not set[task.run.phase] then wrong(set, "response." .. name, 4) end
end

--- Returns the status code of the answer.
---@return integer
function M.get_status()
  check(READ, "get_status")
  return tonumber(view.response().status)
end

--- Returns the first field called `name` (any case, `_` is taken for `-`) of the answer, or nil.
---@param name string
---@return string|nil
function M.get_header(name)
  check(FIELDS, "get_header")
  if type(name) ~= "string" then error("response.get_header: expected a string", 2) end
  return view.field(view.RESPONSE, name)
end

--- Returns the values of all fields called `name` (as get_header looks for it), in their order.
---@param name string
---@return string[] values empty when there is none
function M.get_header_values(name)
  check(EDIT[task.run.phase] and EDIT or READ, "get_header_values")
  if type(name) ~= "string" then error("response.get_header_values: expected a string", 2) end
  return view.field_values(view.RESPONSE, name)
end

--- Returns the fields of the answer by lower-case name; lists for repeated ones.
---@param max_headers integer|nil at most so many (100; up to 1000)
---@return table, string|nil err "truncated" when there are more
function M.get_headers(max_headers)
  check(FIELDS, "get_headers")
  local max = max_headers or MAX_FIELDS
  if type(max) ~= "number" or max < 1 or max > MOST then
    error(("response.get_headers: expected a number between 1 and %d"):format(MOST), 2)
  end
  local fields, err = view.fields(view.RESPONSE, max)
  return setmetatable(fields, { __index = function(headers, name)
    return type(name) == "string" and rawget(headers, (name:lower():gsub("_", "-"))) or nil
  end }), err
end

--- Says where the answer comes from: "service" (a backend), "exit" (a plugin) or "error" (VeloFlux itself).
---@return "service"|"exit"|"error"
function M.get_source()
  check(READ, "get_source")
  local answer = view.response()
  if answer.is_plugins ~= 0 then return "exit" end
  return answer.is_local ~= 0 and "error" or "service"
end

--- Sets the status of the answer.
---@param status integer 200 to 599
function M.set_status(status)
  check(EDIT, "set_status")
  if type(status) ~= "number" or status < 200 or status > 599 or status % 1 ~= 0 then
    error("response.set_status: expected a status between 200 and 599", 2)
  end
  local rc = C.vf_view_set_status(task.run.ex, status)
  if rc ~= 0 then error(("response.set_status: %d %s"):format(status, view.problem(rc)), 2) end
end

local function to_text(value, what)
  local kind = type(value)
  if kind == "string" then return value end
  if kind == "number" or kind == "boolean" then return tostring(value) end
  error(("%s: expected a string, number or boolean, got %s"):format(what, kind), 3)
end

--- Sets a field, in place of all of that name. Before the answer is there (rewrite, access) it is kept for
-- whatever answer comes. Framing and connection fields are the proxy's: setting them does nothing.
---@param name string
---@param value string|number|boolean|string[]
function M.set_header(name, value)
  if not EDIT[task.run.phase] then wrong(EDIT, "response.set_header") end
  if type(name) ~= "string" then error("response.set_header: expected a string as name", 2) end
  if type(value) == "table" then
    view.edit(view.RESPONSE, view.CLEAR, name, "", 2)
    for _, single in ipairs(value) do
      view.edit(view.RESPONSE, view.ADD, name, to_text(single, "response.set_header"), 2)
    end
    return
  end
  view.edit(view.RESPONSE, view.SET, name, type(value) == "string" and value or
    to_text(value, "response.set_header"), 2)
end

--- Adds a field beside those of the same name.
---@param name string
---@param value string|number|boolean|string[]
function M.add_header(name, value)
  check(EDIT, "add_header")
  if type(name) ~= "string" then error("response.add_header: expected a string as name", 2) end
  if type(value) ~= "table" then
    view.edit(view.RESPONSE, view.ADD, name, to_text(value, "response.add_header"), 2)
    return
  end
  for _, single in ipairs(value) do
    view.edit(view.RESPONSE, view.ADD, name, to_text(single, "response.add_header"), 2)
  end
end

--- Removes all fields of a name.
---@param name string
function M.clear_header(name)
  check(EDIT, "clear_header")
  if type(name) ~= "string" then error("response.clear_header: expected a string as name", 2) end
  view.edit(view.RESPONSE, view.CLEAR, name, "", 2)
end

--- Sets several fields, as set_header does each.
---@param headers table<string, string|number|boolean|string[]>
function M.set_headers(headers)
  check(EDIT, "set_headers")
  if type(headers) ~= "table" then error("response.set_headers: expected a table", 2) end
  for name, value in pairs(headers) do M.set_header(name, value) end
end

-- Content ------------------------------------------------------------------------------------------

local function collect(values)
  local piece, is_last = view.chunk()
  local kept = values.response_body
  if not kept then
    kept = { pieces = {}, bytes = 0 }
    values.response_body = kept
  end
  if kept.whole then return kept.whole end
  if kept.overflow then return nil, "the response body is larger than plugins may have" end
  kept.bytes = kept.bytes + #piece
  kept.pieces[#kept.pieces + 1] = piece
  if kept.bytes > view.body_limit() then
    kept.overflow = true
    M.set_chunk(table.concat(kept.pieces))
    kept.pieces = nil
    return nil, "the response body is larger than plugins may have"
  end
  if not is_last then
    M.set_chunk ""
    return nil
  end
  kept.whole = table.concat(kept.pieces)
  kept.pieces = nil
  M.set_chunk(kept.whole)
  return kept.whole
end

--- Returns the content of the answer. In body_filter the pieces are collected, and held back; the whole is
-- returned with the last one, nil before that. In header_filter it is there after
-- service.request.enable_buffering. What does not fit into `plugin_limits.body` is let through.
---@return string|nil body
---@return string|nil err
function M.get_raw_body()
  check(CONTENT, "get_raw_body")
  if BODY[task.run.phase] then return collect(view.values()) end
  return view.answer_body()
end

--- Sets the content of the answer: in body_filter what leaves in place of the piece (after get_raw_body: in
-- place of the whole), in header_filter after service.request.enable_buffering.
---@param body string
function M.set_raw_body(body)
  check(CONTENT, "set_raw_body")
  if type(body) ~= "string" then error("response.set_raw_body: expected a string", 2) end
  if not BODY[task.run.phase] then
    local rc = C.vf_view_set_answer_body(task.run.ex, body, #body)
    if rc == 0 then return end
    error("response.set_raw_body: " .. (rc == -6 and "call service.request.enable_buffering before" or
      view.problem(rc)), 2)
  end
  local kept = view.values().response_body
  if kept and kept.whole then kept.whole = body end
  M.set_chunk(body)
end

--- In body_filter: returns the piece of content that is on its way, and whether it is the last (which may
-- be empty).
---@return string piece, boolean is_last
function M.get_chunk()
  check(BODY, "get_chunk")
  return view.chunk()
end

--- In body_filter: lets `piece` leave instead; "" leaves nothing.
---@param piece string
function M.set_chunk(piece)
  check(BODY, "set_chunk")
  if type(piece) ~= "string" then error("response.set_chunk: expected a string", 2) end
  view.values().chunk = piece -- keeps it until it has left
  C.vf_view_set_chunk(task.run.ex, piece, #piece)
end

-- Answers of the plugin's own ----------------------------------------------------------------------

local function begin(status, body)
  local rc = C.vf_view_answer(task.run.ex, status, body, #body)
  if rc ~= 0 then error(("response.exit: status %s %s"):format(tostring(status), view.problem(rc)), 3) end
  local chain = require "veloflux.runtime.chain"
  local instance = chain.current()
  if instance then C.vf_view_set_reason(task.run.ex, instance.name, #instance.name) end
end

local function put_field(name, value)
  local rc = C.vf_view_answer_field(task.run.ex, name, #name, value, #value)
  if rc ~= 0 and rc ~= -3 then error(("response.exit: header %q %s"):format(tostring(name), view.problem(rc)), 4) end
end

local function put_fields(headers, has_type)
  for name, value in pairs(headers) do
    if type(name) ~= "string" then error("response.exit: expected string keys in headers", 3) end
    for _, single in ipairs(type(value) == "table" and value or { value }) do
      put_field(name, to_text(single, "response.exit"))
    end
    has_type = has_type or name:lower() == "content-type"
  end
  return has_type
end

--- Ends the request with an answer: nothing behind this call runs, not even behind a pcall. In
-- header_filter it replaces the backend's answer.
---@param status integer 200 to 599
---@param body string|table|nil a table is sent as JSON
---@param headers table<string, string|number|boolean|string[]>|nil
function M.exit(status, body, headers)
  if not EXIT[task.run.phase] then wrong(EXIT, "response.exit") end
  if type(status) ~= "number" then error("response.exit: expected a status between 200 and 599", 2) end
  local content, is_json = body, type(body) == "table"
  if is_json then
    local text, problem = require("veloflux.pdk.json").encode(body)
    if not text then error("response.exit: " .. tostring(problem), 2) end
    content = text
  end
  if content ~= nil and type(content) ~= "string" then
    error("response.exit: expected a string, a table or nothing as body", 2)
  end
  begin(status, content or "")
  local has_type = headers and put_fields(headers, false)
  if content and not has_type then
    put_field("Content-Type", is_json and "application/json; charset=utf-8" or "text/plain; charset=utf-8")
  end
  task.exit()
end

local MESSAGES = { [400] = "Bad request", [401] = "Unauthorized", [403] = "Forbidden", [404] = "Not found",
  [405] = "Method not allowed", [408] = "Request timeout", [411] = "Length required", [412] = "Precondition failed",
  [413] = "Payload too large", [414] = "URI too long", [415] = "Unsupported media type",
  [417] = "Expectation failed", [426] = "Upgrade required", [429] = "Too many requests",
  [494] = "Request header or cookie too large", [500] = "An unexpected error occurred",
  [502] = "An invalid response was received from the upstream server", [503] = "Service unavailable",
  [504] = "The upstream server is timing out" }

local FORMATS = {
  { "application/json", "application/json; charset=utf-8" },
  { "text/html", "text/html; charset=utf-8" },
  { "application/xml", "application/xml; charset=utf-8" },
  { "text/plain", "text/plain; charset=utf-8" },
}

local ESCAPES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }
local function escape(text) return (text:gsub('[&<>"]', ESCAPES)) end

local WRITERS = {
  ["application/json"] = function(message, id)
    return require("veloflux.pdk.json").encode { message = message, request_id = id }
  end,
  ["text/html"] = function(message)
    return "<!doctype html><html><head><meta charset=\"utf-8\"><title>Error</title></head><body><h1>Error</h1><p>" ..
      escape(message) .. ".</p></body></html>\n"
  end,
  ["application/xml"] = function(message)
    return '<?xml version="1.0" encoding="UTF-8"?>\n<error><message>' .. escape(message) .. "</message></error>\n"
  end,
  ["text/plain"] = function(message) return message .. "\n" end,
}

--- Picks the first format of Accept that we write; weights decide, JSON without a wish.
local function accepted(accept)
  local best, best_weight = FORMATS[1], 0
  for range in (accept or ""):gmatch "[^,]+" do
    local kind = range:match "^%s*([^;%s]+)"
    local weight = tonumber(range:match ";%s*q=([%d.]+)") or 1
    for _, format in ipairs(FORMATS) do
      if kind and weight > best_weight and (kind:lower() == format[1] or kind == format[1]:match "^[^/]+" .. "/*") then
        best, best_weight = format, weight
      end
    end
  end
  return best
end

--- Ends the request with an error answer in the form that the client accepts: JSON, HTML, XML or text.
---@param status integer
---@param message string|table|nil a usual one for the status, when nil; a table is sent as JSON
---@param headers table|nil
function M.error(status, message, headers)
  if not EXIT[task.run.phase] then wrong(EXIT, "response.error") end
  if type(message) == "table" then return M.exit(status, message, headers) end
  local format = accepted(view.field(view.REQUEST, "accept"))
  local text = message or MESSAGES[status] or "An unexpected error occurred"
  local all = { ["Content-Type"] = format[2] }
  for name, value in pairs(headers or {}) do all[name] = value end
  return M.exit(status, WRITERS[format[1]](text, view.text_of(view.REQUEST_ID)), all)
end

return M
