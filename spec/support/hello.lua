--- ClientHellos: those that OpenSSL sends, and some made byte by byte.
local loop = require "support.loop"
local process = require "support.process"
local uv = require "luv"

local M = {}

local function number(value, bytes)
  local text = ""
  for _ = 1, bytes do
    text = string.char(value % 256) .. text
    value = math.floor(value / 256)
  end
  return text
end

--- A vector: its length in `bytes` bytes, then `text`.
function M.vector(bytes, text) return number(#text, bytes) .. text end

--- A record of TLS, of a handshake unless `type` says otherwise.
function M.record(text, type) return string.char(type or 22) .. "\3\1" .. M.vector(2, text) end

--- An extension.
function M.extension(type, text) return number(type, 2) .. M.vector(2, text) end

--- The extension server_name with a list of names; one that is a table is { type, name }.
function M.server_name(...)
  local list = {}
  for i, name in ipairs { ... } do
    if type(name) == "string" then name = { 0, name } end
    list[i] = string.char(name[1]) .. M.vector(2, name[2])
  end
  return M.extension(0, M.vector(2, table.concat(list)))
end

--- The message: its fields unless `fields` says otherwise: version, session_id, suites, methods, extensions (text, or
-- false: none at all), tail (behind it all), type.
function M.message(fields)
  fields = fields or {}
  local extensions = fields.extensions == nil and M.server_name "a.test" or fields.extensions
  local body = (fields.version or "\3\3") .. ("r"):rep(32) .. M.vector(1, fields.session_id or "")
    .. M.vector(2, fields.suites or "\19\1\19\2") .. M.vector(1, fields.methods or "\0")
    .. (extensions and M.vector(2, extensions) or "") .. (fields.tail or "")
  return string.char(fields.type or 1) .. M.vector(3, body)
end

--- The message in one record.
function M.make(fields) return M.record(M.message(fields)) end

--- Cuts a message into records of `bytes` bytes.
function M.fragments(message, bytes)
  local records = {}
  for at = 1, #message, bytes do records[#records + 1] = M.record(message:sub(at, at + bytes - 1)) end
  return table.concat(records)
end

--- Returns what `openssl s_client` sends first. Runs in a scope of support.loop.
-- @param args text, further arguments
function M.of_openssl(args)
  local listener, came = uv.new_tcp(), loop.condition()
  local got
  assert(listener:bind("127.0.0.1", 0))
  listener:listen(8, function()
    local tcp = uv.new_tcp()
    listener:accept(tcp)
    tcp:read_start(function(_, data)
      got = got or data
      if not tcp:is_closing() then tcp:close() end
      came:notify()
    end)
  end)
  process.run("/bin/sh", { "-c", ("openssl s_client -connect 127.0.0.1:%d %s </dev/null"):format(
    listener:getsockname().port, args) })
  came:wait("the hello", function() return got end)
  listener:close()
  return got
end

return M
