--- TLS clients for specs: OpenSSL's s_client and curl, as people have them.
local process = require "support.process"
local tempdir = require "support.tempdir"

local M = {}

--- Shakes hands with a listener by `openssl s_client`, sends a request and reads the answer to its end.
-- @param port of the listener
-- @param options table or nil: args (list for s_client), name (SNI; false: none), path ("/"), session_in and
--   session_out (paths), request (text instead of a GET)
-- @return {code, version, cipher, subject, signature, alert, is_resumed, alpn, answer, output}
function M.shake(port, options)
  options = options or {}
  local args = { "s_client", "-connect", "127.0.0.1:" .. port, "-ign_eof" }
  local function add(...)
    for _, arg in ipairs { ... } do args[#args + 1] = arg end
  end
  if options.name == false then add "-noservername" else add("-servername", options.name or "a.test") end
  if options.session_in then add("-sess_in", options.session_in) end
  if options.session_out then add("-sess_out", options.session_out) end
  add(unpack(options.args or {}))
  local request = options.request
    or ("GET %s HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"):format(options.path or "/")
  local quoted = {}
  for i, arg in ipairs(args) do quoted[i] = "'" .. arg:gsub("'", "'\\''") .. "'" end
  local code, out, err = process.run("/bin/sh", { "-c",
    'printf "%b" "$REQUEST" | openssl ' .. table.concat(quoted, " ") }, { env = { REQUEST = request:gsub("\\", "\\\\")
      :gsub("\r", "\\r"):gsub("\n", "\\n") } })
  local output = out .. "\n" .. err
  return { code = code, output = output, version = output:match "\nNew, (TLSv[%d.]+), Cipher" or
    output:match "\nReused, (TLSv[%d.]+), Cipher", cipher = output:match ", Cipher is ([%w_-]+)",
    subject = output:match "subject=([^\n]+)", signature = output:match "Peer signature type: ([^\n]+)",
    alert = tonumber(output:match "SSL alert number (%d+)"), is_resumed = output:find("\nReused, ", 1, true) ~= nil,
    alpn = output:match "ALPN protocol: ([^\n]+)", answer = output:match "HTTP/1.1 (%d+)" }
end

--- Asks a listener by curl.
-- @param options table or nil: args (list), name ("a.test"), path, ca (path; nil: anything goes)
-- @return {code, status, body, head, error}: code and error of curl
function M.get(port, options)
  options = options or {}
  local name = options.name or "a.test"
  local dir = tempdir.new()
  local args = { "-s", "-S", "-D", dir .. "/head", "-o", dir .. "/body", "--max-time", "60", "--resolve",
    ("%s:%d:127.0.0.1"):format(name, port) }
  if options.ca then
    args[#args + 1], args[#args + 2] = "--cacert", options.ca
  else
    args[#args + 1] = "-k"
  end
  for _, arg in ipairs(options.args or {}) do args[#args + 1] = arg end
  args[#args + 1] = ("https://%s:%d%s"):format(name, port, options.path or "/")
  local code, _, err = process.run("/usr/bin/curl", args)
  local head = tempdir.read(dir .. "/head") or ""
  return { code = code, status = tonumber(head:match "^HTTP/[%d.]+ (%d+)"), head = head,
    body = tempdir.read(dir .. "/body") or "", error = err }
end

return M
