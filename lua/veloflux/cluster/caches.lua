--- Carries what pdk.cache forgets to the other nodes, and theirs to this one:
--
--   worker -> runtime/forgotten.lua (shared memory) -> control -> the store's news -> control of each other node
--   -> stamps in shared memory, by which its workers know that what they keep is void
--
-- Control looks for new keys twenty times a second. What the store does not take is told later. Where this node has
-- missed news it forgets everything that is cached: it cannot know what they were.
local alarms = require "veloflux.control.alarms"
local format = require "veloflux.store.redis.format"
local forgotten = require "veloflux.runtime.forgotten"
local link = require "veloflux.control.link"
local storage = require "veloflux.control.storage"
local totals = require "veloflux.totals"

local M = {}

local LOOK_MS, RETRY_MS = 50, 1000
local MOST_BYTES = 32 * 1024 -- of one piece of news, and the last key
local ALL = "*"

local timer
local is_telling, is_unheard = false, false

local look

local function later(ms)
  alarms.cancel(timer)
  timer = alarms.after(ms, look)
end

--- Says once that the others do not hear, and once that they do again.
local function note(err)
  if err and not is_unheard then
    link.log("warn", "cache.unheard", "other nodes are not told what is invalidated, until the store takes it: "
      .. (err.message or err.code))
  elseif not err and is_unheard then
    link.log("info", "cache.heard", "other nodes are told again what is invalidated")
  end
  is_unheard = err ~= nil
end

--- Writes keys as one text, which format.unpack reads.
local function packed(keys)
  local parts = {}
  for i, key in ipairs(keys) do parts[i] = #key .. ":" .. key .. "," end
  return table.concat(parts)
end

local function tell(text)
  is_telling = true
  storage.current():tell(text, function(err)
    is_telling = false
    note(err)
    if not err then forgotten.finish() end
    if timer then later(err and RETRY_MS or 0) end
  end)
end

function look()
  timer = alarms.after(LOOK_MS, look)
  if is_telling or not storage.is_shared() then return end
  local keys = forgotten.take(MOST_BYTES)
  if keys then tell(keys == "all" and ALL or packed(keys)) end
end

--- This node has others from here on; may be repeated.
function M.start()
  if not storage.is_shared() or not forgotten.begin(totals.state()) or timer then return end
  later(LOOK_MS)
end

--- Tells no more.
function M.stop()
  alarms.cancel(timer)
  timer = nil
end

--- Returns the number of the last news that this node has heeded, or nil.
function M.heard() return forgotten.heard(totals.state()) end

--- News of another node (store:hear).
function M.on_news(text, number)
  local keys = text and text ~= ALL and format.unpack(text) or nil
  if not text and M.heard() then
    link.log("info", "cache.missed", "news of other nodes were missed: everything that is cached is forgotten")
  end
  forgotten.heed(totals.state(), keys, number)
end

return M
