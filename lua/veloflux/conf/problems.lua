--- Problems of conf files as people and clients get them: {file, line, path, message}, and perhaps {rule, plugin,
-- pointer}.
local M = {}

--- Sorts problems by file, in the order in which the files were read, and line.
function M.sort(problems, names)
  local order = {}
  for i, name in ipairs(names) do order[name] = i end
  for i, problem in ipairs(problems) do problem.nth = i end
  table.sort(problems, function(a, b)
    local file_a, file_b = order[a.file] or 0, order[b.file] or 0
    if file_a ~= file_b then return file_a < file_b end
    if (a.line or 0) ~= (b.line or 0) then return (a.line or 0) < (b.line or 0) end
    return a.nth < b.nth
  end)
  for _, problem in ipairs(problems) do problem.nth = nil end
end

--- Returns where a problem is as a JSON Pointer (RFC 6901): "/pools/0/name"; "" when it is nowhere in particular.
function M.pointer(problem)
  if problem.pointer then return problem.pointer end
  local pointer = ""
  for step in (problem.path or ""):gmatch "[^.%[%]]+" do
    pointer = pointer .. "/" .. step:gsub("~", "~0"):gsub("/", "~1")
  end
  return pointer
end

--- Writes a problem as FILE:LINE: path: message; what is not known is left out.
function M.format(problem)
  local place = problem.line and ("%s:%d"):format(problem.file, problem.line) or problem.file
  local path = problem.path ~= "" and problem.path .. ": " or ""
  return ("%s: %s%s"):format(place, path, problem.message)
end

return M
