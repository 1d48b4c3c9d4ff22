--- The schema of a plugin's configuration, as its author wrote it, becomes a type of model/schema.lua.
--
-- schema.lua returns a map from field to attributes (plugin/attributes.lua), or Kong's wrapped form:
--   { name = "x", fields = { { consumer = typedefs.no_consumer }, { config = { type = "record", fields = ... } } } }
-- Fields come in the order of their `order`, then name. As in Kong, a text is not empty unless
-- `len_min = 0` or its default is empty, and a required record whose fields all have defaults is there
-- without being said.
local attributes = require "veloflux.plugin.attributes"
local author = require "veloflux.plugin.author"
local bounded = require "veloflux.plugin.bounded"
local checks = require "veloflux.plugin.schema.checks"
local defaults = require "veloflux.plugin.schema.defaults"
local merge_modes = require "veloflux.plugin.merge_modes"
local schema = require "veloflux.model.schema"
local sorted = require "veloflux.sorted"
local wrapped = require "veloflux.plugin.schema.wrapped"

local M = {}

local MAX_DEPTH, MAX_FIELDS = 16, 1000

--- A value as those see it who use it.
M.plain = author.plain

local Maker = {}
Maker.__index = Maker

function Maker:note(path, message)
  self.problems[#self.problems + 1] = { path = path, message = message }
end

--- Returns a function that notes what is wrong at places below `path`.
function Maker:noting(path)
  return function(suffix, message) self:note(path .. suffix, message) end
end

-- Fields --------------------------------------------------------------------------------------------

function Maker:map_of(fields, path)
  return wrapped.map_of(fields, path, function(...) self:note(...) end)
end

--- Wraps what the author says about a value so that it sees plain tables.
local function wrap_validator(own, attr)
  if not attr.custom_validator then return end
  local judge = author.guarded("custom_validator", attr.custom_validator)
  own.holder = {}
  own.custom_validator = function(value) return judge(author.plain(own.holder.compiled, value)) end
end

function Maker:shorthands(own, list, path, depth)
  own.shorthand_fields = nil
  if type(list) ~= "table" then return end
  own.shorthand_fields = {}
  local map = self:map_of(list, path)
  for _, key_of in ipairs(sorted.as_texts(map)) do
    local name, definition = tostring(key_of), map[key_of]
    local expand_value, rest = nil, {}
    for key, value in pairs(type(definition) == "table" and definition or {}) do
      if key == "func" then expand_value = value elseif key ~= "translate_backwards" then rest[key] = value end
    end
    local compiled = self:field(rest, path .. "." .. name, depth + 1)
    if type(expand_value) ~= "function" then
      self:note(path .. "." .. name .. ".func", "expected a function")
    elseif compiled then
      compiled.func = function(value)
        local ok, meant = bounded.call(expand_value, value)
        return ok and type(meant) == "table" and meant or nil
      end
      table.insert(own.shorthand_fields, { [name] = compiled })
    end
  end
end

--- A required record that can be made of defaults is.
local function can_default(own)
  for _, pair in ipairs(own.fields) do
    local _, field = next(pair)
    if field.required and field.default == nil then return false end
  end
  return true
end

--- Gives a required record the default {} if that is good; if not, it has to be said.
function Maker:default_record(own, path)
  if own.type ~= "record" or not own.required or own.default ~= nil or not can_default(own) then return end
  local found = #self.problems
  own.default = {}
  defaults.check(own, self:noting(path))
  for i = #self.problems, found + 1, -1 do
    self.problems[i], own.default = nil, nil
  end
end

function Maker:record(own, attr, path, depth)
  local map = self:map_of(type(attr.fields) == "table" and attr.fields or {}, path)
  own.fields, own.by_name = {}, {}
  for _, name in ipairs(sorted.as_texts(map)) do
    self.n_fields = self.n_fields + 1
    if type(name) ~= "string" then
      self:note(path, ("expected names of fields, got %s"):format(tostring(name)))
    elseif self.n_fields <= MAX_FIELDS then
      own.by_name[name] = self:field(map[name], (path ~= "" and path .. "." or "") .. name, depth + 1)
    end
  end
  local names = sorted.as_texts(own.by_name)
  table.sort(names, function(a, b)
    local first, second = own.by_name[a].order or math.huge, own.by_name[b].order or math.huge
    if first ~= second then return first < second end
    return a < b
  end)
  for _, name in ipairs(names) do table.insert(own.fields, { [name] = own.by_name[name] }) end
  own.entity_checks =
    checks.read(own, attr.entity_checks, self:noting((path ~= "" and path .. "." or "") .. "entity_checks"))
  self:shorthands(own, attr.shorthand_fields, path, depth)
end

function Maker:list(own, attr, path, depth)
  if type(attr.elements) ~= "table" then return self:note(path .. ".elements", "required: what the elements are") end
  own.elements = self:field(attr.elements, path .. ".elements", depth + 1) or { type = "string" }
end

function Maker:map(own, attr, path, depth)
  if type(attr.values) ~= "table" then return self:note(path .. ".values", "required: what the values are") end
  own.values = self:field(attr.values, path .. ".values", depth + 1) or { type = "string" }
  own.keys = self:field(attr.keys or { type = "string" }, path .. ".keys", depth + 1) or { type = "string" }
end

--- Bounds must be bounds of that type, the lower one first.
function Maker:check_bounds(own, path)
  if not (own.between or own.gt or own.min or own.max) then return end
  local parse = schema.compile({ type = own.type }).parse
  local function number(name, bound)
    local value = type(bound) == "number" and bound or type(bound) == "string" and parse(bound) or nil
    if value == nil then self:note(path .. "." .. name, "is no bound of this type") end
    return value
  end
  local low, high = own.gt and number("gt", own.gt) or own.min and number("min", own.min), own.max
  if own.between then
    low, high = number("between", own.between[1]), number("between", own.between[2])
  else
    high = high and number("max", high)
  end
  if low and high and low > high then self:note(path, "its lower bound is above the upper one") end
end

local CONTAINERS = { array = Maker.list, set = Maker.list, map = Maker.map, record = Maker.record }

--- Makes a definition of model/schema.lua of what the author wrote; nil when its type is not known.
function Maker:field(attr, path, depth)
  if type(attr) ~= "table" then return self:note(path, "expected the attributes of a field") end
  if depth > MAX_DEPTH then return self:note(path, "is nested too deeply") end
  local found, faulty = #self.problems, {}
  local is_known = attributes.check(attr, function(name, message)
    faulty[name] = true
    self:note(path .. "." .. tostring(name), message)
  end)
  if not is_known then return end
  local own = {}
  for name, value in pairs(attr) do
    if not faulty[name] then own[name] = value end
  end
  own.secret = own.secret or own.encrypted
  if own.timestamp and own.gt == nil then own.gt = 0 end
  if own.merge and depth > 1 then self:note(path .. ".merge", "goes with the fields of the configuration itself") end
  if own.type == "string" and own.len_min == nil and own.default ~= "" then own.len_min = 1 end
  if own.deprecation then own.deprecated = author.text_of(own.deprecation.message) or true end
  if CONTAINERS[own.type] then CONTAINERS[own.type](self, own, attr, path, depth) end
  if next(faulty) then
    own.custom_validator, own.default = nil, nil
    return own
  end
  wrap_validator(own, attr)
  self:check_bounds(own, path)
  if #self.problems == found then
    defaults.check(own, self:noting(path))
    self:default_record(own, path)
  end
  if own.default ~= nil then own.required = nil end -- it is always there
  return own
end

-- The whole -----------------------------------------------------------------------------------------

--- Says what has to be given, for messages: "a map with limit and window".
local function expected_of(own)
  local names = {}
  for _, pair in ipairs(own.fields) do
    local name, field = next(pair)
    if field.required and field.default == nil then names[#names + 1] = name end
  end
  if #names == 0 then return nil end
  local last = table.remove(names)
  return "a map with " .. (#names > 0 and table.concat(names, ", ") .. " and " or "") .. last
end

local function merges_of(own)
  local merge = {}
  for name, field in pairs(own.by_name) do merge[name] = field.merge end
  return merge
end

--- Makes the type of a configuration.
-- @param raw what schema.lua returned
-- @return a table, or nil and a list of problems {path, message}:
--   config      definition of a record for model/schema.lua: of `config` in an instance
--   compiled    the same, compiled
--   needs       what has to be given, as a text, or nil: without it an instance needs no config
--   merge       field -> "deep" or "append"
--   modes       field -> how that is done, see plugin/merge.lua
--   limits      what may be wrong with what is merged of good configurations, see plugin/merge_modes.lua
--   refuses     set of scopes where instances may not stand: consumer, route, service
function M.make(raw)
  local maker = setmetatable({ problems = {}, n_fields = 0 }, Maker)
  if type(raw) ~= "table" then
    return nil, { { path = "", message = ("expected a table of fields, got a %s"):format(type(raw)) } }
  end
  local attr, refuses = wrapped.unwrap(raw, function(...) maker:note(...) end)
  local own = maker:field(attr, "", 0)
  if maker.n_fields > MAX_FIELDS then maker:note("", ("has more than %d fields"):format(MAX_FIELDS)) end
  if #maker.problems > 0 then return nil, maker.problems end
  own.expects = expected_of(own)
  own.needs = own.expects
  if not own.needs then own.default = {} end
  local ok, compiled = pcall(schema.compile, own)
  if not ok then return nil, { { path = "", message = tostring(compiled) } } end
  local modes = merge_modes.of(compiled)
  return { config = own, compiled = compiled, needs = own.needs, merge = merges_of(own), modes = modes,
    limits = merge_modes.limits(modes, compiled), refuses = refuses }
end

return M
