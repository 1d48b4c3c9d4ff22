--- Endpoints of plugins that others have already: the core's, or another plugin's. Names in paths do not tell paths
-- apart.
local api = require "veloflux.plugin.control.api"
local control = require "veloflux.plugin.control"

local M = {}

local function endpoints_of(plugin)
  local list = control.endpoints_of(plugin.control)
  for _, channel in ipairs(plugin.control.channels) do
    list[#list + 1] = { method = "GET", path = channel.path, file = "channels" }
  end
  return list
end

--- Finds them.
-- @param plugins list of the loader's (plugin/loader.lua: load_control)
-- @param router whose own endpoints are taken
-- @return list of problems
function M.of(plugins, router)
  local taken, problems = {}, {}
  local function key_of(endpoint) return endpoint.method .. " " .. api.shape(endpoint.path) end
  for _, endpoint in ipairs(router.endpoints) do
    if not endpoint.is_channel then taken[key_of(endpoint)] = "VeloFlux itself" end -- channels are plugins'
  end
  for _, plugin in ipairs(plugins) do
    for _, endpoint in ipairs(endpoints_of(plugin)) do
      local key = key_of(endpoint)
      if taken[key] then
        problems[#problems + 1] = { file = plugin.sources[endpoint.file].chunk, path = "", plugin = plugin.name,
          message = ("%s %s is taken, by %s"):format(endpoint.method, endpoint.path, taken[key]) }
      else
        taken[key] = "the plugin " .. plugin.name
      end
    end
  end
  return problems
end

return M
