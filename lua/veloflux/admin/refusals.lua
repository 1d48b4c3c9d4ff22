--- Writes that were refused, for those who look later: each is a line of the log. What was sent stays out, and so do
-- texts that the answer quotes of it.
local log = require "veloflux.admin.log"

local M = {}

local MAX_DETAIL = 300 -- bytes
local SAFE = { GET = true, HEAD = true, OPTIONS = true }

local function detail_of(text)
  text = text:gsub('\\.', ""):gsub('"[^"]*"?', '"..."')
  return #text > MAX_DETAIL and text:sub(1, MAX_DETAIL) .. "..." or text
end

--- Notes what becomes of a request.
-- @param request of the router; `author` says who sent it: of strangers there may be many
-- @param result of the router
function M.note(request, result)
  local status = result.status or 200
  if SAFE[request.method] or status < 400 then return end
  local first = result.errors and result.errors[1] or {}
  log.write(request.author and "info" or "debug", "admin.refused", { "method", request.method, "path", request.path,
    "by", request.author or "", "client", request.client, "request_id", request.request_id, "status", status,
    "code", result.code or "", "pointer", first.pointer or "",
    "detail", detail_of(first.detail or result.detail or "") })
end

return M
