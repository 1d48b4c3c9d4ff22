--- Judges Lua patterns: string.find says what is wrong with one only when a text leads it there.
local M = {}

local MOST_CAPTURES = 32 -- LUA_MAXCAPTURES

local Walk = {}
Walk.__index = Walk

function Walk:char(offset) return self.text:sub(self.at + (offset or 0), self.at + (offset or 0)) end

--- Skips a set, which begins here with its bracket. Returns what is wrong, or nil.
function Walk:set()
  self.at = self.at + (self:char(1) == "^" and 2 or 1)
  repeat
    if self:char() == "" then return "malformed pattern (missing ']')" end
    self.at = self.at + (self:char() == "%" and 2 or 1)
  until self:char() == "]"
  self.at = self.at + 1
end

function Walk:open()
  if self.n == MOST_CAPTURES then return "too many captures" end
  self.n = self.n + 1
  local is_position = self:char(1) == ")"
  self.is_open[self.n] = not is_position
  self.at = self.at + (is_position and 2 or 1)
end

function Walk:close()
  for i = self.n, 1, -1 do
    if self.is_open[i] then
      self.is_open[i], self.at = false, self.at + 1
      return nil
    end
  end
  return "invalid pattern capture"
end

function Walk:escape()
  local what = self:char(1)
  if what == "" then return "malformed pattern (ends with '%')" end
  if what == "b" and #self.text < self.at + 3 then return "unbalanced pattern" end
  if what == "f" then
    self.at = self.at + 2
    return self:char() ~= "[" and "missing '[' after '%f' in pattern" or self:set()
  end
  local number = tonumber(what)
  if number and self.is_open[number] ~= false then return "invalid capture index" end
  self.at = self.at + (what == "b" and 4 or 2)
end

local STEPS = { ["["] = Walk.set, ["("] = Walk.open, [")"] = Walk.close, ["%"] = Walk.escape }

--- Returns what is wrong with a pattern, or nil.
---@param text string
---@return string|nil problem
function M.problem(text)
  local walk = setmetatable({ text = text, at = 1, n = 0, is_open = {} }, Walk)
  while walk.at <= #text do
    local step = STEPS[walk:char()]
    local problem
    if step then problem = step(walk) else walk.at = walk.at + 1 end
    if problem then return problem end
  end
  for i = 1, walk.n do
    if walk.is_open[i] then return "unfinished capture" end
  end
end

return M
