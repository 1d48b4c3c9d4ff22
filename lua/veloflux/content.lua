--- Bytes that may be many. Content is a text, or a spool (spool.lua) where there are more of them than memory should
-- hold.
local spools = require "veloflux.spool"

local M = {}

local IN_MEMORY = 256 * 1024 -- bytes that are not worth a file

--- Returns how many bytes it has.
function M.size(content) return type(content) == "string" and #content or content.len end

--- Returns a part of it, all when left out, as a string; or nil and a message.
-- @param first from 0
function M.piece(content, first, len)
  if type(content) ~= "string" then return spools.text(content, first, len) end
  if not first then return content end
  return content:sub(first + 1, len and first + len or -1)
end

--- Opens a file that is there: a short one is read at once. Returns its content; or nil, a message and a code, as
-- spools.open.
function M.open(path)
  local spool, message, code = spools.open(path)
  if not spool or spool.len > IN_MEMORY then return spool, message, code end
  local text
  text, message = spools.text(spool)
  spools.close(spool)
  return text, message, not text and "failed" or nil
end

--- Gives its file back now instead of some time later.
function M.close(content)
  if type(content) ~= "string" then spools.close(content) end
end

-- Writing -------------------------------------------------------------------------------------------

local Writer = {}
Writer.__index = Writer

--- Begins content that is written piece by piece, in memory at first.
-- @param folder for its file
-- @param is_own true: it is not for sending (spool.lua)
function M.writer(folder, is_own)
  return setmetatable({ folder = folder, is_own = is_own, parts = {}, kept = 0, size = 0 }, Writer)
end

local function fail(self, message, code)
  self.failure = { message = message, code = code == "busy" and "unavailable" or "insufficient_storage" }
  self:drop()
  return nil, self.failure
end

--- Puts what is in memory into the file.
local function spill(self)
  local message, code
  if not self.spool then
    self.spool, message, code = spools.new(self.folder, self.is_own)
    if not self.spool then return fail(self, message, code) end
  end
  local ok
  ok, message = spools.write(self.spool, table.concat(self.parts))
  if not ok then return fail(self, message) end
  self.parts, self.kept = {}, 0
  return true
end

--- Appends.
-- @return true; or nil and {code, message}: code is unavailable (too much is under way) or insufficient_storage. Then
-- it is of no more use
function Writer:write(text)
  if self.failure then return nil, self.failure end
  self.parts[#self.parts + 1] = text
  self.size, self.kept = self.size + #text, self.kept + #text
  if self.kept <= IN_MEMORY then return true end
  return spill(self)
end

--- Returns the content; or nil and the failure, as `write`.
function Writer:finish()
  if self.failure then return nil, self.failure end
  if not self.spool then return table.concat(self.parts) end
  local ok, failure = spill(self)
  if not ok then return nil, failure end
  local spool = self.spool
  self.spool = nil
  return spool
end

--- What was written is not wanted.
function Writer:drop()
  if self.spool then spools.close(self.spool) end
  self.spool, self.parts = nil, {}
end

return M
