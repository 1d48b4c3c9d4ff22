--- A fresh folder for a spec, removed with its scope (kept when VF_KEEP is set, to look at what a failure left).
local uv = require "luv"
local loop = require "support.loop"

local M = {}

local function remove(path)
  local entries = uv.fs_scandir(path)
  while entries do
    local name, kind = uv.fs_scandir_next(entries)
    if not name then break end
    local child = path .. "/" .. name
    if kind == "directory" then remove(child) else uv.fs_unlink(child) end
  end
  uv.fs_rmdir(path)
end

--- Creates an empty folder.
-- @return its absolute path
function M.new()
  local path = assert(uv.fs_mkdtemp((os.getenv "TMPDIR" or "/tmp") .. "/veloflux-spec-XXXXXX"))
  if not os.getenv "VF_KEEP" then loop.defer(function() remove(path) end) end
  return path
end

-- Creates the folder of a file, and those above it, where they are missing.
local function make_folder(path)
  local folder = path:match "^(.+)/[^/]+$"
  if not folder or uv.fs_stat(folder) then return end
  make_folder(folder)
  assert(uv.fs_mkdir(folder, tonumber("755", 8)))
end

--- Writes a file whole; folders that are missing are made.
function M.write(path, text)
  make_folder(path)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  assert(file:close())
end

--- Replaces a file: who looks meanwhile sees the old text or the new one, never a part.
function M.replace(path, text)
  local new = path .. ".new"
  M.write(new, text)
  assert(uv.fs_rename(new, path))
end

--- Reads a file whole, or returns nil and a message.
function M.read(path)
  local file, err = io.open(path, "rb")
  if not file then return nil, err end
  local text = file:read "*a"
  file:close()
  return text
end

return M
