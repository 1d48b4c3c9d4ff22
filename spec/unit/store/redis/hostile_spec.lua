--- A server that greets as Redis does and then answers whatever it likes: calls fail, nothing else does.
local fixture = require "unit.store.fixture"
local loop = require "support.loop"
local peers = require "unit.pdk.peer"
local worlds = require "unit.store.redis.fixture"

local change, put = fixture.change, fixture.put

local ROUNDS = 800

--- Reads one command. Returns its words, or nil at the end.
local function read_command(conn)
  local head = conn:read_until("\r\n", "a command")
  if not head then return nil end
  local words = {}
  for i = 1, tonumber(head:match "^%*(%d+)") do
    local length = tonumber(conn:read_until("\r\n", "a word"):match "^%$(%d+)")
    words[i] = conn:read_exact(length, "a word")
    conn:read_exact(2, "its end")
  end
  return words
end

local GREETINGS = { ROLE = "*1\r\n$6\r\nmaster\r\n", INFO = "$0\r\n\r\n", CLIENT = "+OK\r\n", SCRIPT = "+abc\r\n",
  AUTH = "+OK\r\n", PING = "+PONG\r\n" }

local random = 4711
local function pick(n)
  random = (random * 1103515245 + 12345) % 2 ^ 31
  return math.floor(random / 65536) % n
end

local SCALARS = { "$-1\r\n", ":0\r\n", ":1\r\n", ":-7\r\n", ":9223372036854775807\r\n", "+OK\r\n", "+ok\r\n",
  "$0\r\n\r\n",
  "$1\r\n7\r\n", "$3\r\na\0b\r\n", "$9\r\n1 2 3\n{}x\r\n", "$7\r\n1 2 3\n{\r\n", "$8\r\n1:a,-,-,\r\n", "-ERR no\r\n",
  "-OOM no\r\n", "-NOSCRIPT no\r\n", "-READONLY no\r\n", "*0\r\n", "*-1\r\n", "$4\r\n1e99\r\n", "$3\r\n-12\r\n",
  "$3\r\nnan\r\n", "+conflict\r\n", "+fenced\r\n", "-ASK 1 127.0.0.1:1\r\n", "-MOVED x\r\n", "-\r\n" }

--- Makes a reply that may be anything.
local function make_reply(depth)
  if depth > 3 or pick(3) == 0 then return SCALARS[pick(#SCALARS) + 1] end
  local n = pick(7)
  local parts = { ("*%d\r\n"):format(n) }
  for i = 1, n do parts[i + 1] = make_reply(depth + 1) end
  return table.concat(parts)
end

local CALLS = {
  { "load" }, { "commit" }, { "versions", {} }, { "version", 3 }, { "changes", 0, 10 }, { "at", 2 }, { "base" },
  { "prune", 5 }, { "put", "b", "k", "v", 100 }, { "get", "b", "k" }, { "delete", "b", "k" }, { "things" },
  { "lease", "jobs", "a", 1000 }, { "release", "jobs", "a", 1 }, { "announce", "n", "{}", 1000 }, { "nodes" },
  { "fill", { routes = { ["a/a"] = { json = "{}", version = 1, created_ms = 1, updated_ms = 1 } } } },
}

describe("a store in a Redis that says anything", function()
  it("fails with a message, and goes on", loop.spec(function()
    local world = worlds.new()
    local n_greeted = 0
    local peer = peers.tcp(function(conn)
      while true do
        local words = read_command(conn)
        if not words then return end
        local greeting = GREETINGS[words[1]]
        if words[1] == "HGET" and words[3] == "format" then greeting = "$-1\r\n" end
        if greeting then n_greeted = n_greeted + 1 end
        conn:post(greeting or make_reply(0))
      end
    end)
    local store = world:open(peer, { timeout_ms = 500 })
    store:watch(function() end)
    local answered, outcomes = 0, { good = 0 }
    for round = 1, ROUNDS do
      local call = CALLS[pick(#CALLS) + 1]
      local args = { unpack(call, 2) }
      if call[1] == "commit" then args[1] = change(round, { put("routes", "a/a", "{}") }) end
      args[#args + 1] = function(err)
        answered = answered + 1
        if not err then
          outcomes.good = outcomes.good + 1
        else
          assert(type(err.message) == "string" and err.message ~= "", call[1])
          outcomes[err.code] = (outcomes[err.code] or 0) + 1
        end
      end
      store[call[1]](store, unpack(args))
      if pick(4) > 0 then world:drive(function() return answered == round end, call[1] .. " " .. round) end
      if answered < round then world:drive(function() return answered == round end, "round " .. round) end
    end
    world:finish()
    assert.is_true(n_greeted > 0)
    assert.is_true(outcomes.unavailable > ROUNDS / 4)
    for code in pairs(outcomes) do
      assert.truthy(({ good = 1, unavailable = 1, io = 1, conflict = 1, fenced = 1, gone = 1 })[code], code)
    end
  end))
end)
