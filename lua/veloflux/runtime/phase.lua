--- Which functions of the plugin API may be called in which phase.
local task = require "veloflux.runtime.task"

local M = {}

--- enum vf_phase of src/snapshot/layout_plugins.h.
M.NUMBER = { init_worker = 0, configure = 1, certificate = 2, rewrite = 3, access = 4, balancer = 5, header_filter = 6,
  body_filter = 7, log = 8, timer = 9, control = 10 }

M.NAME = {}
for name, number in pairs(M.NUMBER) do M.NAME[number] = name end

local SETS = {
  request = { "rewrite", "access", "balancer", "header_filter", "body_filter", "log" },
  before = { "rewrite", "access" },
  before_upstream = { "rewrite", "access", "balancer" },
  answer = { "rewrite", "access", "balancer", "header_filter" },
  after = { "header_filter", "body_filter", "log" },
}

--- Makes a set of phases: names of phases, or of SETS.
-- @return table from enum vf_phase to true, and `text`: the names for a message
function M.set(...)
  local set, names = {}, {}
  for _, name in ipairs { ... } do
    for _, phase in ipairs(SETS[name] or { name }) do
      if not set[M.NUMBER[phase]] then names[#names + 1] = phase end
      set[M.NUMBER[phase]] = true
    end
  end
  set.text = table.concat(names, ", ")
  return set
end

--- Raises at the plugin's line: the function cannot be called now. Callers test the set themselves, so
-- that the usual case costs one look into a table:
--   if not PHASES[run.phase] then wrong(PHASES, "request.get_path") end
-- @param level of the plugin's code, when it is not the caller of the caller (3)
function M.wrong(set, name, level)
  local run = task.run
  local now = run.task ~= nil and ("in the %s phase"):format(M.NAME[tonumber(run.phase)] or "another")
    or "while the plugin's code is loaded"
  error(("%s cannot be called %s, only in: %s"):format(name, now, set.text), level or 3)
end

return M
