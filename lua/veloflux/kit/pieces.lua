--- Random numbers that follow from a seed, and texts cut at random places: whoever reads a body must not care
-- where its pieces end.
local M = {}

local Random = {}
Random.__index = Random

local MODULUS, FACTOR = 2147483647, 16807 -- Park and Miller, "Random number generators" (1988)
local SMALL, MOST_CUTS = 48, 8

--- Makes a row of numbers.
-- @param seed whole number
function M.new(seed)
  local self = setmetatable({ state = seed % (MODULUS - 1) + 1 }, Random)
  for _ = 1, 4 do self:below(2) end -- small seeds begin with small numbers
  return self
end

--- Returns a whole number from 0 to n - 1.
function Random:below(n)
  self.state = self.state * FACTOR % MODULUS
  return math.floor(self.state / MODULUS * n)
end

--- Mixes a text into a seed.
function M.seed_of(seed, text)
  local hash = seed % MODULUS
  for i = 1, #text do hash = (hash * 31 + text:byte(i)) % MODULUS end
  return hash
end

local function cut_at(text, places)
  local pieces, from = {}, 1
  table.sort(places)
  for _, place in ipairs(places) do
    if place >= from then
      pieces[#pieces + 1] = text:sub(from, place)
      from = place + 1
    end
  end
  pieces[#pieces + 1] = text:sub(from)
  return pieces
end

--- Cuts a text into pieces, none of which is empty: sometimes one, sometimes bytes, mostly a few.
function Random:cut(text)
  if #text < 2 then return { text ~= "" and text or nil } end
  local style, places = self:below(4), {}
  if style == 0 then return { text } end
  if style == 1 and #text <= SMALL then
    for i = 1, #text - 1 do places[i] = i end
  else
    for i = 1, 1 + self:below(math.min(MOST_CUTS, #text - 1)) do places[i] = 1 + self:below(#text - 1) end
  end
  return cut_at(text, places)
end

return M
