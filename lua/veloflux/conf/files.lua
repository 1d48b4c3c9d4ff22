--- Files as the conf loader sees them: reading, folders, patterns.
local ffi = require "ffi"

ffi.cdef [[
int vf_file_real_path(const char *path, char *out, size_t room);
int vf_file_kind(const char *path);
int vf_file_glob(const char *pattern, char *out, size_t room);
]]
local C = ffi.C

local M = {}

local KINDS = { [0] = "none", [1] = "file", [2] = "folder", [3] = "other" } -- enum vf_file_kind
local MAX_PATH, MAX_GLOB = 4096, 4 * 1024 * 1024

--- Returns the text of a file, or nil and why not.
function M.read(path)
  local kind = KINDS[C.vf_file_kind(path)]
  if kind == "folder" then return nil, "is a folder" end
  local file, problem = io.open(path, "rb")
  if not file then return nil, (problem:gsub("^.-: ", "", 1)) end
  local text = file:read "*a"
  file:close()
  if not text then return nil, "cannot be read" end
  return text
end

--- Says whether there is a file.
function M.is_regular(path) return KINDS[C.vf_file_kind(path)] == "file" end

--- Returns the absolute path, without links; nil when there is nothing.
function M.real_path(path)
  local out = ffi.new("char[?]", MAX_PATH)
  local len = C.vf_file_real_path(path, out, MAX_PATH)
  return len >= 0 and ffi.string(out, len) or nil
end

--- Returns the folder part of a path as written: "." when there is none.
function M.folder_of(path)
  return path:match "^(.*)/[^/]*$" and (path:match "^(.*)/[^/]*$" .. "/"):gsub("(.)/$", "%1") or "."
end

--- Returns the paths that match a shell pattern, in byte order; nil when a folder cannot be read.
function M.glob(pattern)
  local room = 65536
  while room <= MAX_GLOB do
    local out = ffi.new("char[?]", room)
    local len = C.vf_file_glob(pattern, out, room)
    if len >= 0 then
      local paths = {}
      for path in ffi.string(out, len):gmatch "[^\n]+" do paths[#paths + 1] = path end
      return paths
    end
    if len ~= -105 then return nil end -- ENOBUFS
    room = room * 4
  end
end

return M
