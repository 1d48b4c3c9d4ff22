--- Archives as texts.
local archive = require "veloflux.control.archive"

local M = {}

--- Begins one. Returns the writer of control/archive.lua, and a function that ends it and returns all bytes.
function M.writer(secrets)
  local parts = {}
  local writer = assert(archive.writer(secrets, function(bytes)
    parts[#parts + 1] = bytes
    return true
  end))
  return writer, function()
    assert(writer:finish())
    return table.concat(parts)
  end
end

--- Returns an archive of lines.
function M.of(secrets, lines)
  local writer, bytes_of = M.writer(secrets)
  for _, line in ipairs(lines) do writer:add(line) end
  return bytes_of()
end

return M
