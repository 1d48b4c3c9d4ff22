--- What `veloflux plugin test` prints.
local log = require "veloflux.kit.log"

local M = {}

local Report = {}
Report.__index = Report

local MARKS = { passed = "ok      ", failed = "FAILED  ", pending = "pending " }
local MOST_LOGS = 20

--- Makes a report.
-- @param out function that writes a line
-- @param context {command = text that repeats the run, seed}
function M.new(out, context)
  return setmetatable({ out = out, context = context, counts = { passed = 0, failed = 0, pending = 0 } }, Report)
end

--- Keeps the lines of a traceback that are of the spec or the plugin.
local function own_lines(trace)
  local lines = {}
  for line in (trace or ""):gmatch "[^\n]+" do
    local is_ours = line:find "^%s*%[C%]" or line:find "^%s*veloflux[.%w_]*:" or line:find "stack traceback"
      or line:find "%(tail call%)" or line:find "builtin"
    if not is_ours and line:find "%S" then lines[#lines + 1] = (line:gsub("^%s+", "")) end
  end
  return lines
end

--- The traceback in a log entry, without what is not the plugin's; entries that say the same are told once.
local function short_logs(entries)
  local lines, counts = {}, {}
  for _, entry in ipairs(entries) do
    local text, trace = log.format(entry):match "^(.-)\nstack traceback:(.*)$"
    text = text or log.format(entry)
    for _, line in ipairs(own_lines(trace)) do text = text .. "\n  " .. line end
    if not counts[text] then lines[#lines + 1] = text end
    counts[text] = (counts[text] or 0) + 1
  end
  for i, line in ipairs(lines) do
    if counts[line] > 1 then lines[i] = line .. (" (%d times)"):format(counts[line]) end
  end
  return lines
end

local function indent(text, by) return by .. text:gsub("\n", "\n" .. by) end

local function shell_quoted(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

function Report:failure(result)
  local out, failure = self.out, result.failure
  out(indent(failure.message, "    "))
  for _, line in ipairs(own_lines(failure.trace)) do out("      " .. line) end
  if result.logs and #result.logs > 0 then
    out "    the gateway has logged:"
    local lines = short_logs(result.logs)
    for i = math.max(1, #lines - MOST_LOGS + 1), #lines do out(indent(lines[i], "      ")) end
  end
  out(("    again: %s --seed %d --filter %s"):format(self.context.command, self.context.seed,
    shell_quoted(result.full_name)))
end

--- One spec has ended.
function Report:spec(result)
  self.counts[result.status] = self.counts[result.status] + 1
  local reason = result.reason and (" (%s)"):format(result.reason) or ""
  self.out(MARKS[result.status] .. result.full_name .. reason)
  if result.status == "failed" then self:failure(result) end
end

--- A file could not be read.
function Report:broken(path, failure)
  self.counts.failed = self.counts.failed + 1
  self.out(MARKS.failed .. path)
  self.out(indent(failure.message, "    "))
  for _, line in ipairs(own_lines(failure.trace)) do self.out("      " .. line) end
end

--- Returns how many specs have been told of.
function Report:total() return self.counts.passed + self.counts.failed + self.counts.pending end

--- The end. Returns the exit status.
-- @param seconds it took
function Report:finish(seconds)
  local counts = self.counts
  self.out(("%d passed, %d failed, %d pending (%.2f s, seed %d)"):format(counts.passed, counts.failed, counts.pending,
    seconds, self.context.seed))
  return counts.failed == 0 and 0 or 1
end

return M
