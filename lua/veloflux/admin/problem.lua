--- Problem documents (RFC 9457) as the admin API answers them: type, title, status, detail, instance,
-- and error (the detail again, which older clients read), code, request_id and errors.
local json = require "veloflux.pdk.json"

local M = {}

local Problem = {}
Problem.__index = {}

--- What it says for people, as any error message.
function Problem:__tostring() return self.detail end

-- code -> status, title. The one table from the codes of the model to HTTP.
local KINDS = {
  invalid = { 400, "Bad Request" },
  unauthorized = { 401, "Unauthorized" },
  forbidden = { 403, "Forbidden" },
  cross_origin = { 403, "Forbidden" },
  not_found = { 404, "Not Found" },
  method_not_allowed = { 405, "Method Not Allowed" },
  not_acceptable = { 406, "Not Acceptable" },
  conflict = { 409, "Conflict" },
  exists = { 409, "Conflict" },
  referenced = { 409, "Conflict" },
  owned = { 409, "Conflict" },
  rolled_back = { 409, "Conflict" },
  in_progress = { 409, "Conflict" },
  stale = { 412, "Precondition Failed" },
  unsupported_media_type = { 415, "Unsupported Media Type" },
  upgrade_required = { 426, "Upgrade Required" },
  key_reused = { 422, "Unprocessable Content" },
  config_rejected = { 422, "Unprocessable Content" },
  too_many_attempts = { 429, "Too Many Requests" },
  too_many_requests = { 429, "Too Many Requests" },
  internal_error = { 500, "Internal Server Error" },
  unavailable = { 503, "Service Unavailable" },
  insufficient_storage = { 507, "Insufficient Storage" },
}

--- Makes a problem.
-- @param code key of the table above
-- @param detail one sentence for people
-- @param extra table or nil: errors (list of {pointer, detail}), headers (list of name, value, ...), and
-- further members of the document
-- @return a result for the router
function M.new(code, detail, extra)
  local kind = KINDS[code] or error("unknown problem code " .. tostring(code), 2)
  extra = extra or {}
  return setmetatable({ status = kind[1], code = code, title = kind[2], detail = detail, errors = extra.errors or {},
    headers = extra.headers, members = extra.members }, Problem)
end

--- Says whether a value is a problem.
function M.is(value) return type(value) == "table" and getmetatable(value) == Problem end

--- Returns the codes that there are, with their status.
function M.codes()
  local codes = {}
  for code, kind in pairs(KINDS) do codes[code] = kind[1] end
  return codes
end

--- Returns the answer to `request`: status, headers (name, value, ...), body.
function M.encode(problem, request)
  local document = {
    type = "about:blank", title = problem.title, status = problem.status, detail = problem.detail,
    error = problem.detail, code = problem.code, instance = request.path, request_id = request.request_id,
  }
  for name, value in pairs(problem.members or {}) do document[name] = value end
  if #problem.errors > 0 then document.errors = problem.errors end
  local headers = { "Content-Type", "application/problem+json", "Cache-Control", "no-store",
    "X-Content-Type-Options", "nosniff" }
  for _, text in ipairs(problem.headers or {}) do headers[#headers + 1] = text end
  return problem.status, headers, json.lenient(document) .. "\n"
end

return M
