--- What is new in a model, compared with one before it that was found to be good: of ten thousand routes one. Records
-- are replaced and never changed, so what stands in both is the same table, and was judged by itself already.
--
-- News are a table:
--   before     the model before, or nil: everything is new
--   positions  kind -> list of the positions of records that are new, in order
--   gone       kind -> list of the records that stand there no more
-- Of routes and consumers, to which checks add what they find out, the model keeps the lists that it was made of in
-- `inputs`.
local alignment = require "veloflux.alignment"
local slices = require "veloflux.slices"
local new_table = require "table.new"

local M = {}

--- The kinds whose records are annotated.
M.ANNOTATED = { routes = true, consumers = true }

local News = {}
News.__index = News

--- Begins.
-- @param before a model of the same conf file without problems, or nil
function M.new(before) return setmetatable({ before = before, positions = {}, gone = {} }, News) end

--- Lists the positions of runs that are new.
local function positions_of(runs)
  local positions = {}
  for k = 1, #runs, 3 do
    for i = runs[k], runs[k] + (runs[k + 1] == 0 and runs[k + 2] or 0) - 1 do positions[#positions + 1] = i end
  end
  return positions
end

--- Makes a list of what is new in `list`, and of the rest from `annotated`.
local function joined(runs, list, annotated)
  local result = new_table(#list, 0)
  for k = 1, #runs, 3 do
    local new, at, length = runs[k], runs[k + 1], runs[k + 2]
    local from, offset = at > 0 and annotated or list, at > 0 and at - new or 0
    for i = new, new + length - 1 do result[i] = from[i + offset] end
  end
  return result
end

--- Lists what a list of before has and the runs do not.
local function gone_of(runs, old)
  local is_kept, gone, n_kept = {}, {}, 0
  for k = 1, #runs, 3 do
    local at, length = runs[k + 1], runs[k + 2]
    if at > 0 then
      is_kept[at] = length -- runs do not overlap
      n_kept = n_kept + length
    end
  end
  local i = 1
  while n_kept < #old and i <= #old do
    if is_kept[i] then
      i = i + is_kept[i]
    else
      gone[#gone + 1] = old[i]
      i = i + 1
    end
  end
  return gone
end

--- Takes note of the records of a kind. Returns the list for the model: those that are not new are as the model before
-- has them.
-- @param list the records as they were read; it stays as it is
function News:take(kind, list)
  local before, is_annotated = self.before, M.ANNOTATED[kind]
  local old = before and (is_annotated and before.inputs[kind] or before[kind]) or {}
  if before and old == list then
    self.positions[kind], self.gone[kind] = {}, {}
    return is_annotated and joined({ 1, 1, #list }, list, before[kind]) or list
  end
  local runs = before and alignment.runs(list, old) or { 1, 0, #list }
  slices.look()
  self.positions[kind], self.gone[kind] = positions_of(runs), gone_of(runs, old)
  return is_annotated and joined(runs, list, before and before[kind]) or list
end

--- Says whether a kind has just the records that it had.
function News:is_same(kind)
  return self.before ~= nil and #self.positions[kind] == 0 and #self.gone[kind] == 0
end

return M
