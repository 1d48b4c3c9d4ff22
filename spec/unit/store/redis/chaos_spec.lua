--- Three stores that write at once, while their Redis is killed, stopped, cut off and forgets its scripts: whatever was
-- acknowledged is there, once, and the history makes the state.
local fixture = require "unit.store.fixture"
local loop = require "support.loop"
local servers = require "unit.pdk.redis_server"
local worlds = require "unit.store.redis.fixture"

local DURABLE = { "--appendonly", "yes", "--appendfsync", "always" }
local WRITERS, COMMITS = 3, 150

local random = 20
local function pick(n)
  random = (random * 1103515245 + 12345) % 2 ^ 31
  return math.floor(random / 65536) % n
end

--- Writes until `COMMITS` were acknowledged. What was, is noted in `acked`: version -> text.
local function start_writer(store, name, acked)
  local self = { n = 0, tries = 0 }
  local next_commit

  local function look()
    store:load(function(err, state)
      if err then return look() end
      next_commit(state.version + 1)
    end)
  end

  function next_commit(version)
    if self.n == COMMITS then
      self.is_done = true
      return
    end
    self.tries = self.tries + 1
    local text = ('{"by":"%s","try":%d}'):format(name, self.tries)
    local puts = { fixture.put("routes", "a/" .. pick(20), text), fixture.put("pools", "a/" .. name, text) }
    store:commit(fixture.change(version, puts), function(err)
      if err then return look() end
      assert(acked[version] == nil, "version " .. version .. " was acknowledged twice")
      acked[version], self.n = text, self.n + 1
      next_commit(version + 1)
    end)
  end

  look()
  return self
end

describe("stores of a Redis in trouble", function()
  local function check(world)
    local server = servers.start { args = DURABLE }
    local acked, writers = {}, {}
    for i = 1, WRITERS do
      writers[i] = start_writer(world:open(server, { timeout_ms = 400 }), "w" .. i, acked)
    end
    local function count()
      local n = 0
      for _, writer in ipairs(writers) do n = n + writer.n end
      return n
    end
    local troubles = {
      function() world:run(server, { "SCRIPT", "FLUSH" }) end,
      function() world:run(server, { "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes" }) end,
      function()
        server.process:kill()
        server = servers.start { args = DURABLE, port = server.port, dir = server.dir }
      end,
      function()
        server.process:signal "sigstop"
        local is_over
        local timer = require("luv").new_timer()
        timer:start(500, 0, function()
          timer:close()
          is_over = true
        end)
        world:drive(function() return is_over end, "a while")
        server.process:signal "sigcont"
      end,
    }
    for i = 1, 12 do
      local from = count()
      world:drive(function() return count() >= math.min(from + 25, WRITERS * COMMITS) end, "some commits")
      troubles[(i - 1) % #troubles + 1]()
    end
    world:drive(function()
      for _, writer in ipairs(writers) do
        if not writer.is_done then return false end
      end
      return true
    end, "the end")
    local store = world:open(server)
    local state, rebuilt, seen = world:ask(store, "load"), {}, {}
    for version = 1, state.version do
      local record = assert(world:ask(store, "version", version), "no version " .. version)
      assert.equal(2, #record.changes)
      for _, change in ipairs(record.changes) do
        assert.equal(rebuilt[change.kind .. change.key], change.before)
        rebuilt[change.kind .. change.key] = change.after
      end
      assert.is_nil(seen[record.changes[1].after], "one change is two versions")
      seen[record.changes[1].after] = true
      if acked[version] then assert.equal(acked[version], record.changes[1].after) end
    end
    for version in pairs(acked) do assert.is_true(version <= state.version) end
    for kind, entities in pairs(state.entities) do
      for key, entity in pairs(entities) do assert.equal(rebuilt[kind .. key], entity.json) end
    end
  end

  it("lose nothing, and do nothing twice", loop.spec(function()
    local world = worlds.new()
    local ok, err = pcall(check, world)
    local is_closed, problem = pcall(world.finish, world)
    if not ok or not is_closed then error(not ok and err or problem, 0) end
  end))
end)
