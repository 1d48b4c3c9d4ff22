--- The text format of Prometheus, version 0.0.4: families of samples, each with HELP and TYPE.
-- Samples may be added to families in any order; each family's lines come out together.
local buffer = require "string.buffer"

local M = {}
local Exposition = {}
Exposition.__index = Exposition
local Family = {}
Family.__index = Family
local Rows = {}
Rows.__index = Rows

M.CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

local ESCAPES = { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n" }

--- Returns labels as text, `{a="x",b="y"}`, from a list of name, value, name, value, ...
function M.labels(list)
  local parts = {}
  for i = 1, #list, 2 do
    parts[#parts + 1] = ('%s="%s"'):format(list[i], (tostring(list[i + 1]):gsub('[\\"\n]', ESCAPES)))
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

--- Adds a label to a text made by `labels`.
function M.with(labels, name, value) return ('%s,%s="%s"}'):format(labels:sub(1, -2), name, value) end

function M.new() return setmetatable({ families = {} }, Exposition) end

--- Says whether there is a family called so.
function Exposition:has(name)
  for _, family in ipairs(self.families) do
    if family.name == name then return true end
  end
  return false
end

--- Adds a family. Its name carries the unit; counters end in _total.
-- @param kind "counter", "gauge" or "histogram"
function Exposition:family(name, kind, help)
  local family = setmetatable({ name = name, kind = kind, help = help, lines = buffer.new() }, Family)
  table.insert(self.families, family)
  return family
end

--- Adds families that are told of together.
-- @param prefix of all their names
-- @param rows list of { field, name behind the prefix, kind, help, scale }; the field of a struct or table that is the
--   value, or a function of it; what is nil is left out. Without a scale the value is shown as it is.
-- @return families with a method add(labels, source)
function Exposition:rows(prefix, rows)
  local families = {}
  for i, row in ipairs(rows) do families[i] = self:family(prefix .. row[2], row[3], row[4]) end
  return setmetatable({ rows = rows, families = families }, Rows)
end

--- Adds a sample to each of the families.
-- @param labels text of `labels`, or ""
-- @param source the struct or table that the fields are of
function Rows:add(labels, source)
  local rows, families = self.rows, self.families
  for i = 1, #rows do
    local row = rows[i]
    local field = row[1]
    local value
    if type(field) == "function" then value = field(source) else value = source[field] end
    if value ~= nil then families[i]:add(labels, tonumber(value) * (row[5] or 1)) end
  end
end

local function put(lines, value)
  if value % 1 ~= 0 then
    lines:putf("%.15g\n", value)
  elseif value < 1e14 then
    lines:put(value, "\n")
  else
    lines:putf("%.0f\n", value)
  end
end

--- Adds a sample.
-- @param labels text of `labels`, or ""
-- @param value number
function Family:add(labels, value)
  local lines = self.lines
  lines:put(self.name, labels, " ")
  put(lines, value)
end

--- Adds a histogram.
-- @param bounds list of upper bounds; the bucket behind the last is +Inf
-- @param counts function(i) -> count of bucket i (from 1), not cumulative
-- @param sum of the values
-- @return the number of observations
function Family:add_histogram(labels, bounds, counts, sum)
  local lines, name, total = self.lines, self.name, 0
  local open = labels == "" and "{" or labels:sub(1, -2) .. ","
  for i = 1, #bounds do
    total = total + counts(i)
    lines:put(name, "_bucket", open, 'le="', bounds[i], '"} ')
    put(lines, total)
  end
  total = total + counts(#bounds + 1)
  lines:put(name, "_bucket", open, 'le="+Inf"} ')
  put(lines, total)
  lines:put(name, "_sum", labels, " ")
  put(lines, sum)
  lines:put(name, "_count", labels, " ")
  put(lines, total)
  return total
end

--- Returns the whole text; families without samples are left out.
function Exposition:text()
  local out = buffer.new()
  for _, family in ipairs(self.families) do
    if #family.lines > 0 then
      out:put("# HELP ", family.name, " ", (family.help:gsub("[\\\n]", ESCAPES)), "\n# TYPE ", family.name, " ",
        family.kind, "\n", family.lines)
    end
  end
  return out:tostring()
end

return M
