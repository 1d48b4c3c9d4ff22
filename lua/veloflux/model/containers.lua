--- The types of the schema that hold others: record, list, map, shape; and `unavailable`.
-- Each is a function (attributes, compile) -> compiled type, see model/schema.lua.
local ffi = require "ffi"
local document = require "veloflux.model.document"
local expand = require "veloflux.model.expand"
local json = require "veloflux.model.json"
local suggest = require "veloflux.model.suggest"

local put = json.put
local band, ffi_string = require("bit").band, ffi.string
local SCALAR, LIST, MAP, NULL = document.SCALAR, document.LIST, document.MAP, document.NULL

local M = {}

local last_stamp = 0 -- each reading of a record has its own, so `seen` needs no emptying

--- The key under which a record keeps how its secrets were written: field -> text.
M.RAW = {}
local RAW = M.RAW

local function no_text(text)
  return nil, ("expected no text, got %q"):format(text)
end

local function value_from(compiled, default)
  if compiled.from_default then return compiled.from_default(default) end
  if type(default) ~= "string" then return default end
  local value = compiled.parse(default, { dir = "/" })
  return value == nil and default or value
end

-- Lists -------------------------------------------------------------------------------------------

local function count_wanted(attr, noun)
  local low, high = attr.len_min, attr.len_max
  if low and high then return ("%d to %d %s"):format(low, high, noun) end
  if low then return ("at least %d %s"):format(low, noun) end
  return high and ("at most %d %s"):format(high, noun)
end

local function has_wrong_length(attr, count)
  return attr.len_min and count < attr.len_min or attr.len_max and count > attr.len_max
end

local function check_list(where, index, attr, list, count)
  if has_wrong_length(attr, count) then
    return where:fail(index, "expected %s, got %d", count_wanted(attr, "elements"), count)
  end
  if attr.custom_validator then
    local ok, problem = attr.custom_validator(list)
    if not ok then return where:fail(index, "%s", problem) end
  end
  return list
end

--- Notes an element that occurs twice: `seen` has the lines of the earlier ones by their key.
local function note_repeated(where, seen, key, index)
  if key == nil then return end
  if seen[key] == nil then
    seen[key] = where.nodes[index].line
  else
    where:fail(index, "%s is already given, on line %d", key, seen[key])
  end
end

local function itself(value) return value end

function M.list(attr, compile)
  local element = compile(attr.elements)
  local read_element, encode_element = element.read, element.encode
  local key_of = attr.unique_by or (attr.unique or attr.type == "set") and itself
  local function read(where, index)
    local nodes = where.nodes
    local node = nodes[index]
    if node.kind ~= LIST then
      return where:fail(index, "expected %s, got %s", attr.expects or "a list", where:describe(index))
    end
    local list, size, position = {}, 0, 0
    local depth, path = where.depth + 1, where.path
    local seen = key_of and {}
    where.depth = depth
    local at = node.first
    while at ~= 0 do
      path[depth] = position
      local value = read_element(where, at)
      if value ~= nil then
        if seen then
          path[depth] = position -- its own reader went deeper
          note_repeated(where, seen, key_of(value), at)
        end
        size = size + 1
        list[size] = value
      end
      position = position + 1
      at = nodes[at].next
    end
    where.depth = depth - 1
    return check_list(where, index, attr, list, position)
  end
  local function encode(list, out)
    put(out, "[")
    for i = 1, #list do
      if i > 1 then put(out, ",") end
      encode_element(list[i], out)
    end
    put(out, "]")
  end
  local function from_default(default)
    local list = {}
    for i, value in ipairs(default) do list[i] = value_from(element, value) end
    return list
  end
  return { read = read, encode = encode, from_default = from_default, element = element, expected = "a list" }
end

-- Maps --------------------------------------------------------------------------------------------

local function sorted_keys(map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

local function read_pair(where, key_type, value_type, map, at, value_at)
  local key = key_type.read(where, at)
  if key == nil then return end
  where.path[where.depth] = key
  if map[key] ~= nil then
    where:fail(at, "duplicate key")
    return
  end
  local value = value_type.read(where, value_at)
  if value ~= nil then map[key] = value end
end

function M.map(attr, compile)
  local key_type, value_type = compile(attr.keys or { type = "string" }), compile(attr.values)
  local function read(where, index)
    local nodes = where.nodes
    local node = nodes[index]
    if node.kind ~= MAP then
      return where:fail(index, "expected a map, got %s", where:describe(index))
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
      return where:fail(index, "expected %s, got %d", count_wanted(attr, "entries"), node.len)
    end
    if not attr.custom_validator then return map end
    local ok, problem = attr.custom_validator(map)
    if not ok then return where:fail(index, "%s", problem) end
    return map
  end
  local function encode(map, out)
    put(out, "{")
    for i, key in ipairs(sorted_keys(map)) do
      if i > 1 then put(out, ",") end
      put(out, json.quote(expand.escape(key)))
      put(out, ":")
      value_type.encode(map[key], out)
    end
    put(out, "}")
  end
  local function from_default(default)
    local map = {}
    for key, value in pairs(default) do map[key] = value_from(value_type, value) end
    return map
  end
  return { read = read, encode = encode, from_default = from_default, key = key_type, value = value_type,
    expected = "a map" }
end

-- Records -----------------------------------------------------------------------------------------

--- Returns the fields as a list of {name, compiled}, in the order of the definition, or by name when
-- the definition is a plain map.
local function compile_fields(fields, compile)
  local list = {}
  if fields[1] then
    for _, single in ipairs(fields) do
      local name, attr = next(single)
      list[#list + 1] = { name, compile(attr) }
    end
  else
    for _, name in ipairs(sorted_keys(fields)) do list[#list + 1] = { name, compile(fields[name]) } end
  end
  return list
end

local function note_unknown(where, at, name, names)
  local nearest = suggest.nearest(name, names)
  if nearest then
    where:fail(at, "unknown key, did you mean %s?", nearest)
  else
    where:fail(at, "unknown key, expected one of %s", suggest.either(names))
  end
end

local function note_duplicate(where, index, at, name)
  local _, first = document.find(where.document, index, name)
  where:fail(at, "duplicate key, first on line %d", where.nodes[first].line)
end

--- The key under which a record keeps, while it is read, which fields were given but are wrong.
local FAILED = {}

--- Returns the first two of `names` that were given, nil when there are fewer.
local function given(record, names)
  local failed, first = rawget(record, FAILED), nil
  for i = 1, #names do
    local name = names[i]
    if rawget(record, name) ~= nil or failed and failed[name] then
      if first then return first, name end
      first = name
    end
  end
  return first
end

--- Checks of several fields of a record, under the names that Kong's schemas give them.
local CHECKS = {}

function CHECKS.mutually_exclusive(record, names)
  local first, second = given(record, names)
  if not second then return true end
  return nil, ("cannot be given together with %s"):format(first), second
end

function CHECKS.at_least_one_of(record, names)
  if given(record, names) then return true end
  return nil, ("one of %s is required"):format(suggest.either(names))
end

function CHECKS.only_one_of(record, names)
  if not given(record, names) then return CHECKS.at_least_one_of(record, names) end
  return CHECKS.mutually_exclusive(record, names)
end

--- A validator may rely on the fields, so it is not asked about a record with wrong ones.
function CHECKS.custom(record, validate)
  if rawget(record, FAILED) then return true end
  return validate(record)
end

--- Notes a problem of the record at `index`, or of one of its fields.
local function note_at_field(where, index, message, field)
  local value_at = field and document.find(where.document, index, field)
  if not field then return where:fail(index, "%s", message) end
  where.depth = where.depth + 1
  where.path[where.depth] = field
  where:fail(value_at or index, "%s", message)
  where.depth = where.depth - 1
end

local function mark_failed(record, name)
  local failed = rawget(record, FAILED) or {}
  failed[name], record[FAILED] = true, failed
end

local function compile_checks(attr)
  local checks = {}
  for _, single in ipairs(attr.entity_checks or {}) do
    local name, argument = next(single)
    checks[#checks + 1] = { assert(CHECKS[name], name), argument }
  end
  if attr.custom_validator then checks[#checks + 1] = { CHECKS.custom, attr.custom_validator } end
  return checks
end

local function run_checks(where, index, record, checks)
  for i = 1, #checks do
    local ok, message, field = checks[i][1](record, checks[i][2])
    if not ok then note_at_field(where, index, message, field) end
  end
end

local function encode_record(record, out, fields)
  put(out, "{")
  local raw, is_first = rawget(record, RAW), true
  for i = 1, #fields do
    local name, field = fields[i][1], fields[i][2]
    local value = rawget(record, name)
    if value ~= nil and value ~= field.default then
      put(out, is_first and fields[i][3] or fields[i][4])
      is_first = false
      field.encode(value, out, raw and raw[name])
    end
  end
  put(out, "}")
end

local function encoder_of(list)
  local fields = {}
  for i, pair in ipairs(list) do
    local key = json.quote(pair[1]) .. ":"
    fields[i] = { pair[1], pair[2], key, "," .. key }
  end
  table.sort(fields, function(a, b) return a[1] < b[1] end)
  return function(record, out) encode_record(record, out, fields) end
end

function M.record(attr, compile)
  local list = compile_fields(attr.fields, compile)
  local by_name, names, required, defaults = {}, {}, {}, {}
  for _, pair in ipairs(list) do
    local name, field = pair[1], pair[2]
    by_name[name], defaults[name] = field, field.default
    if field.attr.type ~= "unavailable" then names[#names + 1] = name end
    if field.attr.required then required[#required + 1] = name end
  end
  local metatable = { __index = defaults, names = names }
  local checks, seen = compile_checks(attr), {}
  local is_located = attr.located

  local function read_field(where, index, at, value_at, record, name, stamp)
    local field = by_name[name]
    if not field then return note_unknown(where, at, name, names) end
    if seen[name] == stamp then return note_duplicate(where, index, at, name) end
    seen[name] = stamp
    if band(where.nodes[value_at].flags, NULL) ~= 0 then return end
    local value, raw = field.read(where, value_at)
    record[name] = value
    if value == nil and field.attr.type ~= "unavailable" then mark_failed(record, name) end
    if raw then
      local kept = rawget(record, RAW) or {}
      kept[name], record[RAW] = raw, kept
    end
  end

  local function note_missing(where, index, stamp, record)
    for i = 1, #required do
      local name = required[i]
      if seen[name] ~= stamp or rawget(record, name) == nil and
        where:is_null(document.find(where.document, index, name)) then
        note_at_field(where, index, ("required: %s"):format(by_name[name].expected or "a value"), name)
      end
    end
  end

  local function read(where, index)
    local nodes, texts = where.nodes, where.texts
    local node = nodes[index]
    if node.kind ~= MAP then
      return where:fail(index, "expected %s, got %s", attr.expects or "a map", where:describe(index))
    end
    local record = setmetatable({}, metatable)
    if is_located then record._file, record._line, record._node = where.file, node.line, index end
    local depth, path = where.depth + 1, where.path
    last_stamp = last_stamp + 1
    local stamp = last_stamp
    where.depth = depth
    local at = node.first
    while at ~= 0 do
      local key = nodes[at]
      local value_at = key.next
      local name = ffi_string(texts + key.text, key.len)
      path[depth] = name
      read_field(where, index, at, value_at, record, name, stamp)
      at = nodes[value_at].next
    end
    where.depth = depth - 1
    if #required > 0 then note_missing(where, index, stamp, record) end
    if #checks > 0 then run_checks(where, index, record, checks) end
    return record
  end

  local empty = setmetatable({}, metatable)
  local function from_default(default)
    if next(default) == nil then return empty end
    local record = setmetatable({}, metatable)
    for name, value in pairs(default) do record[name] = value_from(by_name[name], value) end
    return record
  end
  return { read = read, encode = encoder_of(list), from_default = from_default, fields = list, by_name = by_name,
    expected = attr.expects or "a map" }
end

-- Shapes and what is not built ----------------------------------------------------------------------

local FORMS = { [SCALAR] = "scalar", [LIST] = "list", [MAP] = "map" }

--- Which form a value has; a form is known by what its own reader makes.
local function form_of(value)
  if type(value) ~= "table" then return "scalar" end
  return getmetatable(value) == nil and value[1] ~= nil and "list" or "map"
end

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
    return where:fail(index, "expected %s, got %s", expected, where:describe(index))
  end
  local function encode(value, out)
    forms[form_of(value)].encode(value, out)
  end
  local function from_default(default)
    local form = forms[form_of(default)]
    return value_from(form, default)
  end
  return { read = read, encode = encode, from_default = from_default, parse = no_text, forms = forms,
    expected = expected }
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
  return { read = read, encode = function() end, parse = no_text, expected = "nothing" }
end

return M
