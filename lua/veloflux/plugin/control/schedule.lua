--- When a job runs next: every so often, or at times of the clock (UTC). Clocks are passed in.
--
-- A schedule is {text, next_ms = function(now_ms, last_ms, random) -> ms}: `now_ms` of the wall clock, `last_ms` when
-- the run before was due (nil: there was none), `random` a number from 0 to 1.
local M = {}

local DAY_S, MINUTE_S = 86400, 60
local MAX_MINUTES = 366 * 24 * 60 -- a leap day may be up to eight years away: days are skipped as a whole
local MAX_DAYS = 366 * 8

--- Every `every_ms`; `jitter` is the share of that over which runs are spread.
function M.every(every_ms, jitter)
  return { text = ("every %gs"):format(every_ms / 1000), every_ms = every_ms,
    next_ms = function(now_ms, last_ms, random)
      local base = last_ms or now_ms
      local missed = math.max(0, math.floor((now_ms - base) / every_ms))
      return base + (missed + 1) * every_ms + (random - 0.5) * jitter * every_ms
    end }
end

local FIELDS = { { "minute", 0, 59 }, { "hour", 0, 23 }, { "day", 1, 31 }, { "month", 1, 12 }, { "weekday", 0, 7 } }

--- Reads one field of five: *, 5, 1-5, */10, 1-30/2 and lists of these.
local function read_field(text, of)
  local name, low, high = of[1], of[2], of[3]
  local set = {}
  for item in (text .. ","):gmatch "([^,]*)," do
    local range, step = item:match "^([^/]+)/(%d+)$"
    range = range or item
    local from, to = range:match "^(%d+)%-(%d+)$"
    if range == "*" then
      from, to = low, high
    elseif not from then
      from = range:match "^%d+$"
      to = step and high or from
    end
    from, to, step = tonumber(from), tonumber(to), tonumber(step or 1)
    if not from or from < low or to > high or from > to or step == 0 then
      return nil, ("%s: expected numbers from %d to %d, *, ranges, lists and steps, got %q"):format(name, low, high,
        item)
    end
    for value = from, to, step do set[value] = true end
  end
  if name == "weekday" and set[7] then set[0] = true end
  return set
end

local function utc(s) return os.date("!*t", s) end

--- Says whether a day is one of the schedule's. As in cron, when both day and weekday are given either will do.
local function is_day(sets, date)
  if not sets.month[date.month] then return false end
  local day, weekday = sets.day[date.day], sets.weekday[date.wday - 1]
  if sets.any_day then return weekday end
  if sets.any_weekday then return day end
  return day or weekday
end

--- Returns the first minute after `s` (seconds) that is one of the schedule's, nil when there is none.
local function next_match(sets, s)
  local at = math.floor(s / MINUTE_S) * MINUTE_S + MINUTE_S
  local days = 0
  for _ = 1, MAX_MINUTES do
    local date = utc(at)
    if not is_day(sets, date) then
      at, days = at - at % DAY_S + DAY_S, days + 1
      if days > MAX_DAYS then return nil end
    elseif not sets.hour[date.hour] then
      at = at - at % 3600 + 3600
    elseif not sets.minute[date.min] then
      at = at + MINUTE_S
    else
      return at
    end
  end
end

local function read_cron(text)
  local sets, n = {}, 0
  for part in text:gmatch "%S+" do
    n = n + 1
    local of = FIELDS[n]
    if not of then return nil, "expected five fields" end
    local set, bad = read_field(part, of)
    if not set then return nil, bad end
    sets[of[1]] = set
    if part:sub(1, 1) == "*" then sets["any_" .. of[1]] = true end
  end
  if n ~= #FIELDS then return nil, 'expected a time such as "03:30", or five fields' end
  return sets
end

--- Returns the sets of one time of a schedule.
local function read_time(text)
  local hour, minute = text:match "^(%d%d):(%d%d)$"
  if not hour then return read_cron(text) end
  if tonumber(hour) > 23 or tonumber(minute) > 59 then return nil, ("%s is no time of the day"):format(text) end
  return read_cron(("%d %d * * *"):format(minute, hour))
end

--- At times of the clock, UTC.
-- @param times "HH:MM", five fields, or a list of those
-- @return a schedule, or nil and a message
function M.at(times)
  local all = {}
  local list = type(times) == "table" and times or { times }
  for i, text in ipairs(list) do
    if type(text) ~= "string" then return nil, ("[%d]: expected a text"):format(i) end
    local sets, bad = read_time(text)
    if not sets then return nil, bad end
    if not next_match(sets, 0) then return nil, ("%s: there is no such day"):format(text) end
    all[i] = sets
  end
  if #all == 0 then return nil, "expected at least one time" end
  return { text = "at " .. table.concat(list, ", ") .. " UTC", next_ms = function(now_ms)
    local first
    for _, sets in ipairs(all) do
      local at = next_match(sets, now_ms / 1000)
      if at and (not first or at < first) then first = at end
    end
    return first and first * 1000
  end }
end

return M
