--- Random changes to texts, the same everywhere for a seed: for specs that feed readers with nonsense.
local M = {}

--- A small generator of its own (xorshift32), so that runs are the same everywhere.
function M.generator(seed)
  local bit = require "bit"
  local state = seed * 2654435761 % 2 ^ 31 + 1
  return function(n)
    state = bit.bxor(state, bit.lshift(state, 13))
    state = bit.bxor(state, bit.rshift(state, 17))
    state = bit.bxor(state, bit.lshift(state, 5))
    return state % n + 1
  end
end

local PIECES = { "{", "}", "[", "]", ":", ": ", "- ", "\n", "\n  ", "\t", "'", '"', "&a ", "*a", "!!str ", "<<: *a",
  "|\n", ">\n", "#", "---\n", "...\n", "${", "}", "${X:-", "$${", "{file:/etc/passwd}", "\0",
  "\255", "\226\128\168", "null",
  "~", "true", "1e999", "-0", "0x", "99999999999999999999", "%2f", "/../", "*", "name", "pools", "routes", "off",
  ("a"):rep(300), ("["):rep(70), "?", ",", "\r\n", "\239\187\191", "@", "`", "nan", ".inf", "-1s", "0.0.0.0:0" }

--- Changes a text at one to three places.
function M.mutate(text, random)
  for _ = 1, random(3) do
    local at, what = random(#text + 1), random(4)
    if what == 1 then
      text = text:sub(1, at - 1) .. PIECES[random(#PIECES)] .. text:sub(at)
    elseif what == 2 then
      text = text:sub(1, at - 1) .. text:sub(at + random(12))
    elseif what == 3 then
      text = text:sub(1, at - 1) .. string.char(random(256) - 1) .. text:sub(at + 1)
    else
      local from = random(#text + 1)
      text = text:sub(1, at - 1) .. text:sub(from, from + random(60)) .. text:sub(at)
    end
  end
  return text
end

return M
