--- The channels.lua of the plugins that the binary carries.
local channels = require "veloflux.channels"
local provide = require "veloflux.plugin.provide"
local sandbox = require "veloflux.plugin.sandbox"
local sources = require "veloflux.plugin.sources"

local M = {}

--- Registers the channels of a plugin of ours.
function M.register(name)
  local box = sandbox.new { name = name, sources = sources.find({}, name), provide = provide.module }
  for _, definition in ipairs(box:run "channels") do channels.register(definition) end
end

return M
