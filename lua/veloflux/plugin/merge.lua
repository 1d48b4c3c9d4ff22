--- Merging: how fields that say `merge` are combined with the same fields of a wider scope. Control, which judges the
-- result, and workers, which use it, merge with the same functions.
--
-- What was said is merged, a default is not: it stands where nobody said anything. How a field is merged is its mode:
--   "append"            the elements of both
--   "append_new"        likewise, but none twice (sets)
--   {values = inner}    a map: by key; `inner` is the mode of values that both have
--   {fields = {...}}    a record: by field, each with its own mode
--   false, nil          not at all: the narrow one replaces the wide one
local M = {}

local function append(wide, narrow, is_set)
  local merged, has = {}, {}
  for _, list in ipairs { wide, narrow } do
    for _, value in ipairs(list) do
      if not (is_set and has[value]) then merged[#merged + 1] = value end
      has[value] = true
    end
  end
  return merged
end

--- Merges maps or records; what records keep under tables is left out.
local function by_key(mode, wide, said, complete)
  local merged = setmetatable({}, getmetatable(said))
  for key, value in pairs(wide) do
    if type(key) ~= "table" then merged[key] = value end
  end
  for key, value in pairs(said) do
    if type(key) ~= "table" then
      local inner = mode.values or mode.fields and mode.fields[key]
      merged[key] = M.value(inner, merged[key], value, complete[key])
    end
  end
  return merged
end

--- Merges one value.
-- @param wide what stands at the wider scope, or nil
-- @param said what was said at the narrow one, without defaults
-- @param complete the same with its defaults
function M.value(mode, wide, said, complete)
  if not mode or wide == nil then return complete end
  if type(mode) == "table" then return by_key(mode, wide, said, complete) end
  return append(wide, complete, mode == "append_new")
end

--- Merges configurations, plain tables.
-- @param modes field -> mode
-- @param wide, narrow {config = complete, own = those of the merge fields that were said, or nil}
-- @return a configuration, complete
function M.config(modes, wide, narrow)
  local config, said, own = {}, wide.own or {}, narrow.own or {}
  for field, value in pairs(narrow.config) do config[field] = value end
  for field, mode in pairs(modes) do
    if said[field] ~= nil and own[field] ~= nil then
      config[field] = M.value(mode, wide.config[field], own[field], narrow.config[field])
    elseif said[field] ~= nil then
      config[field] = wide.config[field]
    end
  end
  return config
end

--- Returns what was said of the merge fields of such a configuration, or nil.
function M.own(modes, wide, narrow)
  if not wide.own or not narrow.own then return narrow.own or wide.own end
  local own = {}
  for field, mode in pairs(modes) do
    local before, after = wide.own[field], narrow.own[field]
    own[field] = after == nil and before or M.value(mode, before, after, after)
  end
  return own
end

return M
