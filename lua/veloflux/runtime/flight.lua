--- Single flight: of all who need the same value at the same time one makes it, and the others wait for that. Within a
-- process they wait for its signal. Between processes there is a lock in shared memory: an entry that says who makes
-- the value. It ends with its process (the state area knows who lives), after LOCK_S at the latest, and it tells those
-- who have waited for it what went wrong.
--
-- Entries of the lock: "L" and the owner's token; "E", token, NUL and a message: that owner has failed.
local ffi = require "ffi"
local area = require "veloflux.runtime.area"
local network = require "veloflux.runtime.network"
local task = require "veloflux.runtime.task"

local C = ffi.C
local clock, KEY = C.vf_clock_ns, area.KEY
local OK, ABSENT = C.VF_DICT_OK, C.VF_DICT_ABSENT

local LOCK_NS = 30e9
local FAILURE_NS = 1e9 -- how long a failure is told to those who waited
local FIRST_WAIT_MS, LONGEST_WAIT_MS = 1, 25
local MOST_MESSAGE = 1000

local M = {}

local value, expected = ffi.new "struct vf_dict_value", ffi.new "struct vf_dict_value"
local ROOM = 2048
local buffer = ffi.new("char[?]", ROOM)

-- The lock ------------------------------------------------------------------------------------------

local n_tokens = 0

local function new_token()
  local block, incarnation = area.block()
  n_tokens = n_tokens + 1
  return ("%d.%s.%d"):format(block, tostring(incarnation):match "%d+", n_tokens)
end

local function is_alive(token)
  local block, incarnation = token:match "^(%d+)%.(%d+)%."
  return block ~= nil and C.vf_state_is_alive(area.state(), tonumber(block), tonumber(incarnation)) ~= 0
end

local function put_text(struct, text)
  if text then
    struct.type, struct.data, struct.len = C.VF_DICT_STRING, text, #text
  else
    struct.type = C.VF_DICT_NIL
  end
end

local Lock = {}
Lock.__index = Lock

-- Changes the entry if it is still what it was. nil stands for no entry.
local function swap(lock, was, text, ttl_ns)
  put_text(expected, was)
  put_text(value, text)
  return C.vf_dict_swap(lock.dict, KEY, lock.place(), expected, value, ttl_ns, clock()) == OK
end

local function read(lock)
  local rc = C.vf_dict_get(lock.dict, KEY, lock.place(), clock(), buffer, ROOM, value)
  if rc == ABSENT then return nil end
  return rc == OK and value.type == C.VF_DICT_STRING and ffi.string(value.data, value.len) or ""
end

--- Makes a lock.
-- @param dict struct vf_dict *
-- @param place function() that leaves the key in area.KEY and returns its length
function M.lock(dict, place) return setmetatable({ dict = dict, place = place, token = new_token() }, Lock) end

--- Tries to take it.
-- @return "held", "busy", or "failed" and the message of the owner that was waited for
function Lock:take()
  local entry = read(self)
  local owner = entry and entry:match "^L(.+)$"
  if owner and is_alive(owner) then
    self.waits_for = owner
    return "busy"
  end
  local failed, message = (entry or ""):match "^E([^%z]+)%z(.*)$"
  if failed and failed == self.waits_for then return "failed", message end
  if not swap(self, entry, "L" .. self.token, LOCK_NS) then return "busy" end
  self.is_held = true
  return "held"
end

--- Gives it back, if it is held.
-- @param message what went wrong, for those who wait; or nil
function Lock:give(message)
  if not self.is_held then return end
  self.is_held = false
  local note = message and ("E%s\0%s"):format(self.token, message:sub(1, MOST_MESSAGE))
  swap(self, "L" .. self.token, note, note and FAILURE_NS or 0)
end

-- One for all processes -----------------------------------------------------------------------------

local function sleep(ms) network.wait_signal(network.signal(), ms) end

--- Takes the lock and makes the value, or waits until somebody else has.
local function lead(lock, find, work, deadline_ms)
  local wait_ms = FIRST_WAIT_MS
  while true do
    local how, message = lock:take()
    if how == "failed" then return nil, message end
    local found = find()
    if found then
      lock:give()
      return found
    end
    if how == "held" or network.now_ms() >= deadline_ms then
      local result, err = work()
      lock:give(err)
      return result, err
    end
    sleep(wait_ms)
    wait_ms = math.min(wait_ms * 2, LONGEST_WAIT_MS)
  end
end

-- One for all tasks ---------------------------------------------------------------------------------

local function finish(flights, key, flight, lock)
  lock:give()
  if flights[key] == flight then flights[key] = nil end
  for _, signal in ipairs(flight.waiters) do network.raise(signal) end
end

-- Runs `lead` as the flight that others of this process wait for.
local function fly(flights, key, lock, find, work, timeout_ms)
  local context = task.run.context
  local flight = { waiters = {}, context = context, begun_ms = network.now_ms() }
  local outer = task.at_exit[context]
  flights[key] = flight
  task.at_exit[context] = function()
    finish(flights, key, flight, lock)
    if outer then outer() end
  end
  local ok, result, err = pcall(lead, lock, find, work, flight.begun_ms + timeout_ms)
  task.at_exit[context] = outer
  if ok then flight.is_done, flight.result, flight.err = true, result, err end
  finish(flights, key, flight, lock)
  if not ok then error(result, 0) end
  return result, err, true
end

--- Makes a value once for all who need it now.
-- @param flights table: what is under way in this process, by key
-- @param key any
-- @param lock of M.lock, for all processes
-- @param find function() -> result or nil: whether somebody else has made it meanwhile
-- @param work function() -> result, or nil and a message; it may wait
-- @param timeout_ms how long to wait for others; then the caller makes the value itself
-- @return result, or nil and a message; and true when it was the caller's own call
function M.once(flights, key, lock, find, work, timeout_ms)
  local deadline_ms = network.now_ms() + timeout_ms
  while true do
    local flight, now_ms = flights[key], network.now_ms()
    if not flight or now_ms - flight.begun_ms > timeout_ms + LOCK_NS / 1e6 then
      return fly(flights, key, lock, find, work, timeout_ms)
    end
    if flight.context == task.run.context then return nil, "the callback asks for the key that it is to make" end
    if now_ms >= deadline_ms then
      local result, err = work()
      return result, err, true
    end
    local signal = network.signal()
    table.insert(flight.waiters, signal)
    network.wait_signal(signal, math.max(deadline_ms - now_ms, 1))
    if flight.is_done then return flight.result, flight.err, false end
  end
end

return M
