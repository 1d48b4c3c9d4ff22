require "support.library"
local contents = require "veloflux.content"
local idempotency = require "veloflux.admin.idempotency"
local kept_content = require "veloflux.admin.kept_content"

--- A store of small things whose answers come when `release` is called, or at once.
local function new_store()
  local store = { texts = {}, held = nil }
  local function answer(callback, ...)
    if not store.held then return callback(...) end
    local arguments = { ... }
    table.insert(store.held, function() callback(unpack(arguments, 1, 2)) end)
  end
  function store:get(_, key, callback) answer(callback, self.failure, self.texts[key]) end
  function store:put(_, key, text, ttl_ms, callback)
    self.texts[key], self.ttl_ms = text, ttl_ms
    answer(callback, self.failure)
  end
  function store:claim(_, key, text, _, callback)
    local is_free = self.texts[key] == nil
    if is_free then self.texts[key] = text end
    answer(callback, self.failure, is_free)
  end
  function store:delete(_, key, callback)
    self.texts[key] = nil
    answer(callback)
  end
  function store:release()
    local held = self.held
    self.held = nil
    for _, go in ipairs(held) do go() end
  end
  return store
end

local function request(key, body, changes)
  local made = { method = "POST", path = "/api/pools", query = "", body = body or "{}",
    identity = { name = "admin" }, headers = { ["idempotency-key"] = key, ["content-type"] = "application/json" } }
  for name, value in pairs(changes or {}) do made[name] = value end
  return made
end

describe("Idempotency-Key", function()
  local store, answers, count, is_shared

  before_each(function()
    store, count, is_shared = new_store(), 0, false
    answers = idempotency.new { store = function() return store end, seal = function(text) return "sealed:" .. text end,
      unseal = function(text) return text:match "^sealed:(.*)$" end, folder = function() return "/tmp" end,
      is_shared = function() return is_shared end }
  end)

  local function handler()
    count = count + 1
    return { status = 201, json = { nth = count } }
  end

  --- Serves in a coroutine, as the admin server does. Returns a table whose `result` is the answer once there is one.
  local function serve(...)
    local served, arguments = {}, { ... }
    coroutine.wrap(function() served.result = answers:serve(arguments[1], arguments[2] or handler) end)()
    return served
  end

  it("gives the first answer again for a day, and keeps it sealed", function()
    assert.equal(1, serve(request "k").result.json.nth)
    local again = serve(request "k").result
    assert.same({ 201, 1, { "Idempotency-Replayed", "true" } }, { again.status, again.json.nth, again.headers })
    assert.equal(24 * 3600 * 1000, store.ttl_ms)
    for _, text in pairs(store.texts) do assert.is_truthy(text:find "^sealed:") end
    assert.equal(1, count)
  end)

  it("is one of a client and a path", function()
    serve(request "k")
    assert.equal(2, serve(request("k", nil, { path = "/api/routes" })).result.json.nth)
    assert.equal(3, serve(request("k", nil, { identity = { name = "other" } })).result.json.nth)
    assert.equal(4, serve(request "l").result.json.nth)
    assert.equal("key_reused", serve(request("k", "{ }")).result.code)
    assert.equal("key_reused", serve(request("k", nil, { query = "dry_run=true" })).result.code)
  end)

  it("is refused while the first is under way", function()
    store.held = {}
    local first = serve(request "k")
    assert.is_nil(first.result)
    assert.equal("in_progress", serve(request "k").result.code)
    assert.equal("key_reused", serve(request("k", "{ }")).result.code)
    store:release()
    assert.equal(1, first.result.json.nth)
    assert.equal(1, serve(request "k").result.json.nth)
  end)

  it("gives long and binary answers again, byte for byte", function()
    local long, bytes = ("0123456789"):rep(50000), "\0\255\254" .. ("\200"):rep(100)
    local function content(text)
      local writer = contents.writer "/tmp"
      writer:write(text)
      return assert(writer:finish())
    end
    for i, answer in ipairs { { json_text = long }, { body = bytes }, { body = long }, { content = content(bytes) },
      { content = content(long) } } do
      local key = "k" .. i
      local first = serve(request(key), function() return answer end).result
      local wanted = answer.json_text or answer.body or contents.piece(first.content)
      local again = serve(request(key)).result
      local found = again.json_text or again.body or contents.piece(again.content)
      assert.is_true(found == wanted, key)
      assert.same({ "Idempotency-Replayed", "true" }, again.headers)
      for _, text in pairs(store.texts) do assert.is_true(text:find "^sealed:" ~= nil and #text < 256 * 1024) end
      for _, of in ipairs { first, again } do
        if of.content then contents.close(of.content) end
      end
    end
    assert.equal(0, count)
  end)

  it("is not done again when its answer is too long to be kept", function()
    local long = ("x"):rep(kept_content.MAX_BYTES + 1)
    assert.equal(#long, #serve(request "k", function() return { body = long } end).result.body)
    local again = serve(request "k").result
    assert.equal("conflict", again.code)
    assert.is_truthy(again.detail:find(tostring(#long), 1, true))
    assert.equal(0, count)
  end)

  it("is claimed where nodes share the store: another is at it", function()
    is_shared = true
    local there = idempotency.new(answers.context) -- another node
    local answer
    local function slow(...)
      coroutine.wrap(function() answer = there:serve(request "k", handler) end)()
      assert.equal("in_progress", answer.code)
      coroutine.wrap(function() answer = there:serve(request("k", "{ }"), handler) end)()
      assert.equal("key_reused", answer.code)
      return handler(...)
    end
    assert.equal(1, serve(request "k", slow).result.json.nth)
    coroutine.wrap(function() answer = there:serve(request "k", handler) end)()
    assert.equal(1, answer.json.nth)
    assert.has_error(function() answers:serve(request "m", function() error "no" end) end)
    assert.equal(2, serve(request "m").result.json.nth) -- the claim was given back
    assert.equal(2, count)
  end)

  it("is not kept for a fault of ours", function()
    assert.equal(503, serve(request "k", function() return { status = 503, code = "unavailable" } end).result.status)
    assert.equal(1, serve(request "k").result.json.nth)
    assert.has_error(function() answers:serve(request "m", function() error "no" end) end)
    assert.equal(2, serve(request "m").result.json.nth)
  end)

  it("needs the store, and has to be a key", function()
    store.failure = { code = "unavailable" }
    assert.equal("unavailable", serve(request "k").result.code)
    store = nil
    assert.equal("unavailable", serve(request "k").result.code)
    assert.equal("invalid", serve(request(("x"):rep(256))).result.code)
    assert.equal("invalid", serve(request "a b").result.code)
    assert.equal(0, count)
  end)

  it("means nothing to others than POST", function()
    assert.equal(1, serve(request("k", nil, { method = "PUT" })).result.json.nth)
    assert.equal(2, serve(request("k", nil, { method = "PUT" })).result.json.nth)
  end)
end)
