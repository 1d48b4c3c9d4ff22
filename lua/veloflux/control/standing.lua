--- Where this node stands: what it serves, and what it knows that the store has beyond that.
--
-- `ahead` is {set, version, why}: what the store has and is not published here; `why` it cannot be, once that was
-- tried. Without `set` it cannot even be read here. A node with such a `why` is behind: it goes on with what it serves.
local follow = require "veloflux.control.follow"
local worlds = require "veloflux.control.world"

local M = {}

local link, on_change
local world -- what is published; nil before the first publication
local unavailable -- why nothing can be stored, or nil
local stored = 0 -- the version of the store
local ahead
local counts

--- Begins anew.
-- @param options {link = control/link.lua, on_change = function: is called when what `world` and `behind` say has
-- changed, or nil}
function M.open(options)
  link, on_change = options.link, options.on_change or function() end
  world, unavailable, stored, ahead = nil, "not ready yet", 0, nil
  counts = { followed = 0, rebased = 0 }
end

--- Returns what is published (control/world.lua), or nil.
function M.world() return world end

--- Says what is published.
-- @param why nil: the store takes changes; else why it does not
function M.adopt(next_world, why)
  world, unavailable = next_world, why
  if world and ahead and ahead.version <= world.version then ahead = nil end
  on_change()
end

--- Returns why the store takes nothing, or nil.
function M.unavailable() return unavailable end

--- Says which version the store has.
function M.set_stored(version) stored = version end

--- Says that the store has a version, at least.
function M.note_stored(version) stored = math.max(stored, version) end

--- Returns the version that the store has, as far as is known.
function M.stored() return stored end

--- Returns the version that comes next.
function M.next_version() return math.max(link.published(), stored, world and world.version or 0) + 1 end

--- Returns the newest that is known of the store, published or not: {set, version}.
function M.base() return ahead and ahead.set and ahead or world end

--- Returns {set, version} that the store has and that is to be published, or nil.
function M.news() return ahead and not ahead.why and ahead or nil end

--- Returns {version, why, set} when this node cannot serve what the store has, or nil.
function M.behind() return ahead and ahead.why and ahead or nil end

--- Says why a change is refused while this node is behind: one of its own faults, else that it repairs nothing.
-- @param refusal outcome
function M.refusal_behind(refusal)
  for _, found in ipairs(refusal.errors) do
    if found.op ~= nil then return refusal end
  end
  return { ok = false, code = "conflict", errors = {}, message = ("this node cannot serve version %d of the store (%s) "
    .. "and takes only what repairs that"):format(ahead.version, ahead.why) }
end

--- Returns why a shared store, which finds its way back by itself, is away; nil: it is there, or may be.
-- @param store it, or nil
function M.away(store)
  local status = store and store:status()
  if not status or status.driver == "sqlite" or status.connected then return nil end
  return status.error or "it does not answer"
end

--- This node keeps what it serves: what the store has cannot be published.
function M.fall_behind(why)
  if not ahead then return end
  ahead.why = why
  link.log("error", "cluster.behind", why, ahead.version)
  on_change()
end

--- Takes note of what the store has.
-- @param found {set, version, why} of follow.lua
function M.know(found)
  M.note_stored(found.version)
  if found.why then
    if ahead and ahead.version == found.version and ahead.why == found.why then return end
    ahead = found
    return M.fall_behind(found.why)
  end
  if ahead and ahead.set == found.set then
    ahead.version = found.version -- if it was tried, nothing in it is better now
  elseif found.version == world.version and follow.is_same(found.set, world.set) then
    world, ahead = worlds.with(world, found.set, found.version), nil
  else
    ahead = found
  end
end

--- Returns how often versions of other nodes were published (`followed`) and transactions made anew (`rebased`).
function M.counts() return counts end

return M
