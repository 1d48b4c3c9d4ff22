--- The plugin kit: what a plugin's specs require. A gateway runs inside the spec, with the very code that workers run;
-- its clients, its hosts and the time are the spec's. docs/plugins/testing.md shows all of it.
--
--     local kit = require "veloflux.kit"
--     local gateway = kit.start { config = { limit = 2 }, upstream = function() return { status = 200 } end }
--     local answer = gateway:request { path = "/", headers = { ["X-Key"] = "abc" } }
local gateways = require "veloflux.kit.gateway"
local json = require "veloflux.pdk.json"
local native = require "veloflux.kit.native"
local site = require "veloflux.kit.site"
local world = require "veloflux.kit.world"

---@class kit.request
---@field method? string "GET"
---@field path? string with the query
---@field host? string
---@field headers? table<string, string|string[]>
---@field body? string|string[] a list: pieces, sent as chunks
---@field ip? string of the client
---@field port? integer
---@field listener? string
---@field chunked? boolean
---@field interval? number seconds between pieces
---@field delay? number seconds before it begins
---@field raw? string sent instead

---@class kit.answer what a client has got
---@field status integer?
---@field reason string?
---@field headers table<string, string|string[]> names in any case
---@field fields string[][] as they came: {name, value}
---@field body string
---@field interim integer[] statuses of answers before it
---@field elapsed number seconds
---@field error "closed"|"reset"|nil it did not come whole

---@class kit.seen what a host has got
---@field method string
---@field path string
---@field headers table<string, string|string[]>
---@field fields string[][]
---@field body string
---@field host string
---@field port integer
---@field time number

---@class kit.reply what a host answers
---@field status? integer
---@field reason? string
---@field headers? table<string, string|string[]>
---@field body? string|string[]
---@field delay? number seconds before it begins
---@field interval? number seconds between pieces
---@field chunked? boolean
---@field cut? integer bytes of the body after which the connection is closed
---@field reset? boolean|integer the connection is broken off; after so many bytes of the body
---@field close? boolean the connection is closed behind it
---@field raw? string sent instead

---@alias kit.host fun(request: kit.seen): kit.reply|integer|string|nil

---@class kit.options
---@field config? table of the plugin under test
---@field plugins? table[] of the route, instead
---@field upstream? kit.host|"refuse"|"hang"
---@field hosts? table<string, kit.host|table|"refuse"|"hang">
---@field consumers? table[]
---@field global_plugins? table[]
---@field tenants? table[]
---@field route? table
---@field pool? table
---@field conf? table
---@field log_level? string
---@field time? number
---@field fuzz? boolean
---@field control? boolean
---@field stored? table<string, { version?: integer, record: table }[]>

---@class kit.gateway
---@field request fun(self: kit.gateway, request: kit.request): kit.answer
---@field requests fun(self: kit.gateway, list: kit.request[]): kit.answer[]
---@field begin fun(self: kit.gateway, request: kit.request): table
---@field logs fun(self: kit.gateway, event?: string): table[]
---@field metrics fun(self: kit.gateway): table
---@field upstream_requests fun(self: kit.gateway, host?: string): kit.seen[]
---@field flush fun(self: kit.gateway)
---@field reload fun(self: kit.gateway, options: kit.options)
---@field host fun(self: kit.gateway, place: string, handler: kit.host|table|string)
---@field advance fun(self: kit.gateway, seconds: number)
---@field settle fun(self: kit.gateway)
---@field stop fun(self: kit.gateway)
---@field call fun(self: kit.gateway, request: kit.call): kit.called
---@field run_job fun(self: kit.gateway, name: string, plugin?: string): string
---@field jobs fun(self: kit.gateway): table[]
---@field follow fun(self: kit.gateway, request: kit.call): table?, kit.called?
---@field lead fun(self: kit.gateway, is_leader: boolean)

---@class kit.call a request to the admin API
---@field method? string "GET"
---@field path string with the query
---@field headers? table<string, string>
---@field body? table|string a table is sent as JSON
---@field identity? kit.identity|false nil: an administrator; false: nobody
---@field ip? string

---@class kit.identity who asks
---@field name? string
---@field role? "admin"|"user"
---@field permissions? string[] instead of a role
---@field tenant? string whose user it is

---@class kit.called what the admin API has answered
---@field status integer
---@field headers table<string, string|string[]>
---@field fields string[][]
---@field body any decoded, when it is JSON
---@field text string

---@class kit
local M = {
  plugin = nil, -- the name of the plugin under test, set by the runner
  folder = nil, -- and its folder
  paths = {}, -- folders of plugins, before the shipped ones
  seed = 1, -- of the spec that runs
}

local running -- the gateway that runs, or nil

local KNOWN = { "plugins", "config", "upstream", "hosts", "consumers", "global_plugins", "tenants", "route", "pool",
  "conf", "log_level", "time", "fuzz", "control", "stored" }
local known = {}
for _, name in ipairs(KNOWN) do known[name] = true end

local function complete(options)
  for name in pairs(options) do
    if not known[name] then error(("kit.start: unknown option %s"):format(tostring(name)), 3) end
  end
  local result = {}
  for name, value in pairs(options) do result[name] = value end
  result.plugin = M.plugin
  local is_only_control = result.control and result.config == nil
  if not result.plugins and M.plugin and not is_only_control then
    result.plugins = { { name = M.plugin, config = options.config } }
  end
  return result
end

--- Starts a gateway; the one that runs ends. Raises the problems of the configuration.
-- @param options table, all optional:
--   plugins    of the route, as in a conf file; without it the plugin under test, with `config`
--   config     its configuration
--   upstream   what answers: function(request) -> answer (kit/host.lua), "refuse", "hang"
--   hosts      map from "NAME:PORT" to more of these
--   consumers, global_plugins, tenants   as in a conf file (global_plugins: its `plugins`)
--   route, pool   further fields of the route and its pool
--   conf       further keys of the conf file: plugin_limits, listeners, routes ...
--   log_level  "info"
--   time       seconds since 1970 at the start
--   fuzz       false: bodies are not cut at random places
--   control    true: the admin API, jobs and channels, too (gateway:call and others); without `config` the plugin
--              under test stands on no route then
--   stored     with control: what older versions of plugins have left, kind -> list of {version, record}
---@param options? kit.options
---@return kit.gateway
function M.start(options)
  M.stop()
  local gateway, message = gateways.start(complete(options or {}), M.paths, M.seed)
  if not gateway then error("kit.start: " .. message, 2) end
  running = gateway
  M.last = gateway
  return gateway
end

--- Ends the gateway that runs.
function M.stop()
  local gateway = running
  running = nil
  if gateway then gateway:stop() end
end

--- Returns the gateway that runs, or nil.
function M.running() return running end

local function current(what)
  if not running then error(what .. ": no gateway runs", 3) end
  return running
end

--- Lets time pass, with all that happens meanwhile.
function M.advance(seconds) current("kit.advance"):advance(seconds) end

--- Runs until everybody waits; no time passes.
function M.settle() current("kit.settle"):settle() end

--- In a host: waits. In a spec: the same as kit.advance.
function M.sleep(seconds)
  if world.in_task() then return world.sleep(seconds) end
  current("kit.sleep"):advance(seconds)
end

--- Returns the time of the gateway, in seconds since 1970.
function M.now() return tonumber(native.C.vf_clock_wall_ms()) / 1000 end

--- A host that is not HTTP, or not always: speaks for itself.
-- @param fn function(wire, place): wire:receive(), wire:read(n), wire:read_line(), wire:read_to(mark),
-- wire:send(text), wire:finish(), wire:close(), wire:reset()
function M.wire(fn) return { wire = fn } end

--- Judges a configuration of the plugin under test, as when it is saved.
-- @param config table
-- @param name of another plugin, or nil
-- @return list of problems {path, message, rule, pointer}, empty when there are none; paths begin at the config
---@param config table
---@param name? string
---@return { path: string, message: string, rule: string?, pointer: string? }[]
function M.validate(config, name)
  local conf = site.conf({ plugins = { { name = name or M.plugin, config = config } } }, M.paths)
  local _, problems = site.load(conf)
  local list = {}
  for i, problem in ipairs(problems or {}) do
    list[i] = { path = problem.path:gsub("^routes%[0%]%.plugins%[0%]%.?", ""):gsub("^config%.", ""),
      message = problem.message, rule = problem.rule, pointer = problem.pointer }
  end
  return list
end

--- Marks an empty table as a list, where the schema cannot know.
M.list = json.array

return M
