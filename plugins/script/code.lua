--- The texts of a configuration, compiled.
local M = {}

--- Phases that may have a script, in their order.
M.PHASES = { "rewrite", "access", "balancer", "header_filter", "body_filter", "log" }

-- On the script's first line, so that the lines of messages are its own.
local HEAD = "local pdk = ... "

--- Compiles a text.
-- @param name of its phase, for messages
-- @return a function; or nil and a message that begins with the line
function M.compile(text, name)
  local chunk, problem = load(HEAD .. text, "=script." .. name)
  if chunk then return chunk end
  local line, message = problem:match "^[^:]*:(%d+): (.*)$"
  return nil, line and ("line %s: %s"):format(line, message) or problem
end

return M
