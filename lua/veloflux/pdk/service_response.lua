--- The backend's answer as it came, whatever plugins have made of it.
local phase = require "veloflux.runtime.phase"
local task = require "veloflux.runtime.task"
local view = require "veloflux.runtime.view"

---@class pdk.service.response
local M = {}

local READ = phase.set("after")
local MAX_FIELDS, MOST = 100, 1000

local function check(name)
  if not READ[task.run.phase] then phase.wrong(READ, "service.response." .. name, 4) end
end

--- Returns the status code of the backend's answer, nil when no backend has answered.
---@return integer|nil
function M.get_status()
  check "get_status"
  local status = tonumber(view.response().upstream_status)
  return status ~= 0 and status or nil
end

local function has_answer() return view.response().upstream_status ~= 0 and view.response().is_local == 0 end

--- Returns the first field called `name` (any case, `_` is taken for `-`), or nil.
---@param name string
---@return string|nil
function M.get_header(name)
  check "get_header"
  if type(name) ~= "string" then error("service.response.get_header: expected a string", 2) end
  return has_answer() and view.field(view.UPSTREAM, name) or nil
end

--- Returns the fields by lower-case name; lists for repeated ones.
---@param max_headers integer|nil at most so many (100; up to 1000)
---@return table, string|nil err "truncated" when there are more
function M.get_headers(max_headers)
  check "get_headers"
  local max = max_headers or MAX_FIELDS
  if type(max) ~= "number" or not (max >= 1 and max <= MOST) then
    error(("service.response.get_headers: expected a number between 1 and %d"):format(MOST), 2)
  end
  if not has_answer() then return {} end
  local fields, err = view.fields(view.UPSTREAM, max)
  return setmetatable(fields, { __index = function(headers, name)
    return type(name) == "string" and rawget(headers, (name:lower():gsub("_", "-"))) or nil
  end }), err
end

--- Returns the content of the backend's answer: in header_filter and log after
-- service.request.enable_buffering; in body_filter with its last piece. nil where it is not known.
---@return string|nil body, string|nil err
function M.get_raw_body()
  check "get_raw_body"
  if phase.NAME[tonumber(task.run.phase)] == "body_filter" then
    return require("veloflux.pdk.response").get_raw_body()
  end
  local kept = view.values().response_body
  return kept and kept.whole or view.answer_body()
end

--- Returns the content decoded as its Content-Type (or `mimetype`) says: application/json, form fields
-- (application/x-www-form-urlencoded) or the parts of multipart/form-data.
---@param mimetype string|nil
---@param max_args integer|nil of form fields (100; up to 1000)
---@return table|nil body, string|nil err, string|nil mimetype
function M.get_body(mimetype, max_args)
  check "get_body"
  local max = max_args or MAX_FIELDS
  if type(max) ~= "number" or not (max >= 1 and max <= MOST) then
    error(("service.response.get_body: expected a number between 1 and %d"):format(MOST), 2)
  end
  local content_type = mimetype or M.get_header "content-type"
  if not content_type then return nil, "missing content type" end
  return require("veloflux.runtime.content").decode(M.get_raw_body, content_type, max)
end

return M
