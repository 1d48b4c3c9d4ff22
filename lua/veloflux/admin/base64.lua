--- Base64 as credentials come in it (RFC 4648 section 4).
local M = {}

local VALUES = {}
for i = 0, 63 do
  VALUES[("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"):byte(i + 1)] = i
end

--- Decodes `text`; padding may be left out. Returns a string, or nil when it is no base64.
function M.decode(text)
  local body = text:match "^([%w+/]*)=?=?$"
  if not body or #body % 4 == 1 then return nil end
  local out, bits, value = {}, 0, 0
  for i = 1, #body do
    value = value * 64 + VALUES[body:byte(i)]
    bits = bits + 6
    if bits >= 8 then
      bits = bits - 8
      out[#out + 1] = string.char(math.floor(value / 2 ^ bits) % 256)
      value = value % 2 ^ bits
    end
  end
  return table.concat(out)
end

return M
