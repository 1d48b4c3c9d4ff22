--- What a model has in common with one that is compiled already is carried over (snapshot/carry.h) instead of compiled
-- again. A record of a pool or a route is compiled to the same as long as it is the same table: records are replaced
-- and not changed, and what checks have found out about one (its pool, its chain) is part of it. What else it depends
-- on is its tenant, which is compared, and the settings of the node, which are those of one conf file (`origin`).
local ffi = require "ffi"
local alignment = require "veloflux.alignment"
local layout = require "veloflux.compiler.layout"
local slices = require "veloflux.slices"

ffi.cdef [[
struct vf_snapb *vf_snapb_new_after(const struct vf_snapb *base);
int vf_snapb_is_worn(const struct vf_snapb *base);
struct vf_carry;
struct vf_carry *vf_carry_new(const struct vf_snapb *from, struct vf_snapb *to);
void vf_carry_free(struct vf_carry *carry);
uint32_t *vf_carry_map(struct vf_carry *carry, uint32_t section);
uint32_t vf_carry_policy(struct vf_carry *carry, uint32_t index);
int vf_carry_pools(struct vf_carry *carry, uint32_t first, uint32_t count, uint32_t at);
void vf_carry_note(struct vf_carry *carry, uint32_t first, uint32_t count, uint32_t at);
int vf_carry_routes(struct vf_carry *carry, uint32_t first, uint32_t count, uint32_t at);
]]
local C, NONE = layout.C, layout.NONE
local SOME_ROUTES = 20000 -- that are carried over in one go: a millisecond

local Carry = {}
Carry.__index = Carry

local M = {}

--- Says whether anything of a compiled model can be carried over to another.
-- @param base of compiler.compile, or nil
function M.fits(base, model)
  return base ~= nil and base.builder ~= nil and model.origin ~= nil and base.model.origin == model.origin
    and C.vf_snapb_is_worn(base.builder) == 0
end

local function check(rc)
  if rc ~= 0 then error(rc == -12 and "out of memory" or ("records cannot be carried over: error %d"):format(rc), 0) end
end

local function same_list(a, b)
  if a == b then return true end
  if #a ~= #b then return false end
  for i = 1, #a do
    if a[i] ~= b[i] then return false end
  end
  return true
end

--- Begins.
-- @param to compiler/sink.lua, which begins with the texts of the base
-- @param tenants name -> {index, name, hosts, active}
function M.new(to, base, model, tenants)
  local handle = C.vf_carry_new(base.builder, to.builder)
  if handle == nil then error("out of memory", 0) end
  local self = setmetatable({ handle = ffi.gc(handle, C.vf_carry_free), base = base, model = model }, Carry)
  local map, is_changed = C.vf_carry_map(handle, C.VF_SNAP_TENANTS), {}
  for name, old in pairs(base.memory.tenants) do
    local new = tenants[name]
    if new then map[old.index] = new.index end
    if not new or new.active ~= old.active or not same_list(new.hosts, old.hosts) then is_changed[name] = true end
  end
  self.changed_tenants = next(is_changed) and is_changed
  return self
end

--- Routes say whose hosts they answer for, and whether their tenant is active: those of changed tenants are not to be
-- found.
local function without(list, tenants)
  if not tenants then return list end
  local rest = {}
  for i, entity in ipairs(list) do rest[i] = not tenants[entity.tenant] and entity end
  return rest
end

--- Carries the pools over that did not change.
-- @param at index of the first pool of the model
-- @return runs of those that are to be written: {position, length, ...}
function Carry:pools(at)
  local runs, fresh = alignment.runs(self.model.pools, self.base.model.pools), {}
  for k = 1, #runs, 3 do
    local new, old, length = runs[k], runs[k + 1], runs[k + 2]
    if old > 0 then
      check(C.vf_carry_pools(self.handle, old - 1, length, at + new - 1))
    else
      fresh[#fresh + 1], fresh[#fresh + 2] = new, length
    end
  end
  return fresh
end

--- Says where pools are now, those too that are the same and were written again.
-- @param indexes pool record -> index
function Carry:note_pools(indexes)
  local map = C.vf_carry_map(self.handle, C.VF_SNAP_POOLS)
  for i, pool in ipairs(self.base.model.pools) do map[i - 1] = indexes[pool] or NONE end
end

--- Returns the index of the policy that pools share which say nothing, or nil: none was written.
function Carry:plain_policy()
  local plain = self.base.memory.plain_policy
  local index = plain and C.vf_carry_policy(self.handle, plain)
  return index ~= NONE and index or nil
end

--- Returns the pools with TLS that were compiled.
function Carry:tls_pools() return self.base.memory.tls_pools end

--- Writes the chains of all routes in their order, and says what became of what routes refer to that are carried over.
function Carry:note(runs, chains, secure)
  local routes, header = self.model.routes, ffi.cast("const struct vf_snap_header *", self.base.data)
  if self.model.has_chains then
    for i = 1, #routes do chains:of_route(rawget(routes[i], "_chain")) end
  end
  local function each(section, find)
    local map = C.vf_carry_map(self.handle, section)
    for index = 0, header.sections[section].count - 1 do
      if map[index] ~= NONE then map[index] = find(routes[map[index] + 1]) end
    end
  end
  if header.sections[C.VF_SNAP_CHAINS].count + header.sections[C.VF_SNAP_CLIENT_CERTS].count == 0 then return end
  for k = 1, #runs, 3 do
    if runs[k + 1] > 0 then C.vf_carry_note(self.handle, runs[k + 1] - 1, runs[k + 2], runs[k] - 1) end
  end
  each(C.VF_SNAP_CHAINS, function(route) return chains:of_route(route._chain) end)
  each(C.VF_SNAP_CLIENT_CERTS, function(route) return secure:route(route) end)
end

--- Goes through the routes of the model in order: carries over those that did not change.
-- @param at index of the first route
-- @param places of compiler/routes.lua
-- @param write function(position): writes one that did
function Carry:routes(at, places, write)
  local runs = alignment.runs(self.model.routes, without(self.base.model.routes, self.changed_tenants))
  slices.look()
  self:note(runs, places.chains, places.secure)
  for k = 1, #runs, 3 do
    local new, old, length = runs[k], runs[k + 1], runs[k + 2]
    if old > 0 then
      for first = 0, length - 1, SOME_ROUTES do
        slices.look()
        check(C.vf_carry_routes(self.handle, old - 1 + first, math.min(SOME_ROUTES, length - first),
          at + new - 1 + first))
      end
    else
      for i = new, new + length - 1 do
        slices.pause()
        write(i)
      end
    end
  end
  self:close()
end

--- Nothing is carried over any more.
function Carry:close()
  C.vf_carry_free(ffi.gc(self.handle, nil))
  self.handle = nil
end

return M
