--- Who gets what, and when, without connections: C is a list of what was asked of it, and the clock is a number.
require "support.library"
local cjson = require "cjson"
local hubs = require "veloflux.channels.hub"

local function all() return true end

--- Makes a hub with a clock and a record of what C was asked for.
local function make()
  local hub = hubs.new()
  local world = { hub = hub, now = 100, closed = {}, cut = {}, pinged = {}, wanted = {}, waked = {}, log = {},
    registered = {} }
  hub:attach {
    native = {
      send_soon = function(id) world.wanted[id] = true end,
      close = function(id, code, reason) world.closed[id] = { code, reason } end,
      cut = function(id)
        table.insert(world.cut, id)
        hub:closed(id)
      end,
      ping = function(id) table.insert(world.pinged, id) end,
      wake = function(seconds) table.insert(world.waked, seconds) end,
    },
    now = function() return world.now end, wall_ms = function() return 5000 end,
    timestamp = function() return "2026-01-01T00:00:00.000Z" end,
    log = function(level, event, pairs_of) table.insert(world.log, { level, event, pairs_of }) end,
    context = { version = function() return 7 end },
  }
  hub:list_in { add = function(channel) world.registered[channel.path] = true end,
    remove = function(channel) world.registered[channel.path] = nil end }
  function world.open(path, since, identity)
    local id = hub:next_id()
    hub:open(id, identity or { name = "ana", can = all }, hub:find(path), since)
    return id
  end
  --- Everything that waits for a client, decoded.
  function world.take(id)
    local list = {}
    while true do
      local text = hub:writable(id)
      if not text then return list end
      list[#list + 1] = cjson.decode(text)
    end
  end
  function world.say(id, message)
    hub:received(id, type(message) == "string" and message or cjson.encode(message), false)
    return world.take(id)
  end
  --- The hub could not look for a while.
  function world.jump(seconds)
    world.now = world.now + seconds
    hub:tick()
  end
  --- The time passes, and the hub looks as often as it asked for.
  function world.pass(seconds)
    local stop = world.now + seconds
    while world.now < stop do
      world.now = math.min(world.now + hubs.TICK_S, stop)
      hub:tick()
    end
  end
  return world
end

local function types(list)
  local names = {}
  for i, frame in ipairs(list) do names[i] = frame.type end
  return names
end

local function counter(extra)
  local definition = { path = "/api/ws/count", permission = "user", type = "count", every = "10s", n = nil }
  local calls = { n = 0 }
  definition.frame = function(context)
    calls.n = calls.n + 1
    return { n = calls.n, reason = context.reason, version = context.version() }
  end
  for name, value in pairs(extra or {}) do definition[name] = value end
  return definition, calls
end

describe("the hub of channels", function()
  local world, hub
  before_each(function()
    world = make()
    hub = world.hub
  end)

  it("sends the whole data at once, then as often as the channel says", function()
    hub:register((counter()))
    assert.is_true(world.registered["/api/ws/count"])
    local id = world.open "count"
    assert.same({ { type = "count", channel = "count", sequence = 5000, timestamp = "2026-01-01T00:00:00.000Z",
      data = { n = 1, reason = "open", version = 7 } } }, world.take(id))
    assert.same({ hubs.TICK_S }, world.waked)
    world.pass(9.9)
    assert.same({}, world.take(id))
    world.pass(0.2)
    local frames = world.take(id)
    assert.equal(1, #frames)
    assert.same({ n = 2, reason = "every", version = 7 }, frames[1].data)
    assert.equal(5001, frames[1].sequence)
    world.jump(40) -- what was missed is not made up for
    assert.equal(1, #world.take(id))
  end)

  it("makes data once for all, and not at all for nobody", function()
    local definition, calls = counter()
    hub:register(definition)
    world.pass(60)
    assert.equal(0, calls.n)
    local a, b = world.open "count", world.open "count"
    world.take(a)
    world.take(b)
    world.pass(11)
    assert.equal(3, calls.n)
    assert.same(world.take(a), world.take(b))
  end)

  it("sends at once when what is watched is another", function()
    local value = 1
    hub:register((counter { watch = function() return value end }))
    local id = world.open "count"
    world.take(id)
    world.pass(1)
    assert.same({}, world.take(id))
    value = 2
    world.pass(0.25)
    assert.equal("change", world.take(id)[1].data.reason)
    world.pass(0.25)
    assert.same({}, world.take(id))
  end)

  it("sends further frames behind the data, but not to who comes", function()
    hub:register { path = "/api/ws/list", permission = "user", type = "list", every = "1s",
      frame = function() return { n = 1 }, nil, { { type = "more", data = { a = 1 } } } end,
      filter = function(data, _, kind) return kind == "more" and data or nil end,
      filter_fields = { only = { type = "string" } } }
    local id, filtered = world.open "list", world.open "list"
    assert.same({ "list" }, types(world.take(id)))
    world.say(filtered, { type = "subscribe", only = "x" })
    world.pass(1.25)
    local frames = world.take(id)
    assert.same({ "list", "more" }, types(frames))
    assert.equal(frames[1].sequence + 1, frames[2].sequence)
    assert.same({ "more" }, types(world.take(filtered)))
  end)

  it("sends what is published, and keeps it for those who come back", function()
    hub:register { path = "/api/ws/news", permission = "user", type = "news" }
    assert.equal(0, hub:publish("/api/ws/news", { n = 1 }))
    local id = world.open "news"
    assert.same({}, world.take(id)) -- there is no whole of it
    assert.equal(1, hub:publish("/api/ws/news", { n = 2 }, "flash"))
    local frames = world.take(id)
    assert.same({ "flash" }, types(frames))
    assert.equal(5002, frames[1].sequence)
    hub:publish("news", { n = 3 })
    local back = world.open("news", 5002)
    frames = world.take(back)
    assert.same({ n = 3 }, frames[1].data)
    assert.same({}, world.take(world.open("news", 5003)))
    assert.equal(0, hub:publish("nothing", {}))
  end)

  it("gives whoever was away too long the whole data", function()
    hub:register((counter { history = 2 }))
    local first = world.open "count"
    for _ = 1, 4 do world.pass(11) end
    world.take(first)
    local back = world.take(world.open("count", 5002))
    assert.same({ 5003, 5004 }, { back[1].sequence, back[2].sequence })
    back = world.take(world.open("count", 5001))
    assert.equal(1, #back)
    assert.equal("open", back[1].data.reason)
    assert.equal(5004, back[1].sequence) -- as of the newest
    back = world.take(world.open("count", 99999)) -- of an unknown future
    assert.equal("open", back[1].data.reason)
  end)

  it("drops the oldest frames for a slow client, and says which", function()
    hub.settings = { max_clients = 10, ping_s = 1000, queue_bytes = 1000 }
    hub:register { path = "/api/ws/news", permission = "user", type = "news" }
    local slow, fast = world.open "news", world.open "news"
    for i = 1, 20 do
      hub:publish("news", { n = i, fill = ("x"):rep(100) })
      world.take(fast)
    end
    local frames = world.take(slow)
    assert.equal("gap", frames[1].type)
    assert.equal("news", frames[1].channel)
    local kept = #frames - 1
    assert.is_true(kept >= 2 and kept < 10)
    assert.same({ dropped = 20 - kept, from = 5001, to = 5020 - kept }, frames[1].data)
    assert.equal(5021 - kept, frames[2].sequence)
    assert.equal(20 - kept, hub:find("news").n_dropped)
    world.pass(0.1)
    assert.same({}, world.closed)
  end)

  it("closes a client that takes nothing for too long", function()
    hub.settings = { max_clients = 10, ping_s = 1000, queue_bytes = 300 }
    hub:register { path = "/api/ws/news", permission = "user", type = "news" }
    local slow = world.open "news"
    for _ = 1, 3 do hub:publish("news", { fill = ("x"):rep(200) }) end
    world.pass(29)
    assert.is_nil(world.closed[slow])
    world.pass(1)
    assert.equal(1013, world.closed[slow][1])
    assert.is_nil(hub:writable(slow))
    hub:publish("news", { n = 1 }) -- nothing is kept for it
    assert.equal(0, hub.clients[slow]:waiting())
    world.pass(2)
    assert.same({}, world.cut)
    world.pass(1)
    assert.same({ slow }, world.cut)
    assert.equal(0, hub.n_clients)
    assert.equal(0, hub:find("news").n_subscribers)
  end)

  it("pings the silent and cuts off who does not answer", function()
    hub.settings = { max_clients = 10, ping_s = 30, queue_bytes = 1000 }
    hub:register { path = "/api/ws/news", permission = "user", type = "news" }
    local dead, alive = world.open "news", world.open "news"
    world.pass(29)
    assert.same({}, world.pinged)
    world.pass(1)
    table.sort(world.pinged)
    assert.same({ dead, alive }, world.pinged)
    world.pass(1)
    assert.equal(2, #world.pinged)
    hub:pong(alive)
    world.pass(29)
    assert.same({ dead }, world.cut)
    assert.equal(1, hub.n_timeouts)
    assert.is_truthy(hub.clients[alive])
  end)

  it("does not hold it against clients when the process itself stood still", function()
    hub.settings = { max_clients = 10, ping_s = 30, queue_bytes = 1000 }
    hub:register { path = "/api/ws/news", permission = "user", type = "news" }
    local id = world.open "news"
    world.pass(10)
    world.jump(1000)
    assert.same({}, world.pinged)
    world.pass(20)
    assert.same({ id }, world.pinged)
    world.jump(1000) -- its answer may be there
    assert.same({}, world.cut)
    world.pass(30)
    assert.same({ id }, world.cut)
    assert.equal(0, hub.n_clients)
  end)

  it("forgets a client that C does not know", function()
    hub:register { path = "/api/ws/news", permission = "user", type = "news" }
    local id = world.open "news"
    local client = hub.clients[id]
    function hub.host.native.cut() end
    hub:cut(client)
    assert.equal(0, hub.n_clients)
    assert.equal(0, hub:find("news").n_subscribers)
  end)

  it("lets go whose credentials no longer hold", function()
    local is_good = true
    hub:register { path = "/api/ws/news", permission = "user", type = "news" }
    local id = world.open("news", nil, { name = "ana", can = all, is_valid = function() return is_good end })
    world.pass(1)
    assert.is_nil(world.closed[id])
    is_good = false
    world.pass(1)
    assert.equal(1008, world.closed[id][1])
  end)

  it("ends with 1001 when a channel goes, and when the node does", function()
    hub:register { path = "/api/ws/news", permission = "user", type = "news" }
    hub:register { path = "/api/ws/other", permission = "user", type = "other" }
    local id, guest, other = world.open "news", world.open "other", world.open "other"
    world.say(guest, { type = "subscribe", channel = "news" })
    assert.is_true(hub:unregister "/api/ws/news")
    assert.is_false(hub:unregister "/api/ws/news")
    assert.is_nil(world.registered["/api/ws/news"])
    assert.equal(1001, world.closed[id][1])
    assert.is_nil(world.closed[guest])
    assert.is_nil(hub:refusal())
    hub:drain()
    assert.equal(1001, world.closed[other][1])
    assert.equal("The node is going away.", hub:refusal())
  end)

  it("has a ceiling", function()
    hub.settings = { max_clients = 1, ping_s = 30, queue_bytes = 1000 }
    hub:register { path = "/api/ws/news", permission = "user", type = "news" }
    assert.is_nil(hub:refusal())
    local id = world.open "news"
    assert.is_truthy(hub:refusal():find "1 clients")
    hub:closed(id)
    hub:closed(id)
    assert.equal(0, hub.n_clients)
    assert.is_nil(hub:refusal())
  end)

  it("survives what definitions raise, and says so", function()
    hub:register { path = "/api/ws/bad", permission = "user", type = "bad", every = "1s",
      frame = function() error "oh no" end, watch = function() error "no" end }
    hub:register { path = "/api/ws/odd", permission = "user", type = "odd", every = "1s",
      frame = function() return { [{}] = 1 } end }
    local id, odd = world.open "bad", world.open "odd"
    world.pass(2)
    assert.same({}, world.take(id))
    assert.same({}, world.take(odd))
    assert.equal("channel.fault", world.log[1][2])
    assert.is_true(hub:find("bad").n_errors >= 2)
    hub:register { path = "/api/ws/known", permission = "user", type = "known", every = "1s",
      frame = function() error(hubs.LOGGED, 0) end }
    local before = #world.log
    world.open "known"
    assert.equal(before, #world.log) -- who raised it has told already
    assert.equal(1, hub:find("known").n_errors)
  end)

  describe("messages", function()
    it("answers pings, and what it does not understand", function()
      hub:register { path = "/api/ws/news", permission = "user", type = "news" }
      local id = world.open "news"
      local pong = world.say(id, { type = "ping" })[1]
      assert.same({ type = "pong", timestamp = pong.timestamp, data = { status = "alive" } }, pong)
      for _, text in ipairs { "{", "[]", "1", '"x"', "{}", '{"type":1}', '{"type":"dance"}',
        '{"type":"ping","type":"a"}' } do
        local frames = world.say(id, text)
        assert.same({ "error" }, types(frames), text)
        assert.equal("invalid", frames[1].data.code)
      end
      hub:received(id, "\1\2", true)
      assert.same({ "error" }, types(world.take(id)))
      hub:received(99, "{}", false) -- unknown: gone meanwhile
    end)

    it("follows other channels on the same connection, within what its permissions are", function()
      hub:register { path = "/api/ws/news", permission = "user", type = "news" }
      hub:register((counter()))
      hub:register { path = "/api/ws/secret", permission = "admin", type = "secret" }
      local id = world.open("news", nil, { name = "ana", can = function(what) return what == "user" end })
      local frames = world.say(id, { type = "subscribe", channel = "count" })
      assert.same({ "subscribed", "count" }, types(frames))
      assert.equal("count", frames[1].channel)
      assert.equal("forbidden", world.say(id, { type = "subscribe", channel = "secret" })[1].data.code)
      assert.equal("not_found", world.say(id, { type = "subscribe", channel = "nothing" })[1].data.code)
      assert.equal("not_found", world.say(id, { type = "subscribe", channel = 1 })[1].data.code)
      assert.same({ "unsubscribed" }, types(world.say(id, { type = "unsubscribe", channel = "count" })))
      assert.equal("not_found", world.say(id, { type = "unsubscribe", channel = "count" })[1].data.code)
      assert.equal(0, hub:find("count").n_subscribers)
    end)

    it("filters by a subscription's filter", function()
      hub:register { path = "/api/ws/list", permission = "user", type = "list", every = "1s",
        frame = function() return { a = 1, b = 2 } end,
        filter = function(data, filter) return { [filter.only] = data[filter.only] } end,
        filter_fields = { only = { type = "string", one_of = { "a", "b" } } } }
      local id, plain = world.open "list", world.open "list"
      assert.same({ a = 1, b = 2 }, world.take(id)[1].data)
      world.take(plain)
      local frames = world.say(id, { type = "subscribe", only = "b" })
      assert.same({ b = 2 }, frames[2].data)
      world.pass(2)
      assert.same({ b = 2 }, world.take(id)[1].data)
      assert.same({ a = 1, b = 2 }, world.take(plain)[1].data)
      local refused = world.say(id, { type = "subscribe", only = "c" })[1].data
      assert.equal("invalid", refused.code)
      assert.is_truthy(refused.detail:find "only")
      assert.is_truthy(world.say(id, { type = "subscribe", many = 1 })[1].data.detail:find "many")
    end)

    it("shows clients of a tenant what is the tenant's, whatever they ask for", function()
      hub:register { path = "/api/ws/list", permission = "user", type = "list", every = "1s", of_tenant = true,
        frame = function() return { a = "x", b = "y" } end,
        filter = function(data, filter) return filter.tenant_id and { [filter.tenant_id] = data[filter.tenant_id] } end,
        filter_fields = { tenant_id = { type = "string" } } }
      hub:register((counter()))
      local first = world.open "list"
      world.pass(2)
      world.take(first)
      local id = world.open("list", 5000, { name = "ana", tenant = "a", can = all })
      assert.same({ { a = "x" } }, { world.take(id)[1].data })
      assert.same({ a = "x" }, world.say(id, { type = "subscribe", tenant_id = "b" })[2].data)
      world.pass(2)
      assert.same({ a = "x" }, world.take(id)[1].data)
      hub:publish("list", { a = 1, b = 2 })
      assert.same({ a = 1 }, world.take(id)[1].data)
      assert.equal("forbidden", world.say(id, { type = "subscribe", channel = "count" })[1].data.code)
    end)

    it("makes data for each client where a channel wants that", function()
      hub:register { path = "/api/ws/mine", permission = "user", type = "mine", every = "1s", per_client = true,
        frame = function(context) return { name = context.identity.name, filter = context.filter } end,
        filter_fields = { pool = { type = "string" } } }
      local ana = world.open("mine", nil, { name = "ana", can = all })
      local bob = world.open("mine", 1, { name = "bob", can = all })
      assert.same({ name = "ana" }, world.take(ana)[1].data)
      assert.same({ name = "bob" }, world.take(bob)[1].data)
      world.say(bob, { type = "subscribe", pool = "web" })
      world.pass(2)
      assert.same({ name = "ana" }, world.take(ana)[1].data)
      assert.same({ name = "bob", filter = { pool = "web" } }, world.take(bob)[1].data)
    end)

    it("hands what a definition knows to it", function()
      local heard
      hub:register { path = "/api/ws/room", permission = "user", type = "room", messages = {
        say = { fields = { text = { type = "string", required = true, len_max = 5 } }, handle = function(context,
          message)
          heard = { context.identity.name, context.reason, message.text }
          if message.text == "boom" then error "boom" end
          return message.text ~= "quiet" and { heard = true } or nil
        end },
        reset = { permission = "admin", handle = function() return {} end } } }
      local id = world.open("room", nil, { name = "ana", can = function(what) return what == "user" end })
      local frames = world.say(id, { type = "say", text = "$${x" })
      assert.same({ "say" }, types(frames))
      assert.same({ heard = true }, frames[1].data)
      assert.same({ "ana", "message", "$${x" }, heard)
      assert.same({}, world.say(id, { type = "say", text = "quiet" }))
      assert.equal("invalid", world.say(id, { type = "say" })[1].data.code)
      assert.equal("invalid", world.say(id, { type = "say", text = "too long" })[1].data.code)
      assert.equal("invalid", world.say(id, { type = "say", text = "a", more = 1 })[1].data.code)
      assert.equal("internal_error", world.say(id, { type = "say", text = "boom" })[1].data.code)
      assert.equal("forbidden", world.say(id, { type = "reset" })[1].data.code)
    end)

    it("pauses and resumes", function()
      hub:register((counter()))
      local id = world.open "count"
      world.take(id)
      assert.same({ "paused" }, types(world.say(id, { type = "pause" })))
      world.pass(30)
      assert.same({}, world.take(id))
      assert.same({ "resumed", "count" }, types(world.say(id, { type = "resume" })))
    end)

    it("ends who talks too much", function()
      hub:register { path = "/api/ws/news", permission = "user", type = "news" }
      local id = world.open "news"
      for _ = 1, 60 do hub:received(id, '{"type":"ping"}', false) end
      assert.is_nil(world.closed[id])
      hub:received(id, '{"type":"ping"}', false)
      assert.equal(1008, world.closed[id][1])
    end)
  end)
end)
