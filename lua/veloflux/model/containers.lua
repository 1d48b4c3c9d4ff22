--- The types of the schema that hold others: record, list, map, shape, variant; and `unavailable`.
-- Each is a function (attributes, compile) -> compiled type, see model/schema.lua.
local document = require "veloflux.model.document"
local expand = require "veloflux.model.expand"
local json = require "veloflux.model.json"
local suggest = require "veloflux.model.suggest"
local rules = require "veloflux.model.rules"
local slices = require "veloflux.slices"
local record = require "veloflux.model.record"
local sorted = require "veloflux.sorted"

local put, value_from, note_at_field = json.put, record.value_from, record.note_at_field
local SCALAR, LIST, MAP = document.SCALAR, document.LIST, document.MAP

local M = {}

M.record = record.record

local function no_text(text)
  return nil, ("expected no text, got %q"):format(text)
end

local MANY = 100 -- elements of a list that is written in slices
local ENTITIES = 2 -- how deep the lists are that may be long: right below the root

-- How elements were written that may stand elsewhere (schema.lua: read_reference): list or map -> index or key -> text.
local raws = setmetatable({}, { __mode = "k" })

--- Returns these texts of a list or map, by index or key; nil: it has none.
function M.raws_of(value) return raws[value] end

local function keep_raw(value, key, raw)
  local of = raws[value] or {}
  raws[value], of[key] = of, raw
end

-- Lists -------------------------------------------------------------------------------------------

-- @param one, more the words for one and for several
local function count_wanted(attr, one, more)
  local low, high = attr.len_min, attr.len_max
  if low and high then return ("%d to %d %s"):format(low, high, more) end
  if low then return ("at least %d %s"):format(low, low == 1 and one or more) end
  return high and ("at most %d %s"):format(high, high == 1 and one or more)
end

local function has_wrong_length(attr, count)
  return attr.len_min and count < attr.len_min or attr.len_max and count > attr.len_max
end

local function wrong_length(attr, count)
  return attr.len_min and count < attr.len_min and "len_min" or "len_max"
end

--- Asks the rules and the validator of a list or map about it.
local function check_whole(where, index, attr, extra, value)
  local ok, problem, rule = true, nil, nil
  if extra then ok, problem, rule = extra(value) end
  if ok and attr.custom_validator then
    rule = "custom_validator"
    ok, problem = attr.custom_validator(value)
  end
  if ok then return value end
  return where:break_rule(rule, index, "%s", problem or "is not allowed")
end

local function check_list(where, index, attr, extra, list, count)
  if has_wrong_length(attr, count) then
    return where:break_rule(wrong_length(attr, count), index, "expected %s, got %d",
      count_wanted(attr, "element", "elements"), count)
  end
  return check_whole(where, index, attr, extra, list)
end

--- Notes an element that occurs twice: `seen` has the lines of the earlier ones by their key.
local function note_repeated(where, seen, key, index)
  if key == nil then return end
  if seen[key] == nil then
    seen[key] = where.nodes[index].line
  else
    where:break_rule("unique", index, "%s is already given, on line %d", key, seen[key])
  end
end

local function itself(value) return value end

function M.list(attr, compile)
  local element = compile(attr.elements)
  local read_element, encode_element, extra = element.read, element.encode, rules.extra(attr)
  local key_of = attr.unique_by or (attr.unique or attr.type == "set") and itself
  local function read(where, index)
    local nodes = where.nodes
    local node = nodes[index]
    if node.kind ~= LIST then
      return where:break_rule("type", index, "expected %s, got %s", attr.expects or "a list", where:describe(index))
    end
    local list, size, position = {}, 0, 0
    local depth, path = where.depth + 1, where.path
    local seen = key_of and {}
    where.depth = depth
    local at = node.first
    while at ~= 0 do
      if depth == ENTITIES then slices.pause() end
      path[depth] = position
      local value, raw = read_element(where, at)
      if value ~= nil then
        if seen then
          path[depth] = position -- its own reader went deeper
          note_repeated(where, seen, key_of(value), at)
        end
        size = size + 1
        list[size] = value
        if raw then keep_raw(list, size, raw) end
      end
      position = position + 1
      at = nodes[at].next
    end
    where.depth = depth - 1
    return check_list(where, index, attr, extra, list, position)
  end
  local function put_list(list, out, put_element, raw)
    put(out, "[")
    local is_long, first = #list > MANY, out.n
    for i = 1, #list do
      if is_long then slices.pause() end
      if is_long and i % MANY == 0 then
        json.collapse(out, first)
        first = out.n + 1
        put(out, "")
      end
      if i > 1 then put(out, ",") end
      put_element(list[i], out, raw and raw[i])
    end
    put(out, "]")
  end
  local function encode(list, out) put_list(list, out, encode_element, not out.is_plain and raws[list]) end
  local function write(list, out) put_list(list, out, element.write, out.is_shown and raws[list]) end
  local function from_default(default)
    local list = {}
    for i, value in ipairs(default) do list[i] = value_from(element, value) end
    return list
  end
  return { read = read, encode = encode, write = write, from_default = from_default, element = element,
    expected = "a list" }
end

-- Maps --------------------------------------------------------------------------------------------

local function read_pair(where, key_type, value_type, map, at, value_at)
  local key = key_type.read(where, at)
  if key == nil then return end
  where.path[where.depth] = key
  if map[key] ~= nil then
    where:break_rule("unique", at, "duplicate key")
    return
  end
  local value, raw = value_type.read(where, value_at)
  if value ~= nil then map[key] = value end
  if raw then keep_raw(map, key, raw) end
end

function M.map(attr, compile)
  local key_type, value_type = compile(attr.keys or { type = "string" }), compile(attr.values)
  local function read(where, index)
    local nodes = where.nodes
    local node = nodes[index]
    if node.kind ~= MAP then
      return where:break_rule("type", index, "expected a map, got %s", where:describe(index))
    end
    local map = {}
    local depth = where.depth + 1
    where.depth = depth
    local at = node.first
    while at ~= 0 do
      local value_at = nodes[at].next
      where.path[depth] = document.text(where.document, at)
      read_pair(where, key_type, value_type, map, at, value_at)
      at = nodes[value_at].next
    end
    where.depth = depth - 1
    if has_wrong_length(attr, node.len) then
      return where:break_rule(wrong_length(attr, node.len), index, "expected %s, got %d",
        count_wanted(attr, "entry", "entries"), node.len)
    end
    return check_whole(where, index, attr, nil, map)
  end
  local function put_map(map, out, escape, put_value, raw)
    put(out, "{")
    for i, key in ipairs(sorted.names(map)) do
      if i > 1 then put(out, ",") end
      put(out, json.quote(escape(tostring(key))))
      put(out, ":")
      put_value(map[key], out, raw and raw[key])
    end
    put(out, "}")
  end
  local function encode(map, out)
    put_map(map, out, expand.escape, value_type.encode, not out.is_plain and raws[map])
  end
  local function write(map, out) put_map(map, out, itself, value_type.write, out.is_shown and raws[map]) end
  local function from_default(default)
    local map = {}
    for key, value in pairs(default) do map[key] = value_from(value_type, value) end
    return map
  end
  return { read = read, encode = encode, write = write, from_default = from_default, key = key_type,
    value = value_type,
    expected = "a map" }
end

-- Shapes and what is not built ----------------------------------------------------------------------

local FORMS = { [SCALAR] = "scalar", [LIST] = "list", [MAP] = "map" }

--- Which form a value has; a form is known by what its own reader makes.
local function form_of(value)
  if type(value) ~= "table" then return "scalar" end
  return getmetatable(value) == nil and value[1] ~= nil and "list" or "map"
end
M.form_of = form_of

function M.shape(attr, compile)
  local forms, expected = {}, {}
  for _, form in ipairs { "scalar", "list", "map" } do
    if attr[form] then
      forms[form] = compile(attr[form])
      expected[#expected + 1] = attr[form].expects or forms[form].expected
    end
  end
  expected = attr.expects or suggest.either(expected)
  local function read(where, index)
    local form = forms[FORMS[where.nodes[index].kind]]
    if form then return form.read(where, index) end
    return where:break_rule("type", index, "expected %s, got %s", expected, where:describe(index))
  end
  local function encode(value, out, raw)
    forms[form_of(value)].encode(value, out, raw)
  end
  local function write(value, out, raw)
    forms[form_of(value)].write(value, out, raw)
  end
  local function from_default(default)
    local form = forms[form_of(default)]
    return value_from(form, default)
  end
  return { read = read, encode = encode, write = write, from_default = from_default, parse = no_text, forms = forms,
    expected = expected }
end

--- Records of several definitions, told apart by the field `tag`: attr.choose(reader, its text) returns
-- the compiled record; or nil, a message and a compiled record, by which the rest is read all the same.
-- attr.general is the definition of what they have in common, for the docs. attr.note(problem, text), if
-- there is one, is called for each problem found.
function M.variant(attr, compile)
  local general = compile(attr.general)
  local tag, choose = attr.tag, attr.choose
  local function read(where, index)
    if where.nodes[index].kind ~= MAP then
      return where:break_rule("type", index, "expected %s, got %s", attr.expects or "a map", where:describe(index))
    end
    local at = document.find(where.document, index, tag)
    local text = at and not where:is_null(at) and where.nodes[at].kind == SCALAR and where:text(at, "a text")
    if not text then
      general.read(where, index) -- says what is wrong
      return nil
    end
    local chosen, problem, fallback = choose(where, text)
    local found, value = #where.problems, nil
    if chosen then
      value = chosen.read(where, index)
    else
      note_at_field(where, index, "one_of", problem, tag)
      if fallback then fallback.read(where, index) end
    end
    for i = found + 1, attr.note and #where.problems or 0 do attr.note(where.problems[i], text) end
    return value
  end
  local function encode(value, out) getmetatable(value).compiled.encode(value, out) end
  local function write(value, out) getmetatable(value).compiled.write(value, out) end
  return { read = read, encode = encode, write = write, general = general, expected = attr.expects or "a map" }
end

--- A key that cannot be used: its feature is not built yet, or `message` says why. It may only say
-- that nothing is wanted.
function M.unavailable(attr)
  local function is_empty(where, index)
    local node = where.nodes[index]
    if node.kind ~= SCALAR then return node.len == 0 end
    local text = document.text(where.document, index)
    return text == "" or text == "false" or text == "off" or where:is_null(index)
  end
  local function read(where, index)
    if is_empty(where, index) then return nil end
    return where:fail(index, "%s", attr.message or "not available in this version: " .. where.path[where.depth])
  end
  return { read = read, encode = function() end, write = function() end, parse = no_text, expected = "nothing" }
end

--- Whatever stands there is nobody's business: it is not read.
function M.opaque(attr)
  return { read = function() end, encode = function() end, write = function() end, parse = no_text,
    expected = attr.expects or "anything" }
end

return M
