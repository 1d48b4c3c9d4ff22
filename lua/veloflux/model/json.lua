--- The few pieces of JSON text that the encoders of model/schema.lua put together (RFC 8259).
local M = {}

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

--- Returns an empty list of pieces for `put`; table.concat makes the text.
function M.writer()
  return { n = 0 }
end

--- Appends a piece. The list counts itself: # would search for its end each time.
function M.put(out, piece)
  local n = out.n + 1
  out.n = n
  out[n] = piece
end

--- Makes one piece of those from the `first` on, so that there are never very many.
function M.collapse(out, first)
  local text = table.concat(out, "", first, out.n)
  for i = out.n, first + 1, -1 do out[i] = nil end
  out[first], out.n = text, first
end

local function escape(c)
  return ESCAPES[c] or ("\\u%04x"):format(c:byte())
end

--- Returns `text` as a JSON string.
function M.quote(text)
  if text:find '[%c"\\]' then text = text:gsub('[%c"\\]', escape) end
  return '"' .. text .. '"'
end

--- Returns a number or boolean as JSON.
function M.scalar(value)
  if type(value) ~= "number" then return tostring(value) end
  local is_whole = value % 1 == 0 and math.abs(value) < 2 ^ 63 -- what %d holds
  return is_whole and ("%d"):format(value) or ("%.17g"):format(value)
end

return M
