--- The leader among the nodes that share a store: it does what is to be done once and not on each of them.
--
--   FOLLOWING -> LEADING        the store has given this node the lease
--   LEADING   -> FOLLOWING      another has it, or this node could not renew it in time
--   any       -> STOPPED        given back, for the end of the process
--
-- The store ends a lease by its clock, this node by its own: it counts from before it asked, takes off a tenth for
-- clocks that run differently, and looks at the clock each time that somebody asks, not only when a timer rings. So a
-- process that stood still has stepped down before it acts again. What it had begun before that is caught by the
-- store: the token of the lease grows with every holder, and a commit that carries an old one is refused as "fenced".
--
--     local token = leader.current()                      -- nil: this node is not the leader
--     transactions.apply(ops, { fence = leader.fence(), ... }, callback)
local ffi = require "ffi"
local alarms = require "veloflux.control.alarms"
local link = require "veloflux.control.link"

ffi.cdef [[
struct vf_leader_time { long seconds; long nanoseconds; };
int clock_gettime(int clock, struct vf_leader_time *out);
]]

local M = {}

M.NAME = "leader" -- of the lease

local CLOCK_BOOTTIME = 7 -- as the monotonic clock, and it goes on while the machine sleeps
local RENEWALS = 3 -- in the life of a lease
local TRIES = 10 -- of those who wait for it, in the life of a lease: it is taken soon after its end ...
local TRY_MS = 1000 -- ... and not much later when it is given back
local MARGIN = 0.1 -- of its life: what clocks may differ by meanwhile

local options -- what `open` was given
local token, until_ms -- while LEADING: of the lease, and when it ends for this node
local known -- {holder, token, ms}: who has it, as the store said last, and when; or nil
local timer, deadline, asked
local n_changes = 0

local time = ffi.new "struct vf_leader_time"

local function boot_ms()
  ffi.C.clock_gettime(CLOCK_BOOTTIME, time)
  return tonumber(time.seconds) * 1000 + tonumber(time.nanoseconds) / 1e6
end

local function step_down(why)
  if not token then return end
  local was = token
  token, until_ms = nil, nil
  alarms.cancel(deadline)
  n_changes = n_changes + 1
  link.log("info", "leader.lost", ("token=%d %s"):format(was, why))
end

local function on_deadline()
  deadline = nil
  M.current()
end

local function lead(lease, ends_ms)
  if token and token ~= lease.token then step_down "the store has another token" end
  until_ms = ends_ms
  alarms.cancel(deadline)
  deadline = alarms.after(math.max(0, ends_ms - options.now_ms()), on_deadline)
  if token then return end
  token = lease.token
  n_changes = n_changes + 1
  link.log("info", "leader.gained", ("token=%d"):format(token))
end

local function on_answer(began_ms, err, lease)
  if err then return end -- what it has it keeps to the end
  known = { holder = lease.holder, token = lease.token, ms = began_ms }
  if not lease.is_mine then return step_down("the lease is " .. tostring(lease.holder) .. "'s") end
  local ends_ms = began_ms + options.lease_ms * (1 - MARGIN)
  if options.now_ms() < ends_ms then lead(lease, ends_ms) else M.current() end -- it took too long to hear of it
end

local try

local function try_again()
  local delay = token and options.lease_ms / RENEWALS or math.min(options.lease_ms / TRIES, TRY_MS)
  timer = alarms.after(delay, try)
end

function try()
  timer = nil
  if not options then return end
  M.current()
  try_again()
  local store, began_ms = options.store(), options.now_ms()
  if not store or asked and began_ms - asked.ms < options.lease_ms then return end -- one question at a time
  local mine = { ms = began_ms }
  asked = mine
  store:lease(M.NAME, options.holder, options.lease_ms, function(err, lease)
    if asked == mine then asked = nil end
    if not options then return end
    local had = token
    on_answer(began_ms, err, lease)
    if not had and token then -- renewals begin
      alarms.cancel(timer)
      try_again()
    end
  end)
end

--- Begins to ask for the lease.
-- @param settings {store = function() -> the store or nil, holder = a name that no other process has, lease_ms,
-- now_ms = function: for specs}
function M.start(settings)
  M.stop()
  options = { store = settings.store, holder = settings.holder, lease_ms = settings.lease_ms,
    now_ms = settings.now_ms or boot_ms }
  try()
end

--- Steps down and gives the lease back.
-- @param callback function(), or nil
function M.stop(callback)
  local was, given = options, token
  step_down "given back"
  options, known, asked = nil, nil, nil
  alarms.cancel(timer)
  local store = was and was.store()
  if not store or not given then return callback and callback() end
  store:release(M.NAME, was.holder, given, function() if callback then callback() end end)
end

--- Returns the token of the lease, or nil when this node is not the leader now.
function M.current()
  if token and options.now_ms() >= until_ms then step_down "it could not be renewed in time" end
  return token
end

--- Returns what a commit of the leader carries: {name, token}, or nil.
function M.fence()
  local mine = M.current()
  return mine and { name = M.NAME, token = mine }
end

--- Returns who has the lease, as the store said last: {holder, token}; or nil when that is too long ago.
function M.known()
  if not known or options.now_ms() >= known.ms + options.lease_ms then return nil end
  return { holder = known.holder, token = known.token }
end

--- Returns how often this node has become the leader or ceased to be.
function M.changes() return n_changes end

return M
