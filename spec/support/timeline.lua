--- A clock and the alarms of control that a spec moves by hand.
--
--     local time = timelines.open()
--     time.pass(1000)   -- rings what is due meanwhile, each at its time
--     time.stand(1000)  -- the clock goes on, and nothing rings: a process that stands still
--     time.close()
local alarms = require "veloflux.control.alarms"

local M = {}

function M.open()
  local time, ring_at = { now_ms = 0 }, nil
  local function now_ms() return time.now_ms end
  alarms.open { now_ms = now_ms, set = function(delay_ms) ring_at = time.now_ms + delay_ms end }
  time.clock = now_ms

  function time.stand(ms) time.now_ms = time.now_ms + ms end

  function time.pass(ms)
    local till = time.now_ms + ms
    while ring_at and ring_at <= till do
      time.now_ms = math.max(time.now_ms, ring_at)
      ring_at = nil
      alarms.ring()
    end
    time.now_ms = till
  end

  function time.close() alarms.open() end

  return time
end

return M
