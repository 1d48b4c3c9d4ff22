--- What a spec fails with: a message, and where that was.
local M = {}

local Failure = { __tostring = function(self) return self.message end }

--- Makes a failure.
-- @param fields {message, trace}, or {pending = why}: the spec waits to be written
function M.new(fields) return setmetatable(fields, Failure) end

function M.is(value) return getmetatable(value) == Failure end

--- Makes a failure of whatever was raised; one stays as it is.
-- @param trace text
function M.of(err, trace)
  if M.is(err) then return err end
  local message = type(err) == "string" and err or "an error that is no text: " .. tostring(err)
  return M.new { message = message, trace = trace }
end

return M
