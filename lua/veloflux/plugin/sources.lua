--- Where plugins are: folders on disk (plugin_path), then those that the binary carries. A plugin found
-- earlier replaces one of the same name found later.
local ffi = require "ffi"
local files = require "veloflux.conf.files"
require "veloflux.embedded" -- declares struct vf_embedded

ffi.cdef [[
extern const struct vf_embedded vf_embedded_lua[];
extern const size_t vf_embedded_lua_count;
]]
local C = ffi.C

local M = {}

local MAX_FILES, MAX_BYTES = 200, 1024 * 1024

M.NAME_PATTERN = "^%w[%w_-]*$"

local embedded -- name -> { file -> {text, chunk} }

--- Lists what the binary carries, once.
local function carried()
  if embedded then return embedded end
  embedded = {}
  for i = 0, tonumber(C.vf_embedded_lua_count) - 1 do
    local entry = C.vf_embedded_lua[i]
    local name, file = ffi.string(entry.name):match "^veloflux%.plugins%.([%w_-]+)%.(.+)$"
    if name and not file:find "^spec%." then
      embedded[name] = embedded[name] or {}
      embedded[name][file] = { text = ffi.string(entry.data, entry.len),
        chunk = ("plugins/%s/%s.lua"):format(name, (file:gsub("%.", "/"))) }
    end
  end
  return embedded
end

--- Returns the paths of the Lua files below a folder, as deep as plugins go.
local function lua_files(folder)
  local paths = {}
  for depth = 0, 4 do
    for _, path in ipairs(files.glob(folder .. "/" .. ("*/"):rep(depth) .. "*.lua") or {}) do
      paths[#paths + 1] = path
    end
  end
  return paths
end

--- Reads a plugin's folder. Specs are not part of what runs.
-- @return {file -> {text, chunk}}, or nil and a problem {file, path, message}
local function read_folder(folder)
  local sources, count = {}, 0
  for _, path in ipairs(lua_files(folder)) do
    local file = path:sub(#folder + 2, -5):gsub("/", "."):gsub("%.init$", "")
    if not file:find "^spec%." then
      local text, problem = files.read(path)
      if not text then return nil, { file = path, path = "", message = problem } end
      if #text > MAX_BYTES then return nil, { file = path, path = "", message = "is larger than 1 MiB" } end
      sources[file], count = { text = text, chunk = path }, count + 1
    end
  end
  if count > MAX_FILES then
    return nil, { file = folder, path = "", message = ("has more than %d files"):format(MAX_FILES) }
  end
  return sources
end

--- The files by which a folder is known as a plugin's.
local MARKS = { "handler", "schema", "api", "entities", "jobs", "channels" }

local function is_plugin(folder)
  for _, mark in ipairs(MARKS) do
    if files.real_path(folder .. "/" .. mark .. ".lua") then return true end
  end
  return false
end

--- Says whether a plugin has one of some files.
function M.has(paths, name, wanted)
  for _, path in ipairs(paths) do
    local folder = path .. "/" .. name
    if is_plugin(folder) then
      for _, file in ipairs(wanted) do
        if files.real_path(("%s/%s.lua"):format(folder, file)) then return true end
      end
      return false
    end
  end
  for _, file in ipairs(wanted) do
    if carried()[name] and carried()[name][file] then return true end
  end
  return false
end

--- Finds a plugin.
-- @param paths list of absolute folders
-- @return {file -> {text, chunk}} and its folder (nil: the binary's own); nil when there is none; or nil
-- and a problem
function M.find(paths, name)
  if not name:find(M.NAME_PATTERN) then return nil end
  for _, path in ipairs(paths) do
    local folder = path .. "/" .. name
    if is_plugin(folder) then
      local sources, problem = read_folder(folder)
      return sources, problem or folder
    end
  end
  return carried()[name]
end

--- Returns the names of the plugins that have one of some files, in byte order.
-- @param wanted list of files; nil: those that requests may use, which have a handler
function M.names(paths, wanted)
  wanted = wanted or { "handler" }
  local seen, names = {}, {}
  local function add(name)
    if not seen[name] and name:find(M.NAME_PATTERN) and M.has(paths, name, wanted) then
      seen[name], names[#names + 1] = true, name
    end
  end
  for _, path in ipairs(paths) do
    for _, mark in ipairs(wanted) do
      for _, file in ipairs(files.glob(("%s/*/%s.lua"):format(path, mark)) or {}) do
        add(file:match "([^/]+)/%l+%.lua$")
      end
    end
  end
  for name in pairs(carried()) do add(name) end
  table.sort(names)
  return names
end

return M
