--- Plugins for specs, in folders that `clean` removes.
local conf_fixture = require "unit.conf.fixture"
local uv = require "luv"

local M = {}

M.HANDLER = [[
local Plugin = { PRIORITY = 1000, VERSION = "1.2.0" }
function Plugin:access(conf) end
return Plugin
]]

local folders = {}

local function make_folder(path)
  if uv.fs_stat(path) then return end
  make_folder(path:match "^(.*)/")
  assert(uv.fs_mkdir(path, tonumber("755", 8)))
end

local function write_file(path, text)
  make_folder(path:match "^(.*)/")
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

--- Returns a handler with that priority and one phase (access).
function M.handler(priority, phase)
  return ("return { PRIORITY = %d, VERSION = '1.0.0', %s = function() end }\n"):format(priority, phase or "access")
end

--- Writes plugins below a fresh folder, or `folder`.
-- @param plugins name -> { file -> text }, file without ".lua"; `handler` has a default
-- @return the folder, for plugin_path
function M.write(plugins, folder)
  if not folder then
    folder = assert(uv.fs_mkdtemp "/tmp/veloflux-plugins-XXXXXX")
    folders[#folders + 1] = folder
  end
  for name, files in pairs(plugins) do
    if not files.handler then write_file(("%s/%s/handler.lua"):format(folder, name), M.HANDLER) end
    for file, text in pairs(files) do write_file(("%s/%s/%s.lua"):format(folder, name, file), text) end
  end
  return folder
end

--- Has each spec of the `describe` at hand begin with plugins that the kit finds, and end without.
-- @param plugins as for M.write
function M.served(plugins)
  local busted, kit = require "busted", require "veloflux.kit"
  busted.before_each(function() kit.paths = { M.write(plugins) } end)
  busted.after_each(function()
    kit.stop()
    kit.paths = {}
    M.clean()
  end)
end

--- Removes the folders.
function M.clean()
  for _, folder in ipairs(folders) do conf_fixture.remove(folder) end
  folders = {}
end

return M
