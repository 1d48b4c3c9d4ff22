--- Values of the model as the admin API shows and takes them: decoded JSON, complete with defaults, times and
-- sizes as the conf file writes them, secrets masked.
local containers = require "veloflux.model.containers"
local duration = require "veloflux.model.duration"
local json = require "veloflux.pdk.json"
local model_json = require "veloflux.model.json"
local record = require "veloflux.model.record"
local schema = require "veloflux.model.schema"
local vault = require "veloflux.vault"

local M = {}

--- Stands for a secret. What comes back like this is unchanged.
M.MASK = "*****"
local MASK = M.MASK

local show

local function is_hidden(field)
  return field.attr.type == "unavailable" or field.attr.type == "opaque"
end

--- The type of a value whose record is chosen by one of its fields.
local function chosen(compiled, value)
  return compiled.general and getmetatable(value) and getmetatable(value).compiled or compiled
end

local function show_scalar(compiled, value, raw)
  local attr = compiled.attr
  if attr.secret then return value == "" and "" or MASK end
  if raw and attr.referenceable and attr.type ~= "pem" and vault.is_reference(raw) then return raw end
  if attr.type == "tree" then return M.copy(value) end
  if type(value) == "boolean" or type(value) == "string" and attr.type == "string" and not attr.numeric then
    return value
  end
  local out = model_json.writer()
  compiled.encode(value, out)
  return assert(json.decode("[" .. table.concat(out) .. "]"))[1]
end

local function show_record(compiled, value)
  local shown, raw = {}, rawget(value, record.RAW)
  for _, pair in ipairs(compiled.fields) do
    local name, field = pair[1], pair[2]
    local own = value[name]
    if own ~= nil and not is_hidden(field) then shown[name] = show(field, own, raw and raw[name]) end
  end
  return shown
end

local function show_list(compiled, value)
  local shown, raw = json.array(), containers.raws_of(value)
  for i = 1, #value do shown[i] = show(compiled.element, value[i], raw and raw[i]) end
  return shown
end

local function show_map(compiled, value)
  local shown, raw = {}, containers.raws_of(value)
  for name, own in pairs(value) do shown[tostring(name)] = show(compiled.value, own, raw and raw[name]) end
  return shown
end

--- Returns a value as decoded JSON, complete, with its secrets masked, and with references as they are written.
-- @param compiled of model/schema.lua
-- @param raw how it was written, or nil
function show(compiled, value, raw)
  compiled = chosen(compiled, value)
  if compiled.forms then return show(compiled.forms[containers.form_of(value)], value, raw) end
  if compiled.fields then return show_record(compiled, value) end
  if compiled.element then return show_list(compiled, value) end
  if compiled.value then return show_map(compiled, value) end
  return show_scalar(compiled, value, raw)
end
M.show = show

--- Returns a value as decoded JSON as the conf file would have it: only what was said, with `$${` for `${`, secrets
-- open. Never for anybody outside.
function M.open(compiled, value) return assert(json.decode(schema.encode(chosen(compiled, value), value))) end

-- What comes in --------------------------------------------------------------------------------------

local unmask

--- How elements of a list are told apart from one version to the next.
local function identity(element)
  if type(element) ~= "table" then return nil end
  local name = element.address or element.name or element.type
  if type(name) ~= "string" then return nil end
  local inner = element.as or element.id or element.username
  return type(inner) == "string" and name .. "\0" .. inner or name
end

--- Says which element of an older list each element of a list stands for.
-- @return function(i) -> its place in `old`; nil: there is none, or of two that are alike neither is meant
function M.counterparts(list, old)
  local places = {}
  for i = 1, #(type(old) == "table" and old or {}) do
    local id = identity(old[i]) or i
    places[id] = places[id] == nil and i or false
  end
  return function(i) return places[identity(list[i]) or i] or nil end
end

local function unmask_list(list, old)
  local place_of = M.counterparts(list, old)
  for i = 1, #list do
    local at = place_of(i)
    list[i] = unmask(list[i], at and old[at])
  end
end

function unmask(value, old)
  if value == MASK then return type(old) == "string" and old or value end
  if type(value) ~= "table" then return value end
  if json.is_array(value) then
    unmask_list(value, old)
  else
    for name, own in pairs(value) do value[name] = unmask(own, type(old) == "table" and old[name] or nil) end
  end
  return value
end

--- Puts the secrets of `old` (of `open`) where `value`, decoded JSON, has their mask. Changes and returns it.
M.unmask = unmask

local function copy(value)
  if type(value) ~= "table" then return value end
  local result = {}
  for name, own in pairs(value) do result[name] = copy(own) end
  return setmetatable(result, getmetatable(value))
end
M.copy = copy

local function merge(target, patch)
  if type(patch) ~= "table" or json.is_array(patch) then return patch end
  if type(target) ~= "table" or json.is_array(target) then target = {} end
  for name, value in pairs(patch) do
    if value == json.null then
      target[name] = nil
    else
      target[name] = merge(target[name], value)
    end
  end
  return target
end

--- Returns what becomes of `old` by an operation.
-- @param op "put" (fields present change, null resets), "merge" (RFC 7396) or "replace"
function M.change(op, old, value)
  if op == "replace" then return copy(value) end
  if op == "merge" then return merge(copy(old), copy(value)) end
  local result = copy(old)
  for name, own in pairs(value) do
    if own == json.null then result[name] = nil else result[name] = copy(own) end
  end
  return result
end

local NS_PER_MS = 1000000

--- Turns durations that are whole numbers of nanoseconds, as older clients send them, into texts. Less than a
-- millisecond is left as it is: that is no duration here.
local function duration_text(value)
  if type(value) ~= "number" or value < NS_PER_MS or value ~= math.floor(value) then return value end
  return duration.format(math.floor(value / NS_PER_MS + 0.5))
end

--- Takes what clients may send in another form, in decoded JSON and in place. Returns it.
function M.take(compiled, value)
  if compiled.general then return value end
  if compiled.forms then
    local form = type(value) ~= "table" and "scalar" or json.is_array(value) and "list" or "map"
    return compiled.forms[form] and M.take(compiled.forms[form], value) or value
  end
  if compiled.attr and compiled.attr.type == "duration" then return duration_text(value) end
  if type(value) ~= "table" then return value end
  for name, own in pairs(value) do
    local field = compiled.fields and compiled.by_name[name] or compiled.element or compiled.value
    if field then value[name] = M.take(field, own) end
  end
  return value
end

local function is_word(attr, text)
  for _, word in ipairs(attr.words or {}) do
    if word == text then return true end
  end
  return attr.off and text == "off"
end

-- Types of which the reader takes a number or a truth as their text.
local TEXTS = { string = true, path = true, pem = true, foreign = true }
local NOUNS = { integer = "an integer", number = "a number", boolean = "true or false" }

--- Says what is wrong with the JSON type of a scalar; nil: nothing, or the reader sees it.
local function mistyped(compiled, value)
  local attr, kind = compiled.attr, type(value)
  if kind == "string" and NOUNS[attr.type] and not is_word(attr, value) and compiled.parse(value) ~= nil then
    return ("expected %s, got a text"):format(NOUNS[attr.type])
  end
  local is_text = TEXTS[attr.type] and not attr.one_of and not (attr.numeric and kind == "number")
  if is_text and (kind == "number" or kind == "boolean") then
    return ("expected a text, got %s"):format(kind == "number" and "a number" or tostring(value))
  end
end

local function escape(name) return (tostring(name):gsub("~", "~0"):gsub("/", "~1")) end

--- The type of a value that says itself which record it is, nil when it does not. What it says is judged later.
local function type_said(compiled, value, plugins)
  local attr = compiled.attr
  local word = plugins and type(value) == "table" and value[attr.tag]
  return type(word) == "string" and attr.choose({ plugins = plugins }, word) or nil
end

--- Returns the record that a value is of: of those that say themselves which, what they have in common when that is
-- not known.
-- @param compiled, value as for `take`, plugins as for `mistyped`
function M.type_of(compiled, value, plugins)
  if not compiled.general then return compiled end
  return type_said(compiled, value, plugins) or compiled.general
end

--- Finds scalars of another JSON type than the schema has, which a conf file would be forgiven: `"5"` for 5, 5 for a
-- text; and nulls of fields that there are not, which a merge would forget.
-- @param compiled, value as for `take`
-- @param plugins the loader of plugins, of whose configurations it holds too; nil: they are left alone
-- @return list of {pointer, detail, rule = "type" or "unknown"}
function M.mistyped(compiled, value, plugins, pointer, found)
  found, pointer = found or {}, pointer or ""
  if value == json.null then return found end
  if compiled.general then
    compiled = type_said(compiled, value, plugins)
    if not compiled then return found end
  end
  if compiled.forms then
    compiled = compiled.forms[type(value) ~= "table" and "scalar" or json.is_array(value) and "list" or "map"]
    if not compiled then return found end
  end
  if type(value) ~= "table" then
    local detail = compiled.attr and mistyped(compiled, value)
    if detail then found[#found + 1] = { pointer = pointer, detail = detail, rule = "type" } end
    return found
  end
  local is_list = json.is_array(value)
  for name, own in pairs(value) do
    local field = compiled.fields and (compiled.by_name[name] or compiled.shorthands[name]) or compiled.element
      or compiled.value
    local step = is_list and type(name) == "number" and name - 1 or escape(name)
    local at = ("%s/%s"):format(pointer, step)
    if field then
      M.mistyped(field, own, plugins, at, found)
    elseif compiled.fields and own == json.null then -- others the reader sees
      found[#found + 1] = { pointer = at, detail = "unknown field", rule = "unknown" }
    end
  end
  return found
end

--- Removes what the type does not know from decoded JSON, in place: for those who asked to be lenient.
-- @param plugins as for `mistyped`
function M.strip(compiled, value, plugins)
  if type(value) ~= "table" then return end
  if compiled.general then
    compiled = type_said(compiled, value, plugins)
    if not compiled then return end
  end
  if compiled.forms then compiled = compiled.forms[json.is_array(value) and "list" or "map"] end
  if not compiled then return end
  if compiled.fields and not json.is_array(value) then
    for name, own in pairs(value) do
      local field = compiled.by_name[name] or compiled.shorthands[name]
      if not field then value[name] = nil else M.strip(field, own, plugins) end
    end
  elseif compiled.element or compiled.value then
    for _, own in pairs(value) do M.strip(compiled.element or compiled.value, own, plugins) end
  end
end

return M
