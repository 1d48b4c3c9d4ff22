--- The variables of the environment that win over the conf file: API_ADDRESS, API_AUTH_ENABLED,
-- API_USERNAME, API_PASSWORD and VFX_MASTER_KEY. An empty variable counts as absent.
local record_type = require "veloflux.model.record"

local M = {}

local BOOLEANS = { ["1"] = "true", ["0"] = "false", yes = "true", no = "false", on = "true", off = "false" }

-- variable, the path of the setting
local VARIABLES = {
  { "API_ADDRESS", "admin", "address" },
  { "API_AUTH_ENABLED", "admin", "auth", "enabled" },
  { "API_USERNAME", "admin", "auth", "username" },
  { "API_PASSWORD", "admin", "auth", "password" },
  { "VF_MASTER_KEY", "master_key" },
  { "VFX_MASTER_KEY", "master_key" },
}

--- Returns the record at `name` for writing: defaults are shared, so they are copied first.
local function own(record, name)
  local inner = rawget(record, name)
  if inner == nil then
    inner = setmetatable({}, getmetatable(record[name]))
    record[name] = inner
  end
  return inner
end

local function keep_reference(record, field, variable)
  local raw = rawget(record, record_type.RAW) or {}
  raw[field], record[record_type.RAW] = "${" .. variable .. "}", raw
end

local function set(record, grammar, row, text)
  for i = 2, #row - 1 do
    record, grammar = own(record, row[i]), grammar.by_name[row[i]]
  end
  local field = row[#row]
  local compiled = grammar.by_name[field]
  compiled = compiled.forms and compiled.forms.scalar or compiled
  if compiled.attr.type == "boolean" then text = BOOLEANS[text:lower()] or text:lower() end
  local value, message = compiled.parse(text, { dir = "/" })
  if value ~= nil and compiled.attr.custom_validator then
    local ok, problem = compiled.attr.custom_validator(value)
    if not ok then value, message = nil, problem end
  end
  if value == nil then return message or ("expected %s"):format(compiled.expected) end
  record[field] = value
  if compiled.attr.secret then keep_reference(record, field, row[1]) end
end

--- Applies the variables to the node settings.
-- @param node record of the conf grammar, changed in place
-- @param grammar its compiled type
-- @param env function(name) -> string or nil
-- @param note function(variable, message)
function M.apply(node, grammar, env, note)
  for _, row in ipairs(VARIABLES) do
    local text = env(row[1])
    if text and text ~= "" then
      local message = set(node, grammar, row, text)
      if message then note(row[1], message) end
    end
  end
end

return M
