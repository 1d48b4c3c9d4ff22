--- The specs of one plugin: finds them, prepares the kit, runs them, tells how it went.
local ffi = require "ffi"
local files = require "veloflux.conf.files"
local kit = require "veloflux.kit"
local log = require "veloflux.kit.log"
local provide = require "veloflux.plugin.provide"
local report = require "veloflux.kit.report"
local runner = require "veloflux.kit.runner"
local sandbox = require "veloflux.plugin.sandbox"
local sources = require "veloflux.plugin.sources"

ffi.cdef "uint64_t vf_clock_true_ns(void);"

local M = {}

local MOST_SEEDS = 1000000

local function true_seconds() return tonumber(ffi.C.vf_clock_true_ns()) / 1e9 end

--- What specs may require besides what the binary carries: files of the plugin, run as a plugin's are, and Lua files
-- beside the specs ("spec.helper").
local function add_searcher(place)
  local box = sandbox.new { name = place.name, sources = sources.find(place.paths, place.name),
    provide = provide.module }
  local prefix = "veloflux.plugins." .. place.name .. "."
  table.insert(package.loaders, 2, function(name)
    if name:sub(1, #prefix) == prefix then return function() return box:require(name) end end
    local helper = name:match "^spec%.([%w_.-]+)$"
    local path = helper and ("%s/spec/%s.lua"):format(place.folder, (helper:gsub("%.", "/")))
    if not path or not files.real_path(path) then return nil end
    return assert(loadfile(path))
  end)
end

--- What the plugin has done wrong besides what the spec has asserted.
local function complaint(gateway)
  local faults = gateway and not gateway.looked_at and gateway:faults() or {}
  if #faults == 0 then return nil end
  local lines = { "the plugin has failed, and the spec has not looked at gateway:logs():" }
  for _, fault in ipairs(faults) do lines[#lines + 1] = log.format(fault) end
  return table.concat(lines, "\n")
end

--- After each spec: what is wrong, and what was logged.
local function finish_spec(result)
  local gateway = kit.running()
  local ok, message = pcall(complaint, gateway)
  local stopped, problem = pcall(kit.stop)
  if gateway then result.logs = gateway.log end
  return (not ok or message) and tostring(message) or not stopped and tostring(problem) or nil
end

--- Runs the specs.
-- @param place {name, folder, paths}
-- @param options {filter, seed, shown: the folder as it was given}
-- @param out, err functions that write a line
-- @return the exit status
function M.run(place, options, out, err)
  local paths = files.glob(place.folder .. "/spec/*_spec.lua") or {}
  if #paths == 0 then
    err(("veloflux plugin test: %s: there is no spec/*_spec.lua"):format(options.shown))
    return 1
  end
  local begun = true_seconds()
  local seed = options.seed or os.time() % MOST_SEEDS
  local shown = report.new(out, { command = "veloflux plugin test " .. options.shown, seed = seed })
  local specs = runner.new { seed = seed, filter = options.filter, after = finish_spec,
    before = function(of_spec) kit.seed = of_spec end,
    report = function(result) shown:spec(result) end }
  kit.plugin, kit.folder, kit.paths = place.name, place.folder, place.paths
  add_searcher(place)
  for _, path in ipairs(paths) do
    local text, problem = files.read(path)
    local name = options.shown:gsub("/+$", "") .. path:sub(#place.folder + 1) -- as the folder was given
    local ok, failure = nil, { message = problem }
    if text then ok, failure = specs:load(name, text) end
    if not ok then shown:broken(name, failure) end
  end
  specs:run()
  if options.filter and shown:total() == 0 then
    err(("veloflux plugin test: no spec has %q in its name"):format(options.filter))
    return 1
  end
  return shown:finish(true_seconds() - begun)
end

return M
