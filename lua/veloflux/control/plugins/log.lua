--- What the log says of plugins in control.
local report = require "veloflux.runtime.report"

local M = {}

--- A function of a plugin was ended because it took too long.
function M.late(plugin, what, limit_ms)
  report.write(report.ERROR, "plugin.late", "plugin", plugin.name, "phase", "control", "what", what, "limit_ms",
    limit_ms)
end

--- An endpoint has answered what is no answer.
function M.bad_answer(plugin, what, message)
  report.write(report.ERROR, "plugin.bad_answer", "plugin", plugin.name, "phase", "control", "what", what, "error",
    message)
end

--- The node starts without a plugin, because of a problem {file, message, plugin}.
function M.left_out(problem)
  report.write(report.ERROR, "plugin.left_out", "plugin", problem.plugin or "", "phase", "control", "file",
    problem.file, "error", problem.message)
end

--- Plugins in control have been loaded anew.
function M.loaded(names)
  report.write(report.INFO, "control.plugins", "plugins", table.concat(names, ","))
end

return M
