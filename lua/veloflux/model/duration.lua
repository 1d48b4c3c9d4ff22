--- Durations as people write them: "250ms", "10s", "5m", "1h", "1h30m"; "off" is math.huge.
-- The value is a number of milliseconds.
local M = {}

local MS_PER = { ms = 1, s = 1000, m = 60 * 1000, h = 60 * 60 * 1000, d = 24 * 60 * 60 * 1000 }
local UNITS = { { "d", MS_PER.d }, { "h", MS_PER.h }, { "m", MS_PER.m }, { "s", MS_PER.s }, { "ms", 1 } }

--- Reads a duration.
-- @param text string of numbers, each with a unit: ms, s, m, h or d
-- @return integer in milliseconds, or nil when it is none
function M.parse(text)
  local total, stop = 0, 1
  repeat
    local number, unit, next_start = text:match("^(%d+%.?%d*)(%a+)()", stop)
    if not MS_PER[unit] then return nil end
    total = total + tonumber(number) * MS_PER[unit]
    stop = next_start
  until stop > #text
  total = math.floor(total + 0.5)
  return total < 2 ^ 53 and total or nil
end

--- Writes `ms` so that `parse` reads the same number again, in the largest unit that divides it.
function M.format(ms)
  if ms == math.huge then return "off" end
  for _, unit in ipairs(UNITS) do
    if ms ~= 0 and ms % unit[2] == 0 then return ("%d%s"):format(ms / unit[2], unit[1]) end
  end
  return "0s"
end

return M
