--- What control has around it, for control under test: no supervisor, no threads and no data directory. Offers are
-- prepared and published by the gateway of the kit, one step after the other, as by processes of their own.
local ffi = require "ffi"
local alarms = require "veloflux.control.alarms"
local log = require "veloflux.admin.log"
local network = require "veloflux.runtime.network"
local task = require "veloflux.runtime.task"
require "veloflux.kit.native"

ffi.cdef [[
struct vf_kit *vf_kit_current(void);
int close(int fd);
]]
local C = ffi.C

local M = {}

local FAULT_BYTES = 1024
local BEGINS = {}

local host -- what `open` was given
local offered = {} -- version -> descriptor
local published = 0

--- Publishes what a descriptor holds. It enters another Lua state, that of the workers: not from compiled code.
local function publish(fd)
  local fault = ffi.new("char[?]", FAULT_BYTES)
  local kit = C.vf_kit_current()
  if C.vf_kit_publish(kit, fd, fault, FAULT_BYTES) ~= 0 then error(ffi.string(fault), 0) end
  return C.vf_kit_snapshot(kit)
end
jit.off(publish)

local function on_committed(version)
  local fd = offered[version]
  offered[version] = nil
  local snapshot = publish(fd)
  published = version
  host.on_published(version, snapshot)
  alarms.after(0, function() host.on_live() end)
end

--- What stands in for veloflux.control.link.
M.link = {
  offer = function(version, fd)
    if offered[version] then C.close(offered[version]) end -- refused by the store
    offered[version] = fd
    alarms.after(0, function() host.on_prepared(version) end)
  end,
  commit = function(version) alarms.after(0, function() on_committed(version) end) end,
  published = function() return published end,
  reloading = function() end,
  set_config = function() end,
  drop = function() return 0 end,
  watch = function() return true end,
  give_up = function() end,
  log = function(level, event, message, version)
    if event == "conf.warning" then return end -- the conf is the kit's
    log.write(level, event, version and { "version", version, "message", message } or { "message", message })
  end,
}

local due_ms -- when alarms.ring is to be called; nil: not at all
local sleeper -- what the one task that waits for it waits for, or BEGINS; nil: there is no such task

local function watch()
  while due_ms do
    local left_ms = due_ms - alarms.now_ms()
    if left_ms <= 0 then
      due_ms = nil
      task.spawn(alarms.ring)
    else
      network.wait_signal(sleeper, math.ceil(left_ms))
      sleeper = network.signal()
    end
  end
  sleeper = nil
end

local function set_alarm(delay_ms)
  due_ms = alarms.now_ms() + delay_ms
  if sleeper == BEGINS then return end
  if sleeper then return network.raise(sleeper) end
  sleeper = BEGINS
  task.spawn(function()
    sleeper = network.signal()
    watch()
  end)
end

--- Puts all of this in its place, before the rest of control is loaded.
-- @param given {on_prepared(version), on_published(version, snapshot), on_live()}
function M.open(given)
  host = given
  package.loaded["veloflux.control.link"] = M.link
  alarms.open { set = set_alarm }
  require("veloflux.last_model").save = function() return true end
  local tables = require "veloflux.compiler.tables"
  local publish_tables = tables.publish
  function tables.publish(stages) return publish_tables(stages, C.vf_kit_publish_stage) end
  local document = require "veloflux.model.document"
  package.loaded["veloflux.control.offload"] = { open = function() end,
    parse = function(text, name)
      if type(text) == "table" then return document.parse_bytes(text.data, text.len, name) end
      return document.parse(text, name)
    end }
end

return M
