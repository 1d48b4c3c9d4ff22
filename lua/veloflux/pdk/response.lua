--- The answer to the client: looked at and changed before it leaves, or given by the plugin itself.
local phase = require "veloflux.runtime.phase"
local task = require "veloflux.runtime.task"
local view = require "veloflux.runtime.view"
local fields = require "veloflux.runtime.fields"
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
  if type(max) ~= "number" or not (max >= 1 and max <= MOST) then
    error(("response.get_headers: expected a number between 1 and %d"):format(MOST), 2)
  end
  local found, err = view.fields(view.RESPONSE, max)
  return setmetatable(found, { __index = function(headers, name)
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

--- Names of the answer's fields have dashes, where plugins may write underscores.
local function dashed(name) return name:find("_", 1, true) and name:gsub("_", "-") or name end

local function check_headers(headers, what)
  if headers == nil then return end
  if type(headers) ~= "table" then error(what .. ": expected a table of headers", 3) end
  local problem = fields.problem(headers)
  if problem then error(what .. ": " .. problem, 3) end
end

--- Sets a field, in place of all of that name; `_` in it becomes `-`. Before the answer is there (rewrite, access) it
-- is kept for whatever answer comes. Framing and connection fields are the proxy's: setting them does nothing.
---@param name string
---@param value string|number|boolean|string[]
function M.set_header(name, value)
  if not EDIT[task.run.phase] then wrong(EDIT, "response.set_header") end
  if type(name) ~= "string" then error("response.set_header: expected a string as name", 2) end
  name = dashed(name)
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
  name = dashed(name)
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

--- Sets several fields, as set_header does each; none when a value is of the wrong type.
---@param headers table<string, string|number|boolean|string[]>
function M.set_headers(headers)
  check(EDIT, "set_headers")
  if type(headers) ~= "table" then error("response.set_headers: expected a table", 2) end
  check_headers(headers, "response.set_headers")
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
  if kept.whole then return piece end -- whatever another plugin has made of it
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
  if not task.is_own() then error("response.exit: not possible inside a coroutine of the plugin's own", 4) end
  local rc = C.vf_view_answer(task.run.ex, status, body, #body)
  if rc ~= 0 then error(("response.exit: status %s %s"):format(tostring(status), view.problem(rc)), 4) end
end

--- The answer is whole: it leaves, and the access log names the plugin.
local function leave()
  local instance = require("veloflux.runtime.chain").current()
  if instance then C.vf_view_set_reason(task.run.ex, instance.name, #instance.name) end
  task.exit()
end

local function put_field(name, value)
  local rc = C.vf_view_answer_field(task.run.ex, name, #name, value, #value)
  if rc == 0 or rc == -3 then return end
  C.vf_view_forget_answer(task.run.ex) -- half of one is none
  error(("response.exit: header %q %s"):format(tostring(name), view.problem(rc)), 5)
end

local function put_fields(headers, has_type)
  for name, value in pairs(headers) do
    name = dashed(name)
    for _, single in ipairs(type(value) == "table" and value or { value }) do
      put_field(name, to_text(single, "response.exit"))
    end
    has_type = has_type or name:lower() == "content-type"
  end
  return has_type
end

local function given_type(headers)
  for name, value in pairs(headers or {}) do
    if dashed(name):lower() == "content-type" then return type(value) == "table" and value[1] or value end
  end
end

local function encoded(body)
  local text, problem = require("veloflux.pdk.json").encode(body)
  if not text then error("response.exit: " .. tostring(problem), 4) end
  return text
end

local function is_grpc(content_type) return require("veloflux.runtime.grpc_answer").is_content_type(content_type) end

local function is_grpc_request()
  local content_type = view.field(view.REQUEST, "content-type")
  return content_type ~= nil and is_grpc(content_type)
end

--- Answers a request of gRPC: the status and the sentence are fields, unless the plugin has set them.
local function finish_grpc(status, body, headers)
  local grpc = require "veloflux.runtime.grpc_answer"
  local message = body
  if type(body) == "table" then message = type(body.message) == "string" and body.message or nil end
  local code, text = grpc.fields(status, message)
  local given = {}
  for name in pairs(headers or {}) do given[dashed(name):lower()] = true end
  begin(status < 400 and 200 or status, "")
  local has_type = headers and put_fields(headers, false)
  if not given["grpc-status"] then put_field("Grpc-Status", code) end
  if not given["grpc-message"] then put_field("Grpc-Message", text) end
  if not has_type then put_field("Content-Type", "application/grpc") end
  leave()
end

local function finish(status, body, headers)
  local own_type = given_type(headers)
  if is_grpc_request() and not (own_type and is_grpc(own_type)) then return finish_grpc(status, body, headers) end
  local is_json = type(body) == "table"
  local content = is_json and encoded(body) or body
  begin(status, content or "")
  local has_type = headers and put_fields(headers, false)
  if content and not has_type then
    put_field("Content-Type", is_json and "application/json; charset=utf-8" or "text/plain; charset=utf-8")
  end
  leave()
end

--- Ends the request with an answer: nothing behind this call runs, not even behind a pcall. In
-- header_filter it replaces the backend's answer. A request of gRPC is answered with `grpc-status` for the status, and
-- the body, if it is a text, or its `message` as `grpc-message`; with a Content-Type of gRPC the body is sent as it is.
---@param status integer 200 to 599
---@param body string|table|nil a table is sent as JSON
---@param headers table<string, string|number|boolean|string[]>|nil
function M.exit(status, body, headers)
  if not EXIT[task.run.phase] then wrong(EXIT, "response.exit") end
  if type(status) ~= "number" or not (status >= 200 and status <= 599) then
    error(("response.exit: status %s: expected one between 200 and 599"):format(tostring(status)), 2)
  end
  if body ~= nil and type(body) ~= "string" and type(body) ~= "table" then
    error("response.exit: expected a string, a table or nothing as body", 2)
  end
  check_headers(headers, "response.exit")
  finish(status, body, headers)
end

--- Ends the request with an error answer in the form of the Content-Type in `headers`, or that the client accepts:
-- JSON, HTML, XML or text.
---@param status integer 400 to 599
---@param message string|table|nil a usual one for the status, when nil; a table stands in the JSON as it is
---@param headers table<string, string|number|boolean|string[]>|nil
function M.error(status, message, headers)
  if not EXIT[task.run.phase] then wrong(EXIT, "response.error") end
  if type(status) ~= "number" or not (status >= 400 and status <= 599) then
    error(("response.error: status %s: expected one between 400 and 599"):format(tostring(status)), 2)
  end
  if message ~= nil and type(message) ~= "string" and type(message) ~= "table" then
    error("response.error: expected a string, a table or nothing as message", 2)
  end
  check_headers(headers, "response.error")
  local page = require "veloflux.runtime.error_page"
  message = message or page.message(status)
  local own_type = given_type(headers)
  if is_grpc_request() then finish(status, { message = message }, headers) end
  local content, content_type = page.write(message, view.text_of(view.REQUEST_ID), own_type,
    view.field(view.REQUEST, "accept"))
  local all = {}
  for name, value in pairs(headers or {}) do all[name] = value end
  if not own_type then all["Content-Type"] = content_type end
  finish(status, content, all)
end

return M
