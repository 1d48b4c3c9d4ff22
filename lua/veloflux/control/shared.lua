--- A store that other nodes share, found again: what they have stored meanwhile, and what it has lost.
local conf = require "veloflux.conf"
local entities = require "veloflux.control.entities"
local ffi = require "ffi"
local follow = require "veloflux.control.follow"
local link = require "veloflux.control.link"
local queue = require "veloflux.control.queue"
local storage = require "veloflux.control.storage"
local worlds = require "veloflux.control.world"

ffi.cdef "uint64_t vf_clock_wall_ms(void);"

local M = {}

local function now_ms() return tonumber(ffi.C.vf_clock_wall_ms()) end

--- The store has lost versions that this node serves, with changes that were acknowledged: it gets them back, as
-- versions up to that of this node. If others are faster, theirs are followed.
-- @param found {set, version} of follow.lua
-- @param callback function(message)
function M.restore(found, callback)
  local world = queue.world()
  local puts, deletes
  if not world.is_unknown then
    puts, deletes = follow.difference(found.set, world.set)
    link.log("warn", "store.restored", ("the store has version %d, this node %d: it gets back what it lost"):format(
      found.version, world.version))
  end
  local from = found.version > 0 and found.version or world.version - 1
  storage.catch_up(from, world.version, now_ms(), function(message)
    if not message then
      queue.set_stored(world.version)
      if world.is_unknown then queue.know { set = found.set, version = world.version } end
    end
    callback(message)
  end, puts, deletes)
end

--- Takes what the store has, after it was out of reach.
-- @param found {set, version, why} of follow.lua
-- @param callback function(set, message): the newest that is known; nil and why not
function M.join(found, callback)
  local world = queue.world()
  queue.adopt(world)
  if found.set and found.version < world.version then
    return M.restore(found, function(message)
      if message then queue.adopt(world, message) end
      callback(not message and queue.base().set or nil, message)
    end)
  end
  queue.know(found)
  callback(queue.base().set)
end

--- Goes on after a predecessor: what others have stored meanwhile is published like any other time.
-- @param made what the last model, or the conf file, has become; published, or about to be
-- @param version of that
-- @param loaded of the store
-- @param context what control was started with
-- @param publish_again function(made, is_stored, done)
-- @param done function()
function M.settle(made, version, loaded, context, publish_again, done)
  local published = tonumber(context.published)
  local set, problems = entities.load(loaded.entities, made.world.tools)
  local found = { set = set, version = loaded.version, why = not set and conf.format(problems[1]) or nil }
  local function join(callback)
    M.join(found, function(_, message)
      if message then link.log("error", "store.unavailable", message) end
      callback()
    end)
  end
  if version > published then return publish_again(made, true, function() join(done) end) end
  join(function()
    local is_newer = queue.base().version > published
    if context.mode ~= "recompile" or is_newer then return done() end
    made.world = worlds.with(queue.world(), queue.world().set, published + 1)
    publish_again(made, false, done)
  end)
end

return M
