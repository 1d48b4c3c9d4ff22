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

--- Returns the levels in force: {configured, level, subsystems}.
-- @param model what runs, or nil
function M.document(model)
  local configured = model and model.node.log.level or "info"
  local result = { configured = configured, level = configured, subsystems = {} }
  for name, level in ffi.string(C.vf_log_overrides()):gmatch "(%S+)=(%S+)" do
    if name == "*" then result.level = level else result.subsystems[name] = level end
  end
  return result
end

local function check_level(errors, pointer, level)
  if LEVELS[level] then return end
  errors[#errors + 1] = { pointer = pointer, detail = "expected debug, info, warn or error" }
end

local function check_subsystems(errors, subsystems)
  local pairs_of, count = {}, 0
  for name, level in pairs(subsystems) do
    count = count + 1
    if type(name) ~= "string" or not name:find(NAME) or #name > MAX_NAME then
      errors[#errors + 1] = { pointer = "/subsystems/" .. name, detail = "not the name of a subsystem" }
    else
      check_level(errors, "/subsystems/" .. name, level)
      pairs_of[#pairs_of + 1] = ("%s=%s"):format(name, tostring(level))
    end
  end
  if count > MAX_SUBSYSTEMS then
    errors[#errors + 1] = { pointer = "/subsystems", detail = "expected at most " .. MAX_SUBSYSTEMS }
  end
  table.sort(pairs_of)
  return pairs_of
end

--- Reads {level, subsystems}. Returns the text for vf_log_override, or nil and errors.
local function overrides_of(body)
  local errors, words = {}, {}
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
      words = check_subsystems(errors, subsystems)
    end
  end
  if level ~= nil and level ~= json.null then
    check_level(errors, "/level", level)
    table.insert(words, 1, "*=" .. tostring(level))
  end
  if #errors > 0 then return nil, errors end
  return table.concat(words, " ")
end

--- Sets levels at run time; {}: those of the conf again.
-- @return the levels in force; or nil and a problem
function M.set(wanted, model)
  local text, errors = overrides_of(wanted)
  if not text then
    table.sort(errors, function(a, b) return a.pointer < b.pointer end)
    return nil, problem.new("invalid", errors[1].pointer .. ": " .. errors[1].detail, { errors = errors })
  end
  if C.vf_control_set_log(text) ~= 0 then return nil, problem.new("invalid", "These levels cannot be set.") end
  return M.document(model)
end

return M
