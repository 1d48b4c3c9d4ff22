local contract = require "unit.store.contract"
local fixture = require "unit.store.fixture"
local loop = require "support.loop"
local servers = require "unit.pdk.redis_server"

local shared, server = loop.scope(), nil

--- Lets time pass for all that has a time to live.
local PASS = [[
for _, key in ipairs(redis.call('KEYS', '*')) do
  local left = redis.call('PTTL', key)
  if left >= 0 and left <= tonumber(ARGV[1]) then redis.call('DEL', key) end
  if left > tonumber(ARGV[1]) then redis.call('PEXPIRE', key, string.format('%.0f', left - ARGV[1])) end
end]]

describe("the store in Redis", function()
  setup(shared:spec(function() server = servers.start() end))
  teardown(shared:closer())

  local bench

  --- Runs commands at the server, beside the store.
  local function at_server(...)
    local link, seen
    local wire = require("veloflux.store.redis.wire").open(bench.redis_host)
    local commands = { ... }
    link = wire:link({ path = server.path, label = "spec" }, { patience_ms = 60000, max_reply_bytes = 2 ^ 28 },
      function(err)
        assert(not err, err and err.message)
        link:send(commands, function(_, replies) seen = replies end)
      end)
    bench:drive(function() return seen end, "the server")
    wire:close()
    return unpack(seen)
  end

  local function set_up()
    bench = fixture.new()
    at_server { "FLUSHALL" }
    local function open(now_ms)
      return bench:open_redis { url = "unix://" .. server.path, now_ms = now_ms, timeout_ms = 60000 }
    end
    local function pass(ms) at_server { "EVAL", PASS, 0, ("%.0f"):format(ms) } end
    return bench, open, pass
  end

  local function tear_down() bench:finish() end

  describe("keeps the contract:", function() contract.describe(getfenv(), set_up, tear_down) end)
end)
