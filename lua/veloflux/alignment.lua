--- What two lists have in common, in order: of thousands of records that are replaced and never changed, few differ
-- from one version to the next, and these are found by comparing references.
local M = {}

local NEAR = 8 -- how far around a difference is looked for where the lists go on alike, before one is indexed

--- Finds what is nearest: returns how many elements of the new and of the old list come before that, or nil.
local function resume_near(new, i, old, j)
  for distance = 1, NEAR do
    local next_new, next_old = new[i + distance], old[j + distance]
    if next_old ~= nil and new[i] == next_old then return 0, distance end
    if next_new ~= nil and next_new == old[j] then return distance, 0 end
    if next_new ~= nil and next_new == next_old then return distance, distance end
  end
end

local function index_of(list)
  local index = {}
  for i = 1, #list do index[list[i]] = i end
  return index
end

--- Returns the length of the run that both lists have from two positions on.
local function length_of(new, i, n_new, old, j)
  local start = i
  while i <= n_new and new[i] == old[j] do i, j = i + 1, j + 1 end
  return i - start
end

--- Divides a list into runs that stand in another one, too, and runs that do not.
-- @param new, old lists of tables, each at most once in a list; false in `old` is like nothing
-- @return a flat list of three numbers for each run, in the order of `new`: its first position there, that in `old`
-- (0: it does not stand there) and its length
function M.runs(new, old)
  local runs, n_new = {}, #new
  local i, j, index = 1, 1, nil
  local function add(at, length)
    local n = #runs
    if at == 0 and n > 0 and runs[n - 1] == 0 then
      runs[n] = runs[n] + length
    else
      runs[n + 1], runs[n + 2], runs[n + 3] = i, at, length
    end
    i = i + length
  end
  while i <= n_new do
    local length = length_of(new, i, n_new, old, j)
    if length > 0 then
      add(j, length)
      j = j + length
    else
      local n_fresh, n_gone = resume_near(new, i, old, j)
      if n_fresh then
        if n_fresh > 0 then add(0, n_fresh) end
        j = j + n_gone
      else
        index = index or index_of(old)
        local at = index[new[i]]
        if at then j = at else add(0, 1) end
      end
    end
  end
  return runs
end

return M
