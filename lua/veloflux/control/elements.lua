--- Operations on elements of a list of their owner: backends of a pool, credentials of a consumer, instances of plugins
-- of a pool, route or consumer. Those that follow each other on the same list become one change of the owner: of a
-- thousand backends of a pool the pool is read and checked once.
local crypto = require "veloflux.pdk.crypto"
local json = require "veloflux.pdk.json"
local sink = require "veloflux.compiler.sink"
local values = require "veloflux.control.values"

local M = {}
local Group = {}
Group.__index = Group

--- Returns the ID of a backend as it stands in the snapshot: 16 hexadecimal digits.
function M.backend_id(tenant, pool, address)
  return ("%016x"):format(sink.id("backend", tenant or "default", pool, address))
end

--- Returns the id of a credential in paths.
-- @param value of the field that its type is known by
function M.credential_id(type, value)
  return crypto.hex_encode(crypto.hash("sha256", type .. "\0" .. tostring(value))):sub(1, 16)
end

--- Returns what an instance of a plugin is called in its list.
function M.label(instance)
  local as = instance.as
  return as and as ~= instance.name and instance.name .. ":" .. as or instance.name
end

-- What an element is known by: each is function(group, element) -> list of texts, the first that of messages.
local function names_of_backend(group, element)
  if type(element.address) ~= "string" then return {} end
  return { element.address, M.backend_id(group.tenant, group.owner, element.address) }
end

local function names_of_credential(group, element)
  local plugin = type(element.type) == "string" and group.tools.plugins:find(element.type)
  local field = plugin and plugin.credential and plugin.credential.id
  local value = field and element[field]
  if value == nil then return {} end
  return { M.credential_id(element.type, value), tostring(value) }
end

local function names_of_plugin(_, element)
  return type(element.name) == "string" and { M.label(element) } or {}
end

-- kind of operations -> kind of the owner, its list, the field that names the owner, the field that a name is in
M.NESTED = {
  backends = { owner = "pools", list = "backends", field = "pool", id = "address", names = names_of_backend },
  credentials = { owner = "consumers", list = "credentials", field = "consumer", names = names_of_credential },
}
for owner, field in pairs { pools = "pool", routes = "route", consumers = "consumer" } do
  M.NESTED[field .. "_plugins"] = { owner = owner, list = "plugins", field = field, id = "name",
    names = names_of_plugin }
end

--- Fields that were set to null are not there.
function M.without_null(value)
  if type(value) ~= "table" or json.is_array(value) then return value end
  local copy = {}
  for key, inner in pairs(value) do
    if inner ~= json.null then copy[key] = inner end
  end
  return copy
end

--- Returns the name of the owner that an operation means, or nil.
function M.owner_of(op)
  local field = M.NESTED[op.kind].field
  local name = op[field]
  if name == nil and type(op.value) == "table" then name = op.value[field] end
  return type(name) == "string" and name or nil
end

--- Begins a group.
-- @param op the first operation
-- @param value of the owner as decoded JSON, which changes
-- @param tools as for entities.read
function M.new(op, value, tools)
  local nested = M.NESTED[op.kind]
  local self = setmetatable({ kind = op.kind, nested = nested, tenant = op.tenant, owner = M.owner_of(op),
    value = value, tools = tools, list = value[nested.list] or {}, index = {}, ops = {}, count = 0 }, Group)
  self.count = #self.list
  for at = 1, self.count do self:add_names(at) end
  return self
end

function Group:add_names(at)
  for _, name in ipairs(self.nested.names(self, self.list[at])) do self.index[name] = self.index[name] or at end
end

function Group:drop_names(at)
  for _, name in ipairs(self.nested.names(self, self.list[at])) do
    if self.index[name] == at then self.index[name] = nil end
  end
end

--- Says whether an operation goes to the same list.
function Group:takes(op)
  return op.kind == self.kind and (op.tenant or "default") == (self.tenant or "default")
    and M.owner_of(op) == self.owner
end

local function element_of(group, op)
  local fields, element = type(op.value) == "table" and op.value or {}, {}
  for name, inner in pairs(op.is_literal and fields or values.literal(fields)) do
    if name ~= group.nested.field then element[name] = inner end
  end
  return element
end

function Group:create(element, i)
  local names = self.nested.names(self, element)
  if names[1] and self.index[names[1]] then
    return nil, "exists", ("%s already has %s"):format(self.owner, names[1]), self.nested.id and "/" .. self.nested.id
  end
  self.count = self.count + 1
  self.list[self.count], self.ops[self.count] = M.without_null(element), i
  self:add_names(self.count)
  return true
end

local CHANGES = { merge = values.merge, put = values.put,
  replace = function(_, element) return M.without_null(element) end }

--- Applies an operation.
-- @param i its number, for what is wrong later
-- @return true; or nil, a code, a message and perhaps a pointer
function Group:apply(op, i)
  if op.op == "create" then return self:create(element_of(self, op), i) end
  local at = op.name and self.index[op.name]
  if not at then
    return nil, "not_found", ("%s has no %s %s"):format(self.owner, self.kind:gsub("_", " "), tostring(op.name))
  end
  self:drop_names(at)
  if op.op == "delete" then
    self.list[at], self.ops[at] = false, nil
    return true
  end
  self.list[at], self.ops[at] = CHANGES[op.op](self.list[at], element_of(self, op)), i
  self:add_names(at)
  return true
end

--- Ends a group.
-- @return the owner's value; and which operation changed the elements of the list: their numbers by place
function Group:close()
  local list, ops = json.array {}, {}
  for at = 1, self.count do
    if self.list[at] then
      list[#list + 1] = self.list[at]
      ops[#list] = self.ops[at]
    end
  end
  self.value[self.nested.list] = list
  return self.value, ops
end

--- Finds the operation that a fault in an owner comes from.
-- @param places {list, ops = of `close`, last = number of the last operation}
-- @param pointer to the fault
-- @return its number and the rest of the pointer
function M.blame(places, pointer)
  local n, rest = pointer:match("^/" .. places.list .. "/(%d+)(.*)$")
  local op = n and places.ops[n + 1]
  if op then return op, rest end
  return places.last, pointer
end

return M
