--- Runs Lua that stands in the configuration: three lines instead of a folder.
-- A text is compiled once for each configuration, in this plugin's sandbox. It runs as the body of a
-- function, or, when it returns a function, that one runs from then on.
local pdk = require "veloflux.pdk"
local code = require "veloflux.plugins.script.code"

local Plugin = { PRIORITY = 1000, VERSION = "1.0.0" }

local scripts = setmetatable({}, { __mode = "k" }) -- configuration -> phase -> function

local function scripts_of(conf)
  local made = scripts[conf]
  if not made then
    made = {}
    for _, name in ipairs(code.PHASES) do
      if conf[name] then made[name] = assert(code.compile(conf[name], name)) end
    end
    scripts[conf] = made
  end
  return made
end

--- Calls the script of a phase. What it returns the first time may be what is meant.
local function run(conf, name)
  local of = scripts_of(conf)
  local script = of[name]
  if not script then return end
  local meant = script(pdk)
  if type(meant) ~= "function" then return end
  of[name] = meant
  return meant(pdk)
end

for _, name in ipairs(code.PHASES) do
  Plugin[name] = function(_, conf) return run(conf, name) end
end

function Plugin.phases_of(conf)
  local needed = {}
  for _, name in ipairs(code.PHASES) do
    if conf[name] then needed[#needed + 1] = name end
  end
  return needed
end

return Plugin
