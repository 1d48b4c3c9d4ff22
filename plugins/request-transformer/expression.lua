--- Texts with places to fill in: "user-$(headers.x-id or 'unknown')".
--
-- A place is `$(` alternatives joined by `or` `)`; the first one that is there counts. An alternative is a
-- text in quotes, a number, or a member of what the request has: headers.NAME, query_params.NAME,
-- uri_captures.NAME or uri_captures[1], shared.NAME.NAME; ["NAME"] stands for names with other characters.
-- Values are looked up, nothing is run.
local M = {}

local ROOTS = { headers = 1, query_params = 1, uri_captures = 1, shared = 8 } -- and how deep each may go
local MOST_BYTES, MOST_PLACES = 16 * 1024, 100

-- Reading -----------------------------------------------------------------------------------------------

-- A reader is {text, at}; its functions return nil and a message when they find something else.
local function skip(reader, pattern)
  local _, last, found = reader.text:find(pattern, reader.at)
  if last then reader.at = last + 1 end
  return found
end

local function read_quoted(reader)
  local quote = skip(reader, "^(['\"])")
  if not quote then return nil end
  local stop = reader.text:find(quote, reader.at, true)
  if not stop then return nil, "a text without its end" end
  local text = reader.text:sub(reader.at, stop - 1)
  reader.at = stop + 1
  return text
end

--- Reads .name, ["name"] or [1]. Returns it; nil when there is none; nil and a message when it is wrong.
local function read_step(reader)
  if skip(reader, "^(%.)") then
    local name = skip(reader, "^([%w_-]+)")
    if not name then return nil, "expected a name behind the dot" end
    return name
  elseif not skip(reader, "^(%[)%s*") then
    return nil
  end
  local step, problem = read_quoted(reader)
  if problem then return nil, problem end
  step = step or tonumber(skip(reader, "^(%d+)") or nil)
  if not step or not skip(reader, "^%s*(%])") then return nil, 'expected ["NAME"] or [1]' end
  return step
end

local function read_member(reader, root)
  local most = ROOTS[root]
  if not most then
    return nil, ("%s is not known, expected headers, query_params, uri_captures or shared"):format(root)
  end
  local path = {}
  while true do
    local step, problem = read_step(reader)
    if problem then return nil, problem end
    if not step then break end
    path[#path + 1] = step
  end
  if #path == 0 then return nil, ("expected %s.NAME"):format(root) end
  if #path > most then return nil, ("%s has no members that deep"):format(root) end
  return { root = root, path = path }
end

local function read_alternative(reader)
  local text, problem = read_quoted(reader)
  if text or problem then return text and { text = text }, problem end
  local number = skip(reader, "^(%-?%d+%.?%d*)")
  if number then return { text = number } end
  local root = skip(reader, "^([%a_][%w_]*)")
  if not root then return nil, "expected headers.NAME, query_params.NAME, uri_captures.NAME, shared.NAME or a text" end
  return read_member(reader, root)
end

--- Reads what stands behind `$(`, and the closing parenthesis.
local function read_place(reader)
  local alternatives = {}
  repeat
    skip(reader, "^(%s+)")
    local alternative, problem = read_alternative(reader)
    if not alternative then return nil, problem end
    alternatives[#alternatives + 1] = alternative
    skip(reader, "^(%s+)")
  until not skip(reader, "^(or)%f[%W]")
  if skip(reader, "^(%))") then return alternatives end
  return nil, "expected `or` or a closing parenthesis: places look values up, they run no Lua"
end

-- Compiling ---------------------------------------------------------------------------------------------

--- Compiles a text.
-- @return a list of texts and places (lists of alternatives); a single text when there is nothing to fill
-- in; or nil and a message
function M.compile(text)
  if #text > MOST_BYTES then return nil, "is longer than 16 KiB" end
  local reader, parts, places = { text = text, at = 1 }, {}, 0
  while true do
    local start = text:find("$(", reader.at, true)
    if not start then break end
    if start > reader.at then parts[#parts + 1] = text:sub(reader.at, start - 1) end
    reader.at, places = start + 2, places + 1
    if places > MOST_PLACES then return nil, "has more than 100 places to fill in" end
    local place, problem = read_place(reader)
    if not place then return nil, ("%s, at byte %d"):format(problem, reader.at) end
    parts[#parts + 1] = place
  end
  if places == 0 then return text end
  if reader.at <= #text then parts[#parts + 1] = text:sub(reader.at) end
  return parts
end

-- Filling in --------------------------------------------------------------------------------------------

local function text_of(value)
  local kind = type(value)
  if kind == "string" then return value end
  if kind == "number" or kind == "boolean" then return tostring(value) end
  return nil
end

local function value_of(alternative, sources)
  if alternative.text then return alternative.text end
  return text_of(sources[alternative.root](alternative.path))
end

--- Fills the places of a compiled text in.
-- @param parts of compile, not a single text
-- @param sources root -> function(path) that returns a value or nil
-- @param encode function(value, root) -> text: what becomes of a value; not applied to texts of the
--   configuration itself; or nil
-- @return the text; what is not there is empty
function M.render(parts, sources, encode)
  local out = {}
  for i = 1, #parts do
    local part = parts[i]
    if type(part) == "string" then
      out[i] = part
    else
      local value, root = nil, nil
      for k = 1, #part do
        value, root = value_of(part[k], sources), part[k].root
        if value then break end
      end
      out[i] = value and (root and encode and encode(value, root) or value) or ""
    end
  end
  return table.concat(out)
end

return M
