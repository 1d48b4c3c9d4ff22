--- Turns among nodes that change the configuration at the same time. A change that met another's has to be prepared
-- again, and whoever has just committed is ready sooner: without turns some would never be first. So after a second
-- conflict a node asks the store for the turn, a lease, and while it has that the commits of all others conflict.
local alarms = require "veloflux.control.alarms"
local crypto = require "veloflux.pdk.crypto"

local M = {}

M.NAME = "turn" -- of the lease
local LEASE_MS = 3000 -- for who dies with it
local WAIT_MS = 10 -- until it is asked for again, and up to as long again by chance

local holder = crypto.hex_encode(crypto.random_bytes(8))
local token -- while it is ours
local is_wanted, is_waiting = false, false

--- Begins anew.
function M.open() token, is_wanted, is_waiting = nil, false, false end

--- Returns what commits carry: {name, holder}.
function M.mine() return { name = M.NAME, holder = holder } end

--- Says that a turn is needed.
function M.want() is_wanted = true end

--- True when a change has to ask for the turn first.
function M.is_needed() return is_wanted and token == nil and not is_waiting end

--- True while another has it, so that changes wait.
function M.is_waiting() return is_waiting end

--- Asks for the turn.
-- @param callback function(is_mine): also when the store did not answer, which others will say
-- @param again function: is called when it is time to ask again
function M.ask(store, callback, again)
  store:lease(M.NAME, holder, LEASE_MS, function(err, lease)
    if err or lease.is_mine then
      token, is_wanted = lease and lease.token, false
      return callback(true)
    end
    is_waiting = true
    alarms.after(WAIT_MS * (1 + crypto.random_bytes(1):byte() / 255), function()
      is_waiting = false
      again()
    end)
    callback(false)
  end)
end

--- Gives it back, if it is ours: the changes that needed it are done.
function M.finish(store)
  local given = token
  token, is_wanted = nil, false
  if given and store then store:release(M.NAME, holder, given, function() end) end
end

return M
