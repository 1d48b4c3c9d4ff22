--- The history does not grow for ever: versions beyond a number or an age are forgotten, in small steps, so that
-- neither the store nor others have to wait. What is on probation, and all since, is kept: it may have to be undone.
local link = require "veloflux.control.link"
local probation = require "veloflux.control.probation"

local M = {}

local STEP = 500            -- versions that are forgotten at once
local PAUSE_MS = 600 * 1000 -- between two looks, when there was nothing to do

local is_busy, next_ms, oldest
local has_failed -- the last look

--- Begins anew.
function M.open() is_busy, next_ms, oldest, has_failed = false, 0, nil, false end
M.open()

--- Finds the first version for which something holds that then holds for all behind it.
-- @param holds function(version, answer(true or false, error))
-- @param callback function(err, version): `high` when it holds for none below
local function bisect(low, high, holds, callback)
  if low >= high then return callback(nil, low) end
  local middle = math.floor((low + high) / 2)
  holds(middle, function(err, does)
    if err then return callback(err) end
    if does then return bisect(low, middle, holds, callback) end
    bisect(middle + 1, high, holds, callback)
  end)
end

local function find_oldest(store, newest, callback)
  if oldest then return callback(nil, oldest) end
  bisect(1, newest, function(version, answer)
    store:versions({ before = version + 1, limit = 1 }, function(err, list) answer(err, list and #list > 0) end)
  end, function(err, version)
    oldest = not err and version or nil
    callback(err, version)
  end)
end

--- Finds the first version that is young enough.
local function find_young(store, low, newest, since_ms, callback)
  if since_ms == -math.huge then return callback(nil, low) end
  bisect(low, newest, function(version, answer)
    store:versions({ before = version + 1, limit = 1 }, function(err, list)
      answer(err, list and list[1] ~= nil and list[1].time_ms >= since_ms)
    end)
  end, callback)
end

--- Returns the version from which on all are kept, whatever their age.
-- @param settings the record store.history
function M.first_kept(settings, newest, pinned)
  local first = settings.versions == math.huge and 1 or newest - settings.versions + 1
  return first, math.min(newest, pinned or newest)
end

local function finish(now_ms, pause_ms, failed)
  is_busy, next_ms, has_failed = false, now_ms + pause_ms, failed == true
end

--- Says whether so many versions came since the last look that it is not waited for the next: a tenth more than are
-- kept.
local function is_overdue(settings, newest)
  if has_failed or not oldest or settings.versions == math.huge then return false end
  return newest - oldest + 1 > settings.versions + math.floor(settings.versions / 10)
end

local function prune(store, first, now_ms)
  local stop = math.min(first, oldest + STEP)
  store:prune(stop, function(err, count)
    if err then
      link.log("warn", "history.prune_failed", err.message or err.code)
      return finish(now_ms, PAUSE_MS, true)
    end
    oldest = stop
    if stop == first then link.log("info", "history.pruned", ("versions before %d"):format(stop)) end
    finish(now_ms, stop < first and 0 or PAUSE_MS)
    return count
  end)
end

--- Forgets a few versions, if there are too many. Called every second or so.
-- @param store or nil
-- @param settings the record store.history
-- @param newest the version that is published
function M.tick(store, settings, newest, now_ms)
  if is_busy or not store or (now_ms < next_ms and not is_overdue(settings, newest)) then return end
  if settings.versions == math.huge and settings.age == math.huge then return end
  is_busy = true
  local function failed(err)
    link.log("warn", "history.prune_failed", err.message or err.code)
    finish(now_ms, PAUSE_MS, true)
  end
  find_oldest(store, newest, function(err, low)
    if err then return failed(err) end
    local by_count, most = M.first_kept(settings, newest, probation.watching()[1])
    find_young(store, low, newest, settings.age == math.huge and -math.huge or now_ms - settings.age,
      function(problem, young)
        if problem then return failed(problem) end
        local first = math.min(math.max(by_count, young), most)
        if first <= low then return finish(now_ms, PAUSE_MS) end
        prune(store, first, now_ms)
      end)
  end)
end

return M
