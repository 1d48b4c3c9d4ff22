--- Objects of JSON with one very long Base64 text among their fields, such as a backup: that text is cut out where it
-- stands, and the rest, which is short, is decoded as any other body. Nothing of it is in memory as a whole.
local bodies = require "veloflux.admin.body"
local contents = require "veloflux.content"
local encoding = require "veloflux.pdk.encoding"
local problem = require "veloflux.admin.problem"
local slices = require "veloflux.slices"

local M = {}

local PIECE = 64 * 1024 -- bytes that are looked at once; a multiple of four, for Base64
local MOST_REST = 256 * 1024 -- bytes beside the long text
local STAND_IN = "\0long" -- what the decoded object has in its place: with a byte that Base64 has not
local STAND_IN_JSON = '"\\u0000long"'

local function too_long(rest)
  return problem.new("invalid", ("The body has more than %d bytes beside its one long text of Base64."):format(rest),
    { errors = { { pointer = "", detail = "too large" } } })
end

--- Says where the longest run of Base64 between two quotes is: from, to (behind it), from 0. Nil when none is longer
-- than a piece. Some write its slashes as `\/`.
local function find_long(content)
  local first, from, to = nil, nil, nil -- first: behind the last byte that is not of Base64, when that is a quote
  for at = 0, contents.size(content) - 1, PIECE do
    slices.look()
    local text, place = assert(contents.piece(content, at, PIECE)), 1
    while true do
      local stop = text:find("[^%w+/=\\]", place)
      if not stop then break end
      if text:sub(stop, stop) == '"' then
        if first and at + stop - 1 - first > math.max(PIECE, from and to - from or 0) then
          from, to = first, at + stop - 1
        end
        first = at + stop
      else
        first = nil
      end
      place = stop + 1
    end
  end
  return from, to
end

--- Decodes an object of JSON.
-- @param content of content.lua
-- @return the object, in which `is_long` knows the text that was cut out; and where that is: {from, to}, nil when there
-- is none. Or nil and a problem
function M.decode(content)
  local size = contents.size(content)
  local from, to
  if size > MOST_REST then
    from, to = find_long(content)
    if size - (from and to - from or 0) > MOST_REST then return nil, too_long(MOST_REST) end
  end
  if not from then return bodies.decode(assert(contents.piece(content))) end
  local head = assert(contents.piece(content, 0, from - 1)) -- without the quotes
  local body, bad = bodies.decode(head .. STAND_IN_JSON .. assert(contents.piece(content, to + 1, size - to - 1)))
  if not body then return nil, bad end
  return body, { from = from, to = to }
end

--- Says whether a value stands for the text that was cut out.
function M.is_long(value) return value == STAND_IN end

--- Decodes the Base64 of a text that was cut out, piece by piece.
-- @param place of `decode`
-- @param writer what takes it: of content.lua, for instance
-- @return true; or nil, a message about the text, and the failure of the writer, of which one is nil
function M.write_decoded(content, place, writer)
  local rest = "" -- what is no whole group of four yet
  for at = place.from, place.to - 1, PIECE do
    slices.look()
    local len = math.min(PIECE, place.to - at)
    local is_last = at + len == place.to
    local text = (rest .. assert(contents.piece(content, at, len))):gsub("\\/", "/")
    local whole = is_last and #text or math.max(0, math.floor((#text - 1) / 4) * 4) -- the last may be half of `\/`
    rest, text = text:sub(whole + 1), text:sub(1, whole)
    local bytes, message = encoding.base64_decode(text)
    if not bytes then return nil, message end
    if not is_last and text:find("=", 1, true) then return nil, "expected Base64: = is at its end only" end
    local ok, failure = writer:write(bytes)
    if not ok then return nil, nil, failure end
  end
  return true
end

return M
