--- The Lua of custom_fields_by_lua, compiled: each text is the body of a function and returns the value of a member.
local M = {}

-- On the first line, so that the lines of messages are the text's own.
local HEAD = "local pdk = ... local kong = pdk "

--- Compiles a text.
-- @param name of the member, for messages
-- @return a function that takes the plugin API; or nil and a message that begins with the line
function M.compile(text, name)
  local chunk, problem = load(HEAD .. text, "=custom_fields_by_lua." .. name)
  if chunk then return chunk end
  local line, message = problem:match "^.-:(%d+): (.*)$"
  return nil, line and ("line %s: %s"):format(line, message) or problem
end

return M
