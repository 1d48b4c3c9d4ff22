--- The files of a shipped plugin in the sandbox in which they run, with the plugin API that needs no request.
require "support.library"
local sandbox = require "veloflux.plugin.sandbox"
local provide = require "veloflux.plugin.provide"
local uv = require "luv"

local M = {}

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

--- Loads a plugin.
-- @param name of a folder of plugins/
-- @param pdk groups that stand in for those of the plugin API, or nil
-- @return function(file) that returns what a file of it returns
function M.load(name, pdk)
  local sources, folder = {}, "plugins/" .. name
  for entry in uv.fs_scandir_next, assert(uv.fs_scandir(folder)) do
    local file = entry:match "^(.*)%.lua$"
    if file then sources[file] = { text = read(folder .. "/" .. entry), chunk = folder .. "/" .. entry } end
  end
  local own = pdk and setmetatable(pdk, { __index = require "veloflux.pdk" })
  local box = sandbox.new { name = name, sources = sources, provide = function(module)
    if module == "veloflux.pdk" and own then return own end
    return provide.module(module)
  end }
  return function(file) return box:run(file) end
end

return M
