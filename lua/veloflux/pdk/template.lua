--- Small texts with places to fill in: "Bearer {{ token.value | default "none" }}".
--
--   {{ a.b.2 }}            the member "b" of `a`, and its second element; names have letters, digits, _ and -
--   {{ "text" }}           itself; \" \\ \n and \t are escapes in it
--   {{ a | lower | json }} filters, from left to right: json, urlencode, base64, base64url, lower, upper,
--                          default "text" (for what is unknown, null or empty)
--   \{{                    two braces; \\{{ a backslash in front of a place
--
-- A template looks values up and nothing else: no code, no calls, no loops. What is unknown is empty, or with
-- `strict` an error. Tables need the filter json. Nothing is escaped for where the text goes: that is what
-- json and urlencode are for.
local buffer = require "string.buffer"
local encoding = require "veloflux.pdk.encoding"
local json = require "veloflux.pdk.json"
local recent = require "veloflux.recent"

---@class pdk.template
local M = {}

local MOST_BYTES = 64 * 1024 -- of a template
local KEPT = 256 -- templates of each kind: see veloflux.recent
local ESCAPES = { n = "\n", t = "\t", ['"'] = '"', ["\\"] = "\\" }

-- --- Filters: what they do to a text ------------------------------------------------------------------------------

local TEXT_FILTERS = {
  urlencode = encoding.url_encode,
  base64 = encoding.base64_encode,
  base64url = encoding.base64url_encode,
  lower = string.lower,
  upper = string.upper,
}

local function text_of(value)
  local kind = type(value)
  if kind == "string" then return value end
  if value == nil or value == json.null then return "" end
  if kind == "number" then return json.encode(value) or tostring(value) end
  if kind == "boolean" then return value and "true" or "false" end
  if kind == "cdata" then return json.encode(value) end
  return nil
end

-- --- Reading ------------------------------------------------------------------------------------------------------

-- A reader is {text, at}. Its functions return nil and a message when they find something else.
local function fail(reader, what)
  return nil, ("bad template: %s at byte %d"):format(what, reader.at)
end

local function skip(reader, pattern)
  local _, last, found = reader.text:find(pattern, reader.at)
  if last then reader.at = last + 1 end
  return found
end

local function read_string(reader)
  local pieces = {}
  reader.at = reader.at + 1
  while true do
    pieces[#pieces + 1] = skip(reader, '^([^"\\]*)')
    if skip(reader, '^(")') then return table.concat(pieces) end
    local escape = ESCAPES[reader.text:match("^\\(.)", reader.at)]
    if not escape then
      return fail(reader, reader.at > #reader.text and "a text without its end" or "an unknown escape")
    end
    pieces[#pieces + 1] = escape
    reader.at = reader.at + 2
  end
end

local function read_path(reader)
  local path = { numbers = {} }
  repeat
    local name = skip(reader, "^([%w_-]+)")
    if not name then return fail(reader, "expected a name") end
    path[#path + 1] = name
    path.numbers[#path] = name:find "^%d+$" and tonumber(name) or false
  until not skip(reader, "^(%.)")
  return path
end

local function read_filter(reader, place)
  skip(reader, "^%s*")
  local at = reader.at
  local name = skip(reader, "^([%w_]+)")
  if not name then return fail(reader, "expected a filter") end
  local filter = { name = name, act = TEXT_FILTERS[name] }
  if name == "default" then
    skip(reader, "^%s*")
    if reader.text:sub(reader.at, reader.at) ~= '"' then return fail(reader, 'expected a text in "') end
    local text, err = read_string(reader)
    if not text then return nil, err end
    filter.text, place.has_default = text, true
  elseif name ~= "json" and not filter.act then
    reader.at = at
    return fail(reader, "no filter is called " .. name)
  end
  place.filters[#place.filters + 1] = filter
  return true
end

-- Reads what stands between the braces, and the closing ones.
local function read_place(reader)
  local place = { at = reader.at, filters = {} }
  local err
  reader.at = reader.at + 2
  skip(reader, "^%s*")
  if reader.text:sub(reader.at, reader.at) == '"' then
    place.text, err = read_string(reader)
  else
    place.path, err = read_path(reader)
  end
  while not err do
    skip(reader, "^%s*")
    if skip(reader, "^(}})") then return place end
    if not skip(reader, "^(|)") then return fail(reader, "expected | or }}") end
    local _
    _, err = read_filter(reader, place)
  end
  return nil, err
end

-- Returns a list of texts and places.
local function read(text)
  local reader, steps = { text = text, at = 1 }, {}
  while true do
    local before, slashes = text:match("^(.-)(\\*){{", reader.at)
    if not before then break end
    local is_literal = #slashes % 2 == 1
    steps[#steps + 1] = before .. ("\\"):rep(math.floor(#slashes / 2)) .. (is_literal and "{{" or "")
    reader.at = reader.at + #before + #slashes
    if is_literal then
      reader.at = reader.at + 2
    else
      local place, err = read_place(reader)
      if not place then return nil, err end
      steps[#steps + 1] = place
    end
  end
  steps[#steps + 1] = text:sub(reader.at)
  return steps
end

-- --- Rendering ----------------------------------------------------------------------------------------------------

local function look_up(vars, path)
  local value = vars
  for i = 1, #path do
    if type(value) ~= "table" then return nil end
    local member, number = value[path[i]], path.numbers[i]
    if member == nil and number then member = value[number] end
    value = member
  end
  return value
end

local function apply(value, filter)
  if filter.name == "json" then return json.encode(value == nil and json.null or value) end
  if filter.name == "default" then
    if value == nil or value == json.null or value == "" then return filter.text end
    return value
  end
  local text = text_of(value)
  if not text then return nil, "a table needs the filter json" end
  return filter.act(text)
end

local function problem_of(place, err)
  return ("cannot fill in the place at byte %d: %s"):format(place.at, err)
end

-- Returns the text of a place, or nil and a message.
local function fill(place, vars, is_strict)
  local value = place.text
  if not value then
    value = look_up(vars, place.path)
    if value == nil and is_strict and not place.has_default then
      return nil, problem_of(place, "unknown: " .. table.concat(place.path, "."))
    end
  end
  local filters = place.filters
  for i = 1, #filters do
    local result, err = apply(value, filters[i])
    if err then return nil, problem_of(place, err) end
    value = result
  end
  local text = text_of(value)
  if not text then return nil, problem_of(place, "a " .. type(value) .. " needs the filter json") end
  return text
end

local function renderer(steps, is_strict)
  local out = buffer.new()
  return function(vars)
    if type(vars) ~= "table" then error("expected a table of variables, got " .. type(vars), 2) end
    out:reset()
    for i = 1, #steps do
      local step = steps[i]
      if type(step) == "string" then
        out:put(step)
      else
        local text, err = fill(step, vars, is_strict)
        if not text then return nil, err end
        out:put(text)
      end
    end
    return out:tostring()
  end
end

local strict_ones, others = recent.new(KEPT), recent.new(KEPT)

--- Compiles a template; the ones used last are kept.
---@param text string at most 64 KiB
---@param options? { strict?: boolean } strict: what is unknown and has no default is an error
---@return (fun(vars: table): string?, string?)? render nil when the template is wrong; it returns the text, or nil and
--- what could not be filled in
---@return string? err with the byte, counted from 1
function M.compile(text, options)
  if type(text) ~= "string" then error("expected a string, got " .. type(text), 2) end
  local is_strict = options ~= nil and options.strict == true
  local kept = is_strict and strict_ones or others
  local render = kept:get(text)
  if render then return render end
  if #text > MOST_BYTES then return nil, "bad template: longer than 64 KiB" end
  local steps, err = read(text)
  if not steps then return nil, err end
  render = renderer(steps, is_strict)
  kept:put(text, render)
  return render
end

--- Compiles a template, when it is not yet, and fills it in.
---@param text string
---@param vars table
---@param options? { strict?: boolean }
---@return string? text
---@return string? err
function M.render(text, vars, options)
  if type(text) ~= "string" then error("expected a string, got " .. type(text), 2) end
  if type(vars) ~= "table" then error("expected a table of variables, got " .. type(vars), 2) end
  local render, err = M.compile(text, options)
  if not render then return nil, err end
  return render(vars)
end

return M
