--- What one process keeps of something larger, bounded by number and bytes: a newer and an older half. What is asked
-- for moves to the newer one; when that is full the older one is given up, with what nobody asked for since.
local M = {}

local Lru = {}
Lru.__index = Lru

--- Makes one that keeps twice `entries` and twice `bytes` at most.
function M.new(entries, bytes)
  return setmetatable({ most = entries, most_bytes = bytes, newer = {}, older = {}, n = 0, bytes = 0 }, Lru)
end

--- Keeps an entry, a table; its field `bytes` is what it counts.
function Lru:put(key, entry)
  if self.n >= self.most or self.bytes + entry.bytes > self.most_bytes then
    self.older, self.newer, self.n, self.bytes = self.newer, {}, 0, 0
  end
  if entry.bytes > self.most_bytes then return end
  self.newer[key] = entry
  self.n, self.bytes = self.n + 1, self.bytes + entry.bytes
end

--- Returns the entry of a key, or nil.
function Lru:find(key)
  local entry = self.newer[key]
  if entry then return entry end
  entry = self.older[key]
  if entry then
    self.older[key] = nil
    self:put(key, entry)
  end
  return entry
end

--- Forgets an entry.
function Lru:drop(key) self.newer[key], self.older[key] = nil, nil end

return M
