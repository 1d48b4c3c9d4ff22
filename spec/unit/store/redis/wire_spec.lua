--- Connections of the store: events, time limits, what ends them.
local fixture = require "unit.store.fixture"
local loop = require "support.loop"
local peers = require "unit.pdk.peer"
local wires = require "veloflux.store.redis.wire"

local function spec(fn)
  return loop.spec(function()
    local bench = fixture.new()
    local wire = assert(wires.open(bench.redis_host))
    local ok, err = pcall(fn, wire, bench)
    wire:close()
    bench:finish()
    if not ok then error(err, 0) end
  end)
end

--- Opens a link and waits for what becomes of it. Returns it, or nil and the error.
local function open(wire, bench, target, options)
  local done, link
  target.label = target.label or "peer"
  options = options or {}
  link = wire:link(target, { patience_ms = options.patience_ms or 60000,
    max_reply_bytes = options.max_reply_bytes or 65536 }, function(err) done = { err } end)
  bench:drive(function() return done end, "the link")
  if done[1] then return nil, done[1] end
  return link
end

--- A peer that answers each command with the next of some texts.
local function answering(texts)
  return peers.tcp(function(conn)
    for _, text in ipairs(texts) do
      if not conn:read_until("\n*", "a command") then return end
      conn:write(text)
    end
    return true
  end)
end

describe("a connection of the store", function()
  it("hands replies on in order, whatever pieces they come in", spec(function(wire, bench)
    local peer = peers.tcp(function(conn)
      conn:read_some()
      for _, piece in ipairs { "+o", "ne\r\n:", "2\r\n*2\r\n$1\r\nx", "\r\n$-1\r\n+four\r\n" } do conn:write(piece) end
      return true
    end)
    local link, seen = open(wire, bench, { host = "127.0.0.1", port = peer.port }), {}
    link:send({ { "A" }, { "B" } }, function(_, replies) seen[1] = { replies[1], replies[2] } end)
    link:send({ { "C", 1 } }, function(_, replies) seen[2] = { replies[1][1], tostring(replies[1][2]) } end)
    link:send({ { "D" } }, function(_, replies) seen[3] = replies end)
    bench:drive(function() return seen[3] end, "the replies")
    assert.same({ { "one", 2 }, { "x", "null" }, { "four" } }, seen)
  end))

  it("tells who waits when it ends, then its owner, and nobody afterwards", spec(function(wire, bench)
    local peer = peers.tcp(function(conn)
      conn:read_some()
      conn:write "+one\r\n"
    end)
    local link, seen = open(wire, bench, { host = "127.0.0.1", port = peer.port }), {}
    link.on_lost = function(err) seen[#seen + 1] = "lost " .. err.code end
    for i = 1, 3 do
      link:send({ { "A" } }, function(err) seen[#seen + 1] = i .. (err and err.code or " good") end)
    end
    bench:drive(function() return #seen == 4 end, "the end")
    assert.same({ "1 good", "2closed", "3closed", "lost closed" }, seen)
    link:send({ { "A" } }, function() seen[5] = true end)
    link:close()
    assert.is_nil(seen[5])
  end))

  it("says why it cannot be made", spec(function(wire, bench)
    local peer = peers.tcp(function() end)
    peer.refuse()
    local function code(target, options) return select(2, open(wire, bench, target, options)).code end
    assert.equal("refused", code { host = "127.0.0.1", port = peer.port })
    assert.equal("refused", code { path = "/no/such/socket" })
    local _, err = open(wire, bench, { host = "no-such-host.invalid", port = 1, label = "no-such-host.invalid:1" })
    assert.matches("^redis no%-such%-host%.invalid:1: ", err.message)
  end))

  it("takes the other address of a name when one does not listen", spec(function(wire, bench)
    local peer = answering {}
    assert(open(wire, bench, { host = "localhost", port = peer.port })) -- ::1, too, on most machines
  end))

  it("ends when the server is silent for too long, but not while it is asked nothing", spec(function(wire, bench)
    local peer = peers.tcp(function() return true end)
    local link = open(wire, bench, { host = "127.0.0.1", port = peer.port }, { patience_ms = 50 })
    local lost
    link.on_lost = function(err) lost = err end
    local is_over
    wire:after(200, function() is_over = true end)
    bench:drive(function() return is_over end, "a while")
    assert.is_nil(lost)
    link:send({ { "A" } }, function() end)
    bench:drive(function() return lost end, "the limit")
    assert.equal("timeout", lost.code)
  end))

  it("refuses what is too large or no reply, by limits that may be changed", spec(function(wire, bench)
    local large = "$3000\r\n" .. ("x"):rep(3000) .. "\r\n"
    for _, case in ipairs { { large, 1000, "too_large" }, { large, 5000, nil }, { "hello\r\n", 1000, "malformed" } } do
      local peer = peers.tcp(function(conn)
        conn:read_some()
        conn:write(case[1])
        return true
      end)
      local link, done = open(wire, bench, { host = "127.0.0.1", port = peer.port }, { max_reply_bytes = 1000 }), nil
      link:limit(case[2])
      link:send({ { "A" } }, function(err) done = { err and err.code } end)
      bench:drive(function() return done end, "the reply")
      assert.equal(case[3], done[1])
    end
  end))

  it("takes messages apart from replies", spec(function(wire, bench)
    local peer = peers.tcp(function(conn)
      conn:read_some()
      conn:write("*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n"
        .. "*2\r\n$4\r\npong\r\n$0\r\n\r\n")
      return true
    end)
    local link, seen = open(wire, bench, { host = "127.0.0.1", port = peer.port }), {}
    link.on_message = function(channel, text) seen[#seen + 1] = channel .. " " .. text end
    link:send({ { "SUBSCRIBE", "c" } }, function(_, replies) seen[#seen + 1] = replies[1][1] end)
    link:send({ { "PING" } }, function(_, replies) seen[#seen + 1] = replies[1][1] end)
    bench:drive(function() return #seen == 3 end, "all of it")
    assert.same({ "subscribe", "c hi", "pong" }, seen)
  end))

  it("may be closed by who is told of a reply, and outlives one that raises", spec(function(wire, bench)
    local peer = peers.tcp(function(conn)
      conn:read_some()
      conn:write "+one\r\n+two\r\n+three\r\n"
      return true
    end)
    local link, seen = open(wire, bench, { host = "127.0.0.1", port = peer.port }), {}
    link:send({ { "A" } }, function() error "a broken callback" end)
    link:send({ { "B" } }, function()
      seen[#seen + 1] = "two"
      link:close()
    end)
    link:send({ { "C" } }, function() seen[#seen + 1] = "three" end)
    local ok, problem = pcall(bench.drive, bench, function() return #seen == 1 end, "the second")
    assert.is_false(ok)
    assert.matches("a broken callback", problem)
    bench:drive(function() return #seen >= 1 end, "the second")
    assert.same({ "two" }, seen)
  end))

  it("sends much more than the kernel takes at once", spec(function(wire, bench)
    local text = ("x"):rep(8 * 1024 * 1024)
    local peer = peers.tcp(function(conn)
      conn:read_until("$8388608\r\n", "the head")
      local received = conn:read_exact(#text, "the text")
      conn:write(("$%d\r\n"):format(#received == #text and received == text and 2 or 3) .. "ok\r\n")
      return true
    end)
    local link, done = open(wire, bench, { host = "127.0.0.1", port = peer.port }), nil
    link:send({ { "SET", text } }, function(_, replies) done = replies[1] end)
    bench:drive(function() return done end, "the reply")
    assert.equal("ok", done)
  end))

  it("calls timers in time, once, unless they are cancelled", spec(function(wire, bench)
    local seen = {}
    wire:after(20, function() seen[#seen + 1] = "later" end)
    wire:after(1, function()
      seen[#seen + 1] = "soon"
      wire:after(0, function() seen[#seen + 1] = "then" end)
    end)
    wire:cancel(wire:after(5, function() seen[#seen + 1] = "never" end))
    wire:cancel(nil)
    bench:drive(function() return #seen == 3 end, "the timers")
    assert.equal("soon", seen[1])
    table.sort(seen)
    assert.same({ "later", "soon", "then" }, seen)
  end))
end)
