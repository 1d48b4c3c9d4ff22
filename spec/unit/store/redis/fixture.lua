--- Stores in Redis under test, and what others do to the server meanwhile.
local fixture = require "unit.store.fixture"
local wires = require "veloflux.store.redis.wire"

local M = {}

local World = {}
World.__index = World

local PATIENCE_MS = 60000 -- what a slow machine may take

--- Makes a world. @return { bench }
function M.new() return setmetatable({ bench = fixture.new() }, World) end

--- Runs commands at a server, beside the stores. Errors of the server are raised.
-- @param server of unit.pdk.redis_server, or { host, port }
-- @return the replies
function World:run(server, ...)
  local wire = wires.open(self.bench.redis_host)
  local target = server.path and not server.is_tcp and { path = server.path } or { host = "127.0.0.1",
    port = server.port }
  target.label = "spec"
  local commands, seen = { ... }, nil
  local link
  link = wire:link(target, { patience_ms = PATIENCE_MS, max_reply_bytes = 2 ^ 28 }, function(err)
    if err then error(err.message, 0) end
    link:send(commands, function(failure, replies) seen = { failure, replies } end)
  end)
  self.bench:drive(function() return seen end, "the server")
  wire:close()
  if seen[1] then error(seen[1].message, 0) end
  for _, value in ipairs(seen[2]) do
    if type(value) == "table" and value.err then error(value.err, 0) end
  end
  return unpack(seen[2])
end

--- Opens a store of a server.
-- @param server as for run, or nil: the settings say it
-- @param settings of store.open, or nil
function World:open(server, settings)
  local all = { timeout_ms = PATIENCE_MS }
  if server then all.url = ("redis://127.0.0.1:%d"):format(server.port) end
  for name, value in pairs(settings or {}) do all[name] = value end
  return self.bench:open_redis(all)
end

function World:ask(...) return self.bench:ask(...) end
function World:call(...) return self.bench:call(...) end
function World:drive(...) return self.bench:drive(...) end
function World:close(...) return self.bench:close(...) end
function World:finish() self.bench:finish() end

--- Asks until the store answers well: it heals by itself.
-- @return the result
function World:ask_until(store, method, ...)
  local args, answer, is_asking = { n = select("#", ...) + 1, ... }, nil, false
  args[args.n] = function(err, result)
    is_asking = false
    if not err then answer = { result } end
  end
  self.bench:drive(function()
    if not answer and not is_asking then
      is_asking = true
      store[method](store, unpack(args, 1, args.n))
    end
    return answer
  end, method)
  return answer[1]
end

local change, put = fixture.change, fixture.put

function M.text(version) return ('{"of":%d}'):format(version) end

--- A change of two entities: one of half a change would be alone.
function M.pair(version)
  return change(version, { put("routes", "a/" .. version % 7, M.text(version)),
    put("pools", "a/" .. version % 5, M.text(version)) })
end

--- The store has versions 1 to its last, each whole. Returns the last.
function World:check_whole(store)
  local state = self:ask(store, "load")
  for version = 1, state.version do
    local record = self:ask(store, "version", version)
    assert(record and #record.changes == 2, "version " .. version .. " is not whole")
    for i, n in ipairs { 5, 7 } do
      assert(record.changes[i].after == M.text(version), "version " .. version)
      assert(record.changes[i].before == (version > n and M.text(version - n) or nil), "before " .. version)
    end
  end
  if state.version > 0 then
    local at = self:ask(store, "at", state.version)
    for kind, entities in pairs(state.entities) do
      for key, entity in pairs(entities) do assert(at[kind][key].json == entity.json, kind .. " " .. key) end
    end
  end
  return state.version
end

return M
