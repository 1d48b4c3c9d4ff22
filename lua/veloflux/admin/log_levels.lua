--- The levels of the log at run time, of everything and of subsystems.
local ffi = require "ffi"
local json = require "veloflux.pdk.json"
local problem = require "veloflux.admin.problem"

ffi.cdef [[
int vf_control_set_log(const char *text);
const char *vf_log_overrides(void);
]]
local C = ffi.C

local M = {}

local LEVELS = { debug = true, info = true, warn = true, error = true }
local MAX_SUBSYSTEMS = 16 -- as base/log.c has room for
local NAME, MAX_NAME = "^[a-z][a-z0-9_]*$", 31

--- What is set at run time: {level = of everything or nil, subsystems}.
local function overrides()
  local set = { subsystems = {} }
  for name, level in ffi.string(C.vf_log_overrides()):gmatch "(%S+)=(%S+)" do
    if name == "*" then set.level = level else set.subsystems[name] = level end
  end
  return set
end

local function shown(set, model)
  local configured = model and model.node.log.level or "info"
  return { configured = configured, level = set.level or configured, subsystems = set.subsystems }
end

--- Returns the levels in force: {configured, level, subsystems}.
-- @param model what runs, or nil
function M.document(model) return shown(overrides(), model) end

local function check_level(errors, pointer, level)
  if LEVELS[level] then return end
  errors[#errors + 1] = { pointer = pointer, detail = "expected debug, info, warn or error" }
end

local function check_subsystem(errors, name, level)
  if type(name) ~= "string" or not name:find(NAME) or #name > MAX_NAME then
    local step = tostring(name):gsub("~", "~0"):gsub("/", "~1")
    errors[#errors + 1] = { pointer = "/subsystems/" .. step, detail = "not the name of a subsystem" }
  elseif level ~= json.null then
    check_level(errors, "/subsystems/" .. name, level)
  end
end

--- Says what is wrong with {level, subsystems}.
local function check(body)
  local errors = {}
  for name in pairs(body) do
    if name ~= "level" and name ~= "subsystems" and name ~= "configured" then
      errors[#errors + 1] = { pointer = "/" .. name, detail = "unknown field" }
    end
  end
  local level, subsystems = body.level, body.subsystems
  if subsystems ~= nil and subsystems ~= json.null then
    if type(subsystems) ~= "table" or json.is_array(subsystems) then
      errors[#errors + 1] = { pointer = "/subsystems", detail = "expected an object" }
    else
      for name, own in pairs(subsystems) do check_subsystem(errors, name, own) end
    end
  end
  if level ~= nil and level ~= json.null then check_level(errors, "/level", level) end
  return errors
end

--- What becomes of the subsystems that are set. null takes one back.
local function merged(before, given, merges)
  if given == nil then return before end
  local result = {}
  for name, level in pairs(merges and given ~= json.null and before or {}) do result[name] = level end
  for name, level in pairs(given ~= json.null and given or {}) do
    if level == json.null then result[name] = nil else result[name] = level end
  end
  return result
end

local function text_of(set)
  local words = {}
  for name, level in pairs(set.subsystems) do words[#words + 1] = ("%s=%s"):format(name, level) end
  table.sort(words)
  if set.level then table.insert(words, 1, "*=" .. set.level) end
  return table.concat(words, " "), #words - (set.level and 1 or 0)
end

local function refuse(errors)
  table.sort(errors, function(a, b) return a.pointer < b.pointer end)
  return nil, problem.new("invalid", errors[1].pointer .. ": " .. errors[1].detail, { errors = errors })
end

--- Sets levels at run time. null stands for what the conf says.
-- @param wanted {level, subsystems}
-- @param options {mode = "replace": what is not there is as in the conf; "put": it stays; "merge": so do subsystems
-- that are not named; is_dry}
-- @return the levels in force, or those that would be; or nil and a problem
function M.set(wanted, model, options)
  local errors = check(wanted)
  if #errors > 0 then return refuse(errors) end
  local before = options.mode == "replace" and { subsystems = {} } or overrides()
  local set = { level = before.level, subsystems = merged(before.subsystems, wanted.subsystems,
    options.mode == "merge") }
  if wanted.level ~= nil then set.level = wanted.level ~= json.null and wanted.level or nil end
  local text, count = text_of(set)
  if count > MAX_SUBSYSTEMS then
    return refuse { { pointer = "/subsystems", detail = "expected at most " .. MAX_SUBSYSTEMS } }
  end
  if not options.is_dry and C.vf_control_set_log(text) ~= 0 then
    return nil, problem.new("invalid", "These levels cannot be set.")
  end
  local told = shown(set, model)
  told.dry_run = options.is_dry or nil
  return told
end

return M
