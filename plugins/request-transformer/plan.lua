--- What a configuration asks for, read once: lists of steps in the order in which they are taken.
local expression = require "veloflux.plugins.request-transformer.expression"

local M = {}

M.OPERATIONS = { "remove", "rename", "replace", "add", "append" }

--- Adds a text to the plan's list of those that have places to fill in.
-- @return the text, or nil and its number in the list
local function text_of(plan, text, target)
  local parts = assert(expression.compile(text))
  if type(parts) == "string" then return parts end
  plan.n_places = plan.n_places + 1
  plan.places[plan.n_places] = { parts = parts, target = target }
  return nil, plan.n_places
end

local function step_of(plan, operation, target, entry)
  if operation == "remove" then return { name = entry } end
  local name, value = entry:match "^([^:]+):*(.-)$"
  if operation == "rename" then return { name = name, new_name = value } end
  local text, number = text_of(plan, value, target)
  return { name = name, text = text, number = number }
end

local function steps_of(plan, conf, target)
  local steps = {}
  for _, operation in ipairs(M.OPERATIONS) do
    for _, entry in ipairs(conf[operation] and conf[operation][target] or {}) do
      local step = step_of(plan, operation, target, entry)
      step.operation = operation
      step.is_host = target == "headers" and step.name:lower() == "host"
      steps[#steps + 1] = step
    end
  end
  return #steps > 0 and steps or nil
end

--- Returns what a step puts in; nil when it puts nothing in.
-- @param texts of the places, by number; nil when there are none
local function value_of(step, texts) return step.new_name or step.text or step.number and texts[step.number] end
M.value_of = value_of

--- Takes the steps on arguments, parts or members: whatever has functions of the operations' names.
-- @param texts see value_of
function M.take(steps, list, texts)
  for i = 1, #steps do
    local step = steps[i]
    list[step.operation](list, step.name, value_of(step, texts))
  end
end

--- Makes the plan of a configuration.
-- @return {headers, querystring, body: lists of steps or nil; uri: {text or number}; places: what has to be
-- filled in, a list of {parts, target}}. A step is {operation, name, new_name, text or number (of a place)}
function M.of(conf)
  local plan = { places = {}, n_places = 0 }
  for _, target in ipairs { "headers", "querystring", "body" } do plan[target] = steps_of(plan, conf, target) end
  if conf.replace and conf.replace.uri then
    local text, number = text_of(plan, conf.replace.uri, "uri")
    plan.uri = { text = text, number = number }
  end
  return plan
end

return M
