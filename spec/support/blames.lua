--- Whose mistake an error says it is.
local M = {}

--- Fails unless `run` raises an error that matches `pattern`, and that names the very file that `run` is
-- in: a caller's mistake is shown where the caller made it.
function M.caller(run, pattern)
  local ok, message = pcall(run)
  if ok then error("no error was raised", 2) end
  local file = debug.getinfo(run, "S").short_src:match "[^/]+$"
  local at, text = tostring(message):match "([^/]+):%d+: (.*)$"
  if at ~= file then error("the error does not blame " .. file .. ": " .. tostring(message), 2) end
  if not text:find(pattern) then error(("expected an error like %q, got %q"):format(pattern, text), 2) end
end

return M
