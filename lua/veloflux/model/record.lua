--- Records: maps with fields of their own types, checks between them, and defaults behind.
-- A compiled type as model/schema.lua describes it, and {fields, by_name}.
local ffi = require "ffi"
local document = require "veloflux.model.document"
local entity_checks = require "veloflux.model.entity_checks"
local json = require "veloflux.model.json"
local suggest = require "veloflux.model.suggest"

local put = json.put
local band, ffi_string = require("bit").band, ffi.string
local MAP, NULL = document.MAP, document.NULL
local FAILED = entity_checks.FAILED

local M = {}

local last_stamp = 0 -- each reading of a record has its own, so `seen` needs no emptying

--- The key under which a record keeps how its secrets were written: field -> text.
M.RAW = {}
local RAW = M.RAW

--- Returns the value that a default, given as the conf file would say it, stands for.
function M.value_from(compiled, default)
  if compiled.from_default then return compiled.from_default(default) end
  if type(default) ~= "string" then return default end
  local value = compiled.parse(default, { dir = "/" })
  return value == nil and default or value
end
local value_from = M.value_from

--- The names of a map of fields by their `order`, those without one behind, and name.
local function ordered_names(fields)
  local names, place = {}, {}
  for name, field in pairs(fields) do
    names[#names + 1], place[name] = name, field.order or math.huge
  end
  table.sort(names, function(a, b)
    if place[a] ~= place[b] then return place[a] < place[b] end
    return a < b
  end)
  return names
end

--- Returns the fields as a list of {name, compiled}, in the order of the definition, or as ordered_names
-- says when the definition is a plain map.
local function compile_fields(fields, compile)
  local list = {}
  if fields[1] then
    for _, single in ipairs(fields) do
      local name, attr = next(single)
      list[#list + 1] = { name, compile(attr) }
    end
  else
    for _, name in ipairs(ordered_names(fields)) do list[#list + 1] = { name, compile(fields[name]) } end
  end
  return list
end

local function note_unknown(where, at, name, names)
  local nearest = suggest.nearest(name, names)
  if nearest then
    where:break_rule("unknown", at, "unknown key, did you mean %s?", nearest)
  else
    where:break_rule("unknown", at, "unknown key, expected one of %s", suggest.either(names))
  end
end

local function note_duplicate(where, index, at, name)
  local _, first = document.find(where.document, index, name)
  where:break_rule("unique", at, "duplicate key, first on line %d", where.nodes[first].line)
end

--- Returns the node of a field of a map, or of an element (from 0) of a list.
local function child(where, index, step)
  local node = where.nodes[index]
  if node.kind ~= document.LIST then return document.find(where.document, index, step) end
  local at = node.first
  for _ = 1, tonumber(step) or 0 do at = at ~= 0 and where.nodes[at].next or 0 end
  return at ~= 0 and at or nil
end

--- Notes that the record at `index`, or the field of it at a path such as "redis.host", breaks a rule.
function M.note_at_field(where, index, rule, message, field)
  if type(field) ~= "string" then return where:break_rule(rule, index, "%s", message) end
  local at, depth = index, where.depth
  for step in field:gmatch "[^.]+" do
    at = at and child(where, at, step)
    index = at or index
    step = tonumber(step) or step
    where.depth = where.depth + 1
    where.path[where.depth] = step
  end
  where:break_rule(rule, index, "%s", message)
  where.depth = depth
end
local note_at_field = M.note_at_field

local function mark_failed(record, name)
  local failed = rawget(record, FAILED) or {}
  failed[name], record[FAILED] = true, failed
end

local function run_checks(where, index, record, checks)
  for i = 1, #checks do
    local ok, message, field = checks[i][2](record)
    if not ok then note_at_field(where, index, checks[i][1], message or "is not allowed", field) end
  end
end

local function encode_record(record, out, fields)
  put(out, "{")
  local raw, is_first = not out.is_plain and rawget(record, RAW), true
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

local function write_record(record, out, fields)
  put(out, "{")
  local raw, is_first = out.is_shown and rawget(record, RAW), true
  for i = 1, #fields do
    local name = fields[i][1]
    local value = record[name]
    if value ~= nil then
      put(out, is_first and fields[i][3] or fields[i][4])
      is_first = false
      fields[i][2].write(value, out, raw and raw[name])
    end
  end
  put(out, "}")
end

--- Returns the functions `encode` and `write` of a record.
local function encoders_of(list)
  local fields = {}
  for i, pair in ipairs(list) do
    local key = json.quote(pair[1]) .. ":"
    fields[i] = { pair[1], pair[2], key, "," .. key }
  end
  table.sort(fields, function(a, b) return a[1] < b[1] end)
  return function(record, out) encode_record(record, out, fields) end,
    function(record, out) write_record(record, out, fields) end
end

--- Shorthands: fields in which something may be written that other fields mean, {name = {type, func,
-- ...}}: func(value) returns a map of those fields, as the conf file would say them.
local function compile_shorthands(attr, compile)
  local by_name = {}
  for _, single in ipairs(attr.shorthand_fields or {}) do
    local name, definition = next(single)
    by_name[name] = { compiled = compile(definition), expand = definition.func, attr = definition }
  end
  return by_name
end

--- Puts a value in that a shorthand means, and what is missing within a record: it replaces nothing that is said.
local function fill(record, name, field, value)
  local said = rawget(record, name)
  if said == nil then
    record[name] = value_from(field, value)
  elseif type(said) == "table" and field.by_name then
    for inner, meant in pairs(value) do
      if field.by_name[inner] then fill(said, inner, field.by_name[inner], meant) end
    end
  end
end

local function put_meant(record, by_name, list)
  for _, meant in ipairs(list) do
    for name, value in pairs(meant) do
      if by_name[name] and not (type(value) == "table" and next(value) == nil) then
        fill(record, name, by_name[name], value)
      end
    end
  end
end

local function deprecation_of(attr)
  if attr.deprecated then
    return "is deprecated" .. (type(attr.deprecated) == "string" and ": " .. attr.deprecated or "")
  end
end

--- Makes the type; see model/schema.lua.
function M.record(attr, compile)
  local list = compile_fields(attr.fields, compile)
  local by_name, names, required, defaults = {}, {}, {}, {}
  for _, pair in ipairs(list) do
    local name, field = pair[1], pair[2]
    by_name[name], defaults[name] = field, field.default
    if field.attr.type ~= "unavailable" then names[#names + 1] = name end
    if field.attr.required then required[#required + 1] = name end
  end
  local encode, write = encoders_of(list)
  local compiled = { encode = encode, write = write, fields = list, by_name = by_name,
    expected = attr.expects or "a map" }
  local metatable = { __index = defaults, names = names, compiled = compiled }
  local shorthands = compile_shorthands(attr, compile)
  local has_shorthands = next(shorthands) ~= nil
  compiled.shorthands = {}
  for name, shorthand in pairs(shorthands) do compiled.shorthands[name] = shorthand.compiled end
  local checks, seen = entity_checks.compile(attr), {}
  local is_located = attr.located

  --- Returns whether a field is there for the first time, and said.
  local function is_said(where, index, at, value_at, name, stamp, noted)
    if noted[name] == stamp then return note_duplicate(where, index, at, name) end
    noted[name] = stamp
    return band(where.nodes[value_at].flags, NULL) == 0
  end

  --- Reads a shorthand.
  -- @return what shorthands mean so far: `meant`, and what this one does
  local function read_shorthand(where, value_at, shorthand, meant)
    local value = shorthand.compiled.read(where, value_at)
    if value == nil then return meant end
    local warning = deprecation_of(shorthand.attr)
    if warning then where:warn(value_at, "%s", warning) end
    meant = meant or {}
    meant[#meant + 1] = shorthand.expand(value)
    return meant
  end

  local function read_field(where, index, at, value_at, record, name, stamp, noted)
    local field = by_name[name]
    if not field then return note_unknown(where, at, name, names) end
    if not is_said(where, index, at, value_at, name, stamp, noted) then return end
    if field.attr.deprecated then where:warn(at, "%s", deprecation_of(field.attr)) end
    local value, raw = field.read(where, value_at)
    record[name] = value
    local type_name = field.attr.type
    if value == nil and type_name ~= "unavailable" and type_name ~= "opaque" then mark_failed(record, name) end
    if raw then
      local kept = rawget(record, RAW) or {}
      kept[name], record[RAW] = raw, kept
    end
  end

  local function note_missing(where, index, stamp, record, noted)
    for i = 1, #required do
      local name = required[i]
      if rawget(record, name) == nil and
        (noted[name] ~= stamp or where:is_null(document.find(where.document, index, name))) then
        local expected = by_name[name].expected or "a value"
        note_at_field(where, index, "required", "required: " .. expected, name)
      end
    end
  end

  local function read(where, index)
    local nodes, texts = where.nodes, where.texts
    local node = nodes[index]
    if node.kind ~= MAP then
      return where:break_rule("type", index, "expected %s, got %s", attr.expects or "a map", where:describe(index))
    end
    local record = setmetatable({}, metatable)
    if is_located then record._file, record._line, record._node = where.file, node.line, index end
    local depth, path = where.depth + 1, where.path
    last_stamp = last_stamp + 1
    local stamp = last_stamp
    local noted = depth == 1 and {} or seen -- while a root is read in slices, others may be read
    where.depth = depth
    local at, meant = node.first, nil
    while at ~= 0 do
      local key = nodes[at]
      local value_at = key.next
      local name = ffi_string(texts + key.text, key.len)
      path[depth] = name
      if not has_shorthands or not shorthands[name] then
        read_field(where, index, at, value_at, record, name, stamp, noted)
      elseif is_said(where, index, at, value_at, name, stamp, noted) then
        meant = read_shorthand(where, value_at, shorthands[name], meant)
      end
      at = nodes[value_at].next
    end
    if meant then put_meant(record, by_name, meant) end
    where.depth = depth - 1
    if #required > 0 then note_missing(where, index, stamp, record, noted) end
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
  compiled.read, compiled.from_default, compiled.metatable = read, from_default, metatable
  return compiled
end

return M
