--- What a change has done or would do, for people: a line for each entity, and what is said of it.
local json = require "veloflux.pdk.json"

local M = {}

local SIGNS = { added = "+", changed = "~", removed = "-" }

--- Returns a value as one word.
function M.word(value)
  if value == nil or value == json.null then return "-" end
  return type(value) == "string" and value or json.lenient(value)
end

--- Appends a difference: a line for each entity, and below those that changed one for each field.
function M.append_diff(lines, diff)
  for _, entity in ipairs(diff or {}) do
    lines[#lines + 1] = ("%s %s %s"):format(SIGNS[entity.action] or "?", entity.kind, entity.key)
    for _, change in ipairs(entity.action == "changed" and entity.changes or {}) do
      lines[#lines + 1] = ("    %s: %s -> %s"):format(change.pointer, M.word(change.before), M.word(change.after))
    end
  end
end

--- Says whether an answer is that of a dry run which tells what would change.
function M.is_dry(body) return type(body) == "table" and body.dry_run == true and type(body.diff) == "table" end

--- Returns lines for the answer to a change.
function M.lines(body)
  local lines = {}
  M.append_diff(lines, body.diff)
  for _, skipped in ipairs(body.skipped or {}) do
    lines[#lines + 1] = ("! %s %s stays%s"):format(skipped.kind, skipped.key, type(skipped.source) == "string"
      and " as it stands in " .. skipped.source or ": it has changed since")
  end
  for _, warning in ipairs(body.warnings or {}) do lines[#lines + 1] = "warning: " .. M.word(warning) end
  if body.dry_run then
    lines[#lines + 1] = "would change: " .. (body.summary or "nothing")
  else
    lines[#lines + 1] = ("version %s: %s"):format(M.word(body.version), body.summary or "no changes")
  end
  return lines
end

return M
