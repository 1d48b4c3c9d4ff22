--- Reads the annotations of Lua files (LuaLS: https://luals.github.io/wiki/annotations) as far as the
-- plugin API uses them: what a file is for, its classes, and what it says about each function.
local M = {}

--- Splits "TYPE rest": a type ends at the first space outside of brackets; `fun(...)` has its results.
-- @return the type and what follows it, without the spaces between
local function split_type(text)
  local depth, at = 0, 1
  while at <= #text do
    local char = text:sub(at, at)
    if char:find "[%(<{%[]" then depth = depth + 1 end
    if char:find "[%)>}%]]" then depth = depth - 1 end
    if depth == 0 and char:find "[%s,]" then break end
    local results = depth == 0 and char == ")" and text:match("^:%s*()", at + 1)
    if results then
      local rest = text:sub(results)
      local tail
      repeat
        tail = select(2, split_type(rest))
        rest = tail:match "^,%s*(.*)$"
      until not rest
      local kept = text:sub(1, #text - #tail):gsub("%s+$", "")
      return kept, tail
    end
    at = at + 1
  end
  return text:sub(1, at - 1), (text:sub(at):gsub("^%s+", ""))
end
M.split_type = split_type

local function own_name(type) return (type:gsub("veloflux%.pdk", "pdk")) end

--- Reads "name? TYPE text".
local function read_param(text)
  local name, optional, rest = text:match "^([%w_.]+)(%??)%s+(.*)$"
  local type, description = split_type(rest)
  return { name = name, is_optional = optional ~= "", type = own_name(type), text = description }
end

--- Reads "TYPE name, TYPE name text": one result or several.
local function read_returns(text)
  local list = {}
  while text do
    local type, rest = split_type(text)
    local name, after = rest:match "^([%a_.][%w_.]*)(.*)$"
    if rest:sub(1, 1) == "," then name, after = nil, rest end
    local next_text = (after or rest):match "^%s*,%s*(.*)$"
    list[#list + 1] = { type = own_name(type), name = name,
      text = next_text and "" or ((after or rest):gsub("^%s+", "")) }
    text = next_text
  end
  return list
end

local function read_field(text)
  if text:find "^%[" then return nil end
  return read_param(text)
end

local READERS = {
  param = function(doc, text) doc.params[#doc.params + 1] = read_param(text) return doc.params[#doc.params] end,
  ["return"] = function(doc, text)
    for _, result in ipairs(read_returns(text)) do doc.returns[#doc.returns + 1] = result end
    return doc.returns[#doc.returns]
  end,
  field = function(doc, text)
    local field = read_field(text)
    doc.fields[#doc.fields + 1] = field
    return field
  end,
  class = function(doc, text) doc.class = own_name(text:match "^[%w_.]+") return nil end,
  overload = function(doc, text) doc.overload = text return nil end,
  async = function(doc) doc.is_async = true return nil end,
  private = function(doc) doc.is_private = true return nil end,
}

local function new_doc() return { lines = {}, params = {}, returns = {}, fields = {} } end

--- Takes one line of a comment in. Returns what a continuation line belongs to.
local function take(doc, line, last)
  local tag, text = line:match "^%-%-%-@(%w+)%s*(.*)$"
  if tag then return READERS[tag] and READERS[tag](doc, text) or nil end
  local plain = line:match "^%-%-%-?%s?(.*)$"
  if last then
    last.text = last.text .. " " .. plain:gsub("^%s+", "")
  else
    doc.lines[#doc.lines + 1] = plain
  end
  return last
end

--- What a line of code names: the owner ("M", "Tcp"), ":" or ".", the name and the arguments.
local function target_of(line)
  local owner, colon, name, arguments = line:match "^function ([%w_]+)([.:])([%w_.]+)%((.-)%)"
  if owner then return owner, colon, name, arguments end
  owner, name = line:match "^([%w_]+)%.([%w_.]+) = "
  return owner, ".", name
end

--- Reads a file.
-- @param text its source
-- @return {lines = what the file is for, classes = {name, variable, fields, lines}, entries = {owner, colon,
--   name, line, lines, params, returns, is_async, is_private, arguments}}, both in the order of the file
function M.read(text)
  local file = { lines = {}, classes = {}, entries = {} }
  local doc, last, number, waiting = nil, nil, 0, nil
  for line in (text .. "\n"):gmatch "(.-)\n" do
    number = number + 1
    if line:find "^%-%-%-" and not doc then doc, last = new_doc(), nil end
    if doc and line:find "^%-%-" then
      last = take(doc, line, last)
    else
      if doc and number > 1 and #file.entries == 0 and not file.is_open then
        file.is_open = true
        if not doc.class then file.lines, doc = doc.lines, nil end
      end
      if doc and doc.class then
        file.classes[#file.classes + 1] = { name = doc.class, fields = doc.fields, lines = doc.lines,
          overload = doc.overload }
        waiting = file.classes[#file.classes]
      end
      local variable = waiting and line:match "^local ([%w_]+) = "
      if variable then waiting.variable, waiting = variable, nil end
      local owner, colon, name, arguments = target_of(line)
      if owner and doc and not doc.class then
        doc.owner, doc.colon, doc.name, doc.arguments, doc.line = owner, colon, name, arguments, number
        file.entries[#file.entries + 1] = doc
      end
      doc, last = nil, nil
    end
  end
  return file
end

--- Returns the class of a file that is called `name`, or nil.
function M.class_named(file, name)
  for _, class in ipairs(file.classes) do
    if class.name == name then return class end
  end
end

return M
