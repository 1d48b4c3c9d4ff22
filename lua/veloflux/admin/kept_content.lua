--- Long content of answers that are kept for those who repeat a request: in pieces, each sealed, so that neither the
-- store nor the loop has to do with much at once.
local await = require "veloflux.admin.await"
local contents = require "veloflux.content"
local encoding = require "veloflux.pdk.encoding"
local slices = require "veloflux.slices"

local M = {}

M.MAX_BYTES = 8 * 1024 * 1024 -- that are kept of one answer
local PIECE = 96 * 1024

local function name_of(key, i) return ("%s.%d"):format(key, i) end

--- Keeps content. Yields.
-- @param context table: store(), seal(text), as for idempotency.lua
-- @param bucket, key of the store; pieces have a number behind the key
-- @param content of content.lua, at most MAX_BYTES; it stays the caller's
-- @return how many pieces there are, or nil: the store does not take them
function M.keep(context, bucket, key, content, ttl_ms)
  local count = 0
  for first = 0, contents.size(content) - 1, PIECE do
    slices.look()
    local text = contents.piece(content, first, PIECE)
    if not text then return nil end
    count = count + 1
    local sealed = context.seal(encoding.base64_encode(text))
    local err = await.call(function(callback)
      context.store():put(bucket, name_of(key, count), sealed, ttl_ms, callback)
    end)
    if err then return nil end
  end
  return count
end

--- Gives kept content back. Yields.
-- @param context besides folder(): for a file, when it is long
-- @param count of `keep`
-- @return content of content.lua, the caller's; or nil: it is not there any more
function M.fetch(context, bucket, key, count)
  local writer = contents.writer(context.folder())
  for i = 1, count do
    slices.look()
    local err, sealed = await.call(function(callback) context.store():get(bucket, name_of(key, i), callback) end)
    local text = not err and sealed and context.unseal(sealed)
    local bytes = text and encoding.base64_decode(text)
    if not bytes or not writer:write(bytes) then
      writer:drop()
      return nil
    end
  end
  return (writer:finish())
end

return M
