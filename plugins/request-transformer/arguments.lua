--- Arguments of a query or form (application/x-www-form-urlencoded), in order.
local pdk = require "veloflux.pdk"
local lists = require "veloflux.plugins.request-transformer.list"

local M = {}

M.MOST = 10000

local find, sub = string.find, string.sub

local function char_of(digits) return string.char(tonumber(digits, 16)) end

local function decode(text)
  if not find(text, "%", 1, true) and not find(text, "+", 1, true) then return text end
  local decoded = pdk.encoding.url_decode(text, true)
  return decoded or (text:gsub("+", " "):gsub("%%(%x%x)", char_of))
end

local FORMAT = {}

function FORMAT.make(name, value) return pdk.encoding.url_encode(name) .. "=" .. pdk.encoding.url_encode(value) end

function FORMAT.rename(item, new_name)
  local equals = find(item.raw, "=", 1, true)
  item.raw = pdk.encoding.url_encode(new_name) .. (equals and sub(item.raw, equals) or "")
end

--- Reads a query.
-- @return a list (list.lua); or nil when it has more than MOST arguments
function M.parse(text)
  local items, at = {}, 1
  while at <= #text do
    local stop = find(text, "&", at, true) or #text + 1
    if stop > at then
      if #items == M.MOST then return nil end
      local raw = sub(text, at, stop - 1)
      local equals = find(raw, "=", 1, true)
      items[#items + 1] = { name = decode(equals and sub(raw, 1, equals - 1) or raw), raw = raw }
    end
    at = stop + 1
  end
  return lists.new(FORMAT, items)
end

--- Writes a list as a query.
function M.format(list)
  local raws, items = {}, list.items
  for i = 1, #items do raws[i] = items[i].raw end
  return table.concat(raws, "&")
end

--- Joins two queries.
function M.join(first, second)
  if first == "" or second == "" then return first .. second end
  return first .. "&" .. second
end

return M
