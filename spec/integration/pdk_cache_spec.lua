--- pdk.cache in the real binary: one callback for all tasks of all workers, and what becomes of them when the one who
-- runs it errs, leaves or is killed. Callbacks ask an origin of the spec's, which answers when it is told to.
local uv = require "luv"
local children = require "support.children"
local loop = require "support.loop"
local origins = require "support.origin"
local scripted = require "support.scripted"

-- An origin that holds its answers back.
local function start_origin()
  local changed = loop.condition()
  local M = { n = 0, held = {} }
  M.origin = origins.start(function(conn, request)
    M.n = M.n + 1
    local mine = { text = "value " .. M.n }
    M.held[M.n] = mine
    changed:notify()
    changed:wait("the spec to let an answer go", function() return mine.is_open end)
    conn:write(origins.response(200, nil, mine.text, request.method))
  end)
  --- Awaits request `n`.
  function M.wait(n) changed:wait("request " .. n, function() return M.n >= n end) end
  --- Lets the answer to request `n` go.
  function M.answer(n)
    M.held[n].is_open = true
    changed:notify()
  end
  return M
end

local function script(origin, options)
  return ([[
    local options = %s
    return pdk.cache:get("k", options, function()
      local res, err = pdk.http.get "http://%s/"
      if not res then return nil, err end
      return res.body
    end)
  ]]):format(options or "nil", origin.origin.address)
end

-- Opens `n` connections to the worker of `like`.
local function more(server, like, n)
  local list = { like }
  while #list < n do
    local connection = server:connect()
    if connection.pid == like.pid then list[#list + 1] = connection else connection:close() end
  end
  return list
end

describe("pdk.cache", function()
  it("has levels, and forgets in all workers at once", loop.spec(function()
    local server = scripted.start { workers = 2 }
    local first, second = server:workers()
    local GET = [[ return pdk.cache:get("k", nil, function() return { n = pdk.shared:incr("calls", 1, 0) } end) ]]
    assert.same({ { n = 1 }, nil, 3 }, first:run(GET))
    assert.same({ { n = 1 }, nil, 1 }, first:run(GET))
    assert.same({ { n = 1 }, nil, 2 }, second:run(GET))
    assert.same({ { n = 1 }, nil, 1 }, second:run(GET))
    second:run [[ pdk.cache:invalidate "k" ]]
    assert.same({ { n = 2 }, nil, 3 }, first:run(GET))
    assert.same({ { n = 2 }, nil, 2 }, second:run(GET))
    assert.same({ "renewed", nil }, first:run [[ return (pdk.cache:renew("k", nil, function() return "renewed" end)) ]])
    assert.same({ "renewed", nil, 2 }, second:run(GET))
    server:stop()
  end))

  it("calls back once for all tasks and workers", loop.spec(function()
    local origin = start_origin()
    local server = scripted.start { workers = 2 }
    local first, second = server:workers()
    local waiting = {}
    for _, worker in ipairs { first, second } do
      for _, connection in ipairs(more(server, worker, 4)) do waiting[#waiting + 1] = connection end
    end
    for _, connection in ipairs(waiting) do connection:begin(script(origin)) end
    origin.wait(1)
    origin.answer(1)
    local callbacks = 0
    for _, connection in ipairs(waiting) do
      local answer = connection:answer()
      assert.same({ true, "value 1" }, { answer[1], answer[2] })
      if answer[4] == 3 then callbacks = callbacks + 1 end
    end
    assert.equal(1, callbacks)
    assert.equal(1, origin.n)
    server:stop()
  end))

  it("gives errors to all who wait, and keeps none", loop.spec(function()
    local server = scripted.start { workers = 2 }
    local first, second = server:workers()
    local FAIL = [[ return pdk.cache:get("k", nil, function()
      pdk.shared:incr("calls", 1, 0)
      while not pdk.shared:get "go" do pdk.timer.sleep(0.01) end
      return nil, "not today"
    end) ]]
    local waiting = more(server, first, 3)
    for _, connection in ipairs(waiting) do connection:begin(FAIL) end
    local other = more(server, second, 2)
    local CALLS = [[ return pdk.shared:get "calls" ]]
    children.eventually("the callback to run", function() return other[2]:run(CALLS)[1] end)
    second:begin(FAIL)
    waiting[#waiting + 1] = second
    children.pause(50) -- so that the other worker waits, too, most likely
    other[2]:run [[ pdk.shared:set("go", true) ]]
    for _, connection in ipairs(waiting) do
      local answer = connection:answer()
      assert.same({ true, "not today" }, { answer[1], answer[3] })
    end
    local calls = other[2]:run(CALLS)[1]
    assert.is_true(calls <= 2, calls)
    assert.same({ "good", nil, 3 }, first:run [[ return pdk.cache:get("k", nil, function() return "good" end) ]])
    server:stop()
  end))

  it("goes on when the one who calls back is killed", loop.spec(function()
    local origin = start_origin()
    local server = scripted.start { workers = 2 }
    local first, second = server:workers()
    first:begin(script(origin))
    origin.wait(1)
    second:begin(script(origin))
    uv.kill(first.pid, "sigkill")
    origin.wait(2) -- long before the lock would end by itself
    origin.answer(2)
    origin.answer(1)
    assert.same({ true, "value 2" }, { unpack(second:answer(), 1, 2) })
    server:stop()
  end))

  it("goes on when the one who calls back leaves", loop.spec(function()
    local origin = start_origin()
    local server = scripted.start { workers = 2 }
    local first, second = server:workers()
    local same = more(server, first, 2)
    first:begin(script(origin))
    origin.wait(1)
    same[2]:begin(script(origin))
    second:begin(script(origin))
    first:reset() -- the client has gone: its task ends, another one takes over
    origin.wait(2)
    origin.answer(1)
    origin.answer(2)
    assert.same({ true, "value 2" }, { unpack(second:answer(), 1, 2) })
    assert.same({ true, "value 2" }, { unpack(same[2]:answer(), 1, 2) })
    assert.equal(2, origin.n)
    server:stop()
  end))

  it("does not wait for a callback that has answered the request itself", loop.spec(function()
    local server = scripted.start { workers = 2 }
    local first, second = server:workers()
    local LEAVE = [[ return pdk.cache:get("k", nil, function() return pdk.response.exit(200, "[true,7]") end) ]]
    assert.same({ 7 }, first:run(LEAVE))
    local GET = [[ return pdk.cache:get("k", { lock_timeout = 3600 }, function() return "made" end) ]]
    assert.same({ "made", nil, 3 }, second:run(GET))
    assert.same({ "made", nil, 2 }, first:run(GET))
    server:stop()
  end))

  it("waits no longer than it should", loop.spec(function()
    local origin = start_origin()
    local server = scripted.start { workers = 2 }
    local first, second = server:workers()
    local same = more(server, first, 2)
    first:begin(script(origin))
    origin.wait(1)
    second:begin(script(origin, "{ lock_timeout = 0.05 }"))
    origin.wait(2)
    same[2]:begin(script(origin, "{ lock_timeout = 0.05 }"))
    origin.wait(3)
    for n = 1, 3 do origin.answer(n) end
    for _, connection in ipairs { first, second, same[2] } do assert.is_true(connection:answer()[1]) end
    server:stop()
  end))

  it("says so when a callback asks for its own key", loop.spec(function()
    local server = scripted.start()
    assert.same({ nil, "the callback asks for the key that it is to make" }, server:connect():run [[
      local inner
      pdk.cache:get("k", nil, function()
        inner = { pdk.cache:get("k", nil, function() return 1 end) }
        return 2
      end)
      return inner[1], inner[2]
    ]])
    server:stop()
  end))
end)
