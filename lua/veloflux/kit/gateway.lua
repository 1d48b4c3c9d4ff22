--- A gateway under test, as kit.start gives it: the data plane of a worker, in this process, with clients, hosts and
-- time in the hands of the spec.
local ffi = require "ffi"
local client = require "veloflux.kit.client"
local conf = require "veloflux.conf"
local control = require "veloflux.kit.control"
local host = require "veloflux.kit.host"
local json = require "veloflux.pdk.json"
local log = require "veloflux.kit.log"
local metrics = require "veloflux.kit.metrics"
local native = require "veloflux.kit.native"
local pieces = require "veloflux.kit.pieces"
local site = require "veloflux.kit.site"
local wire = require "veloflux.kit.wire"
local world = require "veloflux.kit.world"

local C = native.C

local M = {}

local Gateway = {}
Gateway.__index = Gateway

local WALL_MS = 1767225600000 -- 2026-01-01 00:00:00 UTC, when every gateway starts
local FLUSH_S = 3600

-- Hosts ---------------------------------------------------------------------------------------------

--- Splits "HOST:PORT", "[IPV6]:PORT", "HOST" (any port) or "unix:PATH".
local function split_place(place)
  local path = place:match "^unix:(.+)$"
  if path then return path, 0 end
  local name, port = place:match "^%[([%x:.]+)%]:(%d+)$"
  if not name then name, port = place:match "^([^:]+):(%d+)$" end
  return (name or place):lower(), tonumber(port) or 0
end

local MODES = { refuse = native.REFUSES, hang = native.HANGS }

--- Makes a host known, or gives it another handler.
-- @param place "api.test:80", or "api.test" for every port
-- @param handler function(request) -> answer; kit.wire(function(wire)); "refuse" or "hang": nobody gets a
-- connection to it
function Gateway:host(place, handler)
  local name, port = split_place(place)
  local is_wire = type(handler) == "table" and type(handler.wire) == "function"
  local mode = MODES[handler] or (type(handler) == "function" or is_wire) and native.ACCEPTS
  if not mode then
    error(('the host %s: expected a function, kit.wire(...), "refuse" or "hang"'):format(place), 2)
  end
  local rc = C.vf_wires_host(C.vf_kit_wires(self.kit), name, port, mode)
  if rc ~= 0 then error(("the host %s: %s"):format(place, ffi.string(C.uv_strerror(rc))), 2) end
  self.hosts[name .. ":" .. port] = handler
end

local function handler_of(self, place)
  return self.hosts[place.host .. ":" .. place.port] or self.hosts[place.host .. ":0"]
end

local function on_arrival(self, arrival)
  local place = { host = ffi.string(arrival.host), port = arrival.port, is_datagram = arrival.is_datagram ~= 0 }
  local ours = wire.new(self.kit, arrival.fd)
  self.wires[#self.wires + 1] = ours
  local handler = handler_of(self, place)
  if type(handler) == "table" then
    self.world:spawn(function()
      handler.wire(ours, place)
      ours:hang_up()
    end)
    return
  end
  self.world:spawn(host.serve, ours, place, function(request) return handler_of(self, place)(request) end,
    { random = self.random, seen = function(request) table.insert(self.seen, request) end })
end

-- Configuration -------------------------------------------------------------------------------------

--- Problems of what the spec says have no line worth telling; those of a plugin's files have.
local function complain(problems)
  local lines = {}
  for i, problem in ipairs(problems) do
    local is_ours = problem.file == site.NAME
    lines[i] = is_ours and ("%s: %s"):format(problem.path, problem.message) or conf.format(problem)
  end
  return table.concat(lines, "\n")
end

local function configure(self, options)
  local model, problems = site.load(site.conf(options, self.paths))
  if not model then return nil, complain(problems) end
  self.version = self.version + 1
  return site.publish(self.kit, model, self.version)
end

--- Uses another configuration, as after a reload: `options` as for kit.start, hosts stay.
function Gateway:reload(options)
  if self.control then error("gateway:reload: with control, changes go through gateway:call", 2) end
  local ok, message = configure(self, options)
  if not ok then error(message, 2) end
  self.world:settle()
end

-- Requests ------------------------------------------------------------------------------------------

--- Sends a request and returns the answer (kit/client.lua).
function Gateway:request(request) return client.begin(self, request or {}):answer() end

--- Begins a request: pending:answer() waits for what pending:abort() does not.
function Gateway:begin(request) return client.begin(self, request or {}) end

--- Sends several requests at once. Returns their answers in the same order.
function Gateway:requests(list)
  local pending, answers = {}, {}
  for i, request in ipairs(list) do pending[i] = client.begin(self, request) end
  for i, each in ipairs(pending) do answers[i] = each:answer() end
  return answers
end

-- Control -------------------------------------------------------------------------------------------

for _, name in ipairs { "call", "run_job", "jobs", "follow", "lead" } do
  Gateway[name] = function(self, ...)
    if not self.control then
      error(("gateway:%s: this gateway has no control, kit.start { control = true } has"):format(name), 2)
    end
    return self.control[name](self.control, ...)
  end
end

--- Starts control upon the conf that the gateway has.
local function open_control(self, options)
  local text = assert(json.canonical(site.conf(options, self.paths)))
  local message
  self.control, message = control.open(self, text, site.NAME, options.stored, options.plugin)
  return self.control, message
end

-- What has happened ---------------------------------------------------------------------------------

local function found_in(entries, event)
  local found = {}
  for _, entry in ipairs(entries) do
    if not event or entry.event == event then found[#found + 1] = entry end
  end
  return found
end

--- Returns what was logged: a list of {level, event, time, ...}, the fields of the event.
-- @param event only these, or nil
function Gateway:logs(event)
  self.looked_at = true
  log.collect(self.kit, self.log)
  return found_in(self.log, event)
end

--- Returns what /metrics says (kit/metrics.lua).
function Gateway:metrics() return metrics.read(self.kit) end

--- Returns the requests that hosts have seen, in the order in which they came whole.
-- @param name of a host, or nil: of all
function Gateway:upstream_requests(name)
  local found = {}
  for _, request in ipairs(self.seen) do
    if not name or request.host == name then found[#found + 1] = request end
  end
  return found
end

--- Lets time pass until the queues of plugins have shipped everything.
function Gateway:flush()
  self.world:drive(function() return C.vf_kit_pending(self.kit) == 0 end, "the queues to be empty", FLUSH_S)
end

--- Lets time pass, with all that happens meanwhile.
function Gateway:advance(seconds) self.world:advance(seconds) end

--- Runs until everybody waits; no time passes.
function Gateway:settle() self.world:settle() end

--- Returns the log entries that tell of a fault of a plugin.
function Gateway:faults()
  log.collect(self.kit, self.log)
  local faults = {}
  for _, entry in ipairs(self.log) do
    if log.FAULTS[entry.event] then faults[#faults + 1] = entry end
  end
  return faults
end

--- What can be asked of a gateway that has ended.
local Ended = { upstream_requests = Gateway.upstream_requests, stop = function() end }

function Ended.logs(self, event) return found_in(self.log, event) end

Ended.__index = function(_, name)
  if Ended[name] or not Gateway[name] then return Ended[name] end
  return function() error(("gateway:%s: this gateway has ended"):format(name), 2) end
end

--- Ends it: what is under way is broken off.
function Gateway:stop()
  log.collect(self.kit, self.log)
  for _, each in ipairs(self.wires) do each:close() end
  local kit = self.kit
  self.kit, self.world.kit = nil, nil
  setmetatable(self, Ended)
  assert(C.vf_kit_free(kit) == 0, "the gateway has left a handle of its loop open")
end
jit.off(Gateway.stop)

--- Starts a gateway.
-- @param options of kit.start
-- @param paths list of folders of plugins
-- @param seed whole number
-- @return the gateway; or nil and a message
function M.start(options, paths, seed)
  local out = ffi.new "struct vf_kit *[1]"
  local rc = C.vf_kit_new(seed, options.time and options.time * 1000 or WALL_MS, out)
  if rc ~= 0 then error(ffi.string(C.uv_strerror(rc)), 0) end
  local self = setmetatable({ kit = out[0], paths = paths, hosts = {}, wires = {}, seen = {}, log = {}, version = 0,
    random = options.fuzz ~= false and pieces.new(seed) or nil }, Gateway)
  self.world = world.new(self.kit, function(arrival) on_arrival(self, arrival) end)
  self:host(site.UPSTREAM, options.upstream or function() return { status = 200 } end)
  local places = {}
  for place in pairs(options.hosts or {}) do places[#places + 1] = place end
  table.sort(places) -- names get their addresses in the same order every time
  for _, place in ipairs(places) do self:host(place, options.hosts[place]) end
  local ok, message = configure(self, options)
  if ok and options.control then ok, message = open_control(self, options) end
  if not ok then
    self:stop()
    return nil, message
  end
  self.world:settle()
  return self
end

return M
