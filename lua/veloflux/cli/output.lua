--- Standard output of commands. What could not be written, on a full disk for instance, is known at the end: a script
-- that keeps an export has to hear of it.
local M = {}

local failure -- why something was not written

local function note(ok, message)
  if not ok and not failure then failure = message end
end

--- Writes a text as it is.
function M.write(text) note(io.stdout:write(text)) end

--- Writes a line.
function M.line(text) note(io.stdout:write(text, "\n")) end

--- Ends writing. Returns nil, or why something of it is not there.
function M.finish()
  note(io.stdout:flush())
  local message = failure
  failure = nil
  return message
end

--- Returns a line with nothing in it that a terminal would obey (ISO 6429): what others have written may be in it.
function M.plain(text) return (text:gsub("[%z\1-\8\10-\31\127]", " "):gsub("\194[\128-\159]", " ")) end

return M
