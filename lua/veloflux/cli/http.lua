--- HTTP/1.1 for commands: one request, one answer, one connection that ends with it. Blocks.
local ffi = require "ffi"

ffi.cdef [[
ssize_t vf_instance_ask(const char *address, const char *request, size_t len, int timeout_ms, char **answer);
void vf_instance_free(char *answer);
char *strerror(int error);
]]
local C = ffi.C

local M = {}

M.ANSWER_MS = 60 * 1000 -- a reload binds, prepares and publishes in far less

--- Joins the chunks of a body (RFC 9112 section 7.1). Returns nil when some are missing.
local function dechunk(body)
  local parts, at = {}, 1
  while true do
    local digits, start = body:match("^(%x+)[^\r\n]*\r\n()", at)
    local length = digits and tonumber(digits, 16)
    if not length then return nil end
    if length == 0 then return table.concat(parts) end
    if start + length > #body then return nil end
    parts[#parts + 1] = body:sub(start, start + length - 1)
    at = start + length + 2
  end
end

local function headers_of(head)
  local headers = {}
  for name, value in head:gmatch "([^:\r\n]+):[ \t]*([^\r\n]*)" do headers[name:lower()] = value end
  return headers
end

local function body_of(headers, body, is_head)
  if is_head then return "" end
  if (headers["transfer-encoding"] or ""):lower():find("chunked", 1, true) then return dechunk(body) end
  local length = tonumber(headers["content-length"])
  if length and #body < length then return nil end
  return body
end

--- Takes the last answer of a text apart (interim ones come before it).
-- @param method of the request; answers to HEAD have no body
-- @return {status, headers (lower-case names), body}, or nil when it was cut short
function M.parse(text, method)
  local at = 1
  while true do
    local status, stop = text:match("^HTTP/1%.[01] (%d%d%d)[^\r\n]*\r\n()", at)
    local head_end = status and text:find("\r\n\r\n", stop - 2, true)
    if not head_end then return nil end
    local headers = headers_of(text:sub(stop, head_end))
    at = head_end + 4
    if status:sub(1, 1) ~= "1" then
      local body = body_of(headers, text:sub(at), method == "HEAD")
      return body and { status = tonumber(status), headers = headers, body = body }
    end
  end
end

local function lines_of(request, address)
  local lines = { ("%s %s HTTP/1.1"):format(request.method, request.target),
    "Host: " .. (address:find("/", 1, true) and "localhost" or address), "Connection: close",
    "Content-Length: " .. #(request.body or "") }
  for i = 1, #(request.headers or {}), 2 do
    lines[#lines + 1] = ("%s: %s"):format(request.headers[i], request.headers[i + 1])
  end
  return lines
end

--- Sends a request.
-- @param address HOST:PORT, or the path of a unix socket (with a slash)
-- @param request table: method, target, headers (list of name, value, ...), body (text or nil)
-- @return {status, headers, body}; or nil and a message
function M.ask(address, request)
  local text = table.concat(lines_of(request, address), "\r\n") .. "\r\n\r\n" .. (request.body or "")
  local answer = ffi.new "char *[1]"
  local n = tonumber(C.vf_instance_ask(address, text, #text, M.ANSWER_MS, answer))
  if n < 0 then return nil, ("no answer from %s: %s"):format(address, ffi.string(C.strerror(-n))) end
  local received = ffi.string(answer[0], n)
  C.vf_instance_free(answer[0])
  local parsed = M.parse(received, request.method)
  if not parsed then return nil, ("the answer from %s was cut short"):format(address) end
  return parsed
end

return M
