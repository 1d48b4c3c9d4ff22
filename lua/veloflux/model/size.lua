--- Sizes as people write them: "512", "32k", "256m", "1g" (powers of 1024); "off" is math.huge.
-- The value is a number of bytes.
local M = {}

local FACTORS = { [""] = 1, b = 1, k = 2 ^ 10, m = 2 ^ 20, g = 2 ^ 30, t = 2 ^ 40 }
local UNITS = { { "t", 2 ^ 40 }, { "g", 2 ^ 30 }, { "m", 2 ^ 20 }, { "k", 2 ^ 10 } }

--- Reads a size.
-- @param text string of digits and an optional unit: k, m, g or t, in either case ("32k", "32kb", "32KiB")
-- @return integer in bytes, or nil when it is none
function M.parse(text)
  local digits, unit = text:lower():match "^(%d+)%s?(%a*)$"
  if not digits then return nil end
  local factor = FACTORS[unit] or FACTORS[unit:match "^(%a)i?b$"]
  local bytes = factor and tonumber(digits) * factor
  return bytes and bytes < 2 ^ 53 and bytes or nil
end

--- Writes `bytes` so that `parse` reads the same number again.
function M.format(bytes)
  if bytes == math.huge then return "off" end
  for _, unit in ipairs(UNITS) do
    if bytes ~= 0 and bytes % unit[2] == 0 then return ("%d%s"):format(bytes / unit[2], unit[1]) end
  end
  return ("%d"):format(bytes)
end

return M
