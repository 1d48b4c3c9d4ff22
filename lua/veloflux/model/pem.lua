--- Fields that hold PEM text: certificates and keys. A conf file names a file or has the text itself; the value is
-- the text either way, and exports repeat the name.
local ffi = require "ffi"
local bit = require "bit"
local scalars = require "veloflux.model.scalars"

ffi.cdef [[
int vf_file_mode(const char *path);
int vf_file_kind(const char *path);
]]
local C = ffi.C

local M = {}

local OTHERS = tonumber("077", 8) -- permissions that a key's file must not give
local MAX_BYTES = 1024 * 1024
local SHORTEST_KEY = 64 -- characters of an Ed25519 key in base64
local EXPECTED = "expected a file, or PEM text (-----BEGIN ...)"
local FOLDER, OTHER = 2, 3 -- enum vf_file_kind

--- Says whether a text is PEM itself and no path.
function M.is_text(text) return text:find("-----BEGIN ", 1, true) ~= nil end

--- Says why a path is not read, or nil: a pipe or a device may never come to an end.
function M.unreadable(path)
  local kind = C.vf_file_kind(path)
  if kind == FOLDER then return path .. ": is a folder" end
  return kind == OTHER and path .. ": not a file" or nil
end

local function read_file(path, is_private)
  local wrong = M.unreadable(path)
  if wrong then return nil, wrong end
  local mode = C.vf_file_mode(path)
  if is_private and mode >= 0 and bit.band(mode, OTHERS) ~= 0 then
    return nil, ("%s: others may read this key (permissions %04o): chmod 600 it"):format(path, mode)
  end
  local file, problem = io.open(path, "rb")
  if not file then return nil, problem end
  local text = file:read(MAX_BYTES + 1)
  file:close()
  if not text or text == "" then return nil, path .. ": is empty" end
  if #text > MAX_BYTES then return nil, path .. ": is too large" end
  return text
end

--- Says whether a text may be a key without its first line: messages do not repeat that.
local function is_bare_key(text) return #text >= SHORTEST_KEY and text:find "^[%w+/]+=*$" ~= nil end

--- Returns the PEM text that a field means.
-- @param text of the field
-- @param dir the folder that relative paths start from
-- @param is_private whether it is a key
-- @return the text, and the absolute path when it came from a file; or nil and a message
function M.open(text, dir, is_private)
  if M.is_text(text) then return text end
  if text:find "[%z\n]" or text == "" then return nil, EXPECTED end
  local path = text:sub(1, 1) == "/" and text or scalars.join(dir, text)
  local content, problem = read_file(path, is_private)
  if not content then return nil, is_private and is_bare_key(text) and EXPECTED or problem end
  return content, path
end

return M
