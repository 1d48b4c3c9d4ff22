--- "Did you mean ...?": the nearest of the known words.
local M = {}

--- Returns the optimal string alignment distance of `a` and `b`: insertions, deletions,
-- substitutions and swaps of neighbours (Damerau 1964).
function M.distance(a, b)
  local before, last, row = {}, {}, {}
  for j = 0, #b do last[j] = j end
  for i = 1, #a do
    row[0] = i
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      row[j] = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + cost)
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        row[j] = math.min(row[j], before[j - 2] + 1)
      end
    end
    before, last, row = last, row, before
  end
  return last[#b]
end

--- Returns the word of the list `known` that `word` was probably meant to be, or nil. Words that are
-- further than a third of their length are no suggestion.
function M.nearest(word, known)
  local best, best_distance
  word = word:lower()
  if #word > 64 then return nil end
  for _, candidate in ipairs(known) do
    if math.abs(#candidate - #word) <= 3 then
      local distance = M.distance(word, candidate:lower())
      local allowed = math.max(1, math.floor(math.max(#candidate, #word) / 3))
      if distance <= allowed and (not best_distance or distance < best_distance) then
        best, best_distance = candidate, distance
      end
    end
  end
  return best
end

--- Writes a list of words for a sentence: "a, b or c".
function M.either(words)
  if #words == 1 then return words[1] end
  return table.concat(words, ", ", 1, #words - 1) .. " or " .. words[#words]
end

return M
