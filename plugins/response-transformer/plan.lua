--- What a configuration asks for, read once: lists of steps in the order in which they are taken.
local M = {}

local OPERATIONS = { "remove", "rename", "replace", "add", "append" }

local function typed(value, kind)
  if kind == "number" then return tonumber(value) end
  if kind == "boolean" then return value == "true" end
  return value
end

local function steps_of(conf, target)
  local steps = {}
  for _, operation in ipairs(OPERATIONS) do
    local types = target == "json" and conf[operation].json_types or {}
    for i, entry in ipairs(conf[operation][target]) do
      local name, value = entry:match "^([^:]+):*(.-)$"
      if operation == "remove" then name, value = entry, nil end
      steps[#steps + 1] = { operation = operation, name = name, value = typed(value, types[i]) }
    end
  end
  return #steps > 0 and steps or nil
end

local function ranges_of(list)
  local ranges = {}
  for i, text in ipairs(list or {}) do
    local low, high = text:match "^(%d%d%d)%-(%d%d%d)$"
    local class = text:match "^(%d)xx$"
    if class then low, high = class .. "00", class .. "99" end
    ranges[i] = { low = tonumber(low or text), high = tonumber(high or text) }
  end
  return list and ranges
end

--- Makes the plan of a configuration: {headers, json: lists of {operation, name, value} or nil; ranges: of
-- statuses, or nil}.
function M.of(conf)
  return { headers = steps_of(conf, "headers"), json = steps_of(conf, "json"), ranges = ranges_of(conf.if_status) }
end

--- Says whether answers with a status are changed.
function M.takes(plan, status)
  if not plan.ranges then return true end
  for _, range in ipairs(plan.ranges) do
    if status >= range.low and status <= range.high then return true end
  end
  return false
end

return M
