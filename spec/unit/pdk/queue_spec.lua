--- Queues of plugins: batches, bounds, failures, reloads and the end of the process.
local harness = require "unit.pdk.harness"
local loop = require "support.loop"
local network = require "veloflux.runtime.network"
local queue = require "veloflux.pdk.queue"
local timer = require "veloflux.pdk.timer"

local chain, log = harness.chain, harness.log
local n_specs = 0

-- A spec whose body is a task of a plugin instance of its own.
local function task(fn)
  return loop.spec(function()
    local h = harness.new()
    n_specs = n_specs + 1
    chain.instance, chain.errors = { name = "spec" .. n_specs, as = "one", plugin = {} }, {}
    for i = #log, 1, -1 do log[i] = nil end
    h:run(fn, h)
    h:drive(function() return queue.pending() == 0 end, "the queues to be empty")
    h:close()
  end)
end

local function wait_for(condition)
  while not condition() do timer.sleep(0.01) end
end

describe("pdk.queue", function()
  it("ships in batches by number", task(function()
    local batches = {}
    local q = queue.get("q", { batch_items = 3, max_delay = 60 }, function(batch)
      batches[#batches + 1] = batch
      return true
    end)
    for i = 1, 7 do assert.is_true(q:push(i)) end
    wait_for(function() return #batches == 2 end)
    assert.same({ { 1, 2, 3 }, { 4, 5, 6 } }, batches)
    local stats = q:stats()
    assert.same({ 1, 256, 7, 6, 0 }, { stats.waiting, stats.bytes, stats.pushed, stats.shipped, stats.dropped })
    q:push(8)
    q:push(9)
    wait_for(function() return #batches == 3 end)
    assert.same({ 7, 8, 9 }, batches[3])
  end))

  it("ships by size and by age", task(function()
    local batches = {}
    local function ship(batch)
      batches[#batches + 1] = table.concat(batch, "+")
      return true
    end
    local q = queue.get("q", { batch_bytes = 10, max_delay = 0.03 }, ship)
    q:push "1234"
    local begun = network.now_ms()
    wait_for(function() return #batches == 1 end)
    assert.is_true(network.now_ms() - begun >= 20)
    q:push "1234"
    q:push "123456"
    q:push "this is longer than a batch"
    q:push "x"
    wait_for(function() return #batches == 4 end)
    assert.same({ "1234", "1234+123456", "this is longer than a batch", "x" }, batches)
  end))

  it("tries failed batches again, in order, and gives up in the end", task(function()
    local tries, shipped = 0, {}
    local options = { batch_items = 2, retry_delay = 0.01, max_retry_delay = 0.02, max_retry_time = 60 }
    local q = queue.get("q", options, function(batch)
      tries = tries + 1
      if tries == 1 then return nil, "server away" end
      if tries == 2 then error "bug" end
      if tries == 3 then return false end
      shipped[#shipped + 1] = table.concat(batch, "+")
      return true
    end)
    for i = 1, 4 do q:push(tostring(i)) end
    wait_for(function() return #shipped == 2 end)
    assert.same({ "1+2", "3+4" }, shipped)
    assert.equal(1, #chain.errors)
    assert.same({ 3, 0, 4 }, { q:stats().failures, q:stats().given_up, q:stats().shipped })
    local never = queue.get("never", { batch_items = 1, retry_delay = 0.01, max_retry_time = 0.05 }, function()
      return nil, "no disk"
    end)
    never:push "a"
    wait_for(function() return never:stats().given_up == 1 end)
    assert.same({ "queue.dropped", "plugin", "queue", "never", "no disk" },
      { log[1][1], log[1][2], log[1][4], log[1][5], log[1][9] })
  end))

  it("drops the oldest or the newest when it is full", task(function(h)
    local shipped, may_go = {}, false
    local function ship(batch)
      wait_for(function() return may_go end)
      for _, item in ipairs(batch) do shipped[#shipped + 1] = item end
      return true
    end
    local old = queue.get("old", { max_items = 3, batch_items = 1 }, ship)
    old:push "first" -- under way, and not to be dropped
    wait_for(function() return old:stats().in_flight == 1 end)
    for i = 1, 5 do assert.is_true(old:push(i)) end
    assert.same({ 3, 2, 1 }, { old:stats().waiting, old:stats().dropped, old:stats().in_flight })
    local new = queue.get("new", { max_bytes = 10, batch_bytes = 100, max_delay = 0.02, on_full = "drop_new" }, ship)
    assert.is_true(new:push "12345678")
    assert.is_false(new:push "123")
    assert.is_true(new:push "12")
    assert.is_false(new:push("x", 11))
    may_go = true
    wait_for(function() return queue.pending() == 0 end)
    table.sort(shipped, function(a, b) return tostring(a) < tostring(b) end)
    assert.same({ "12", "12345678", 3, 4, 5, "first" }, shipped)
    assert.same({ "queue.dropped", "plugin", chain.instance.name, "queue", "old", "items", 1, "why", "full" }, log[1])
    assert.equal(2, #log) -- once per queue, not once per item
    assert.is_not_nil(h)
  end))

  it("is one per instance and name, and outlives the code that made it", task(function()
    local seen = {}
    local options = { batch_items = 10, max_delay = 0.02 }
    local function by(name)
      return function(batch)
        seen[#seen + 1] = name .. #batch
        return true
      end
    end
    local a = queue.get("q", options, by "old")
    a:push(1)
    chain.instance = { name = chain.instance.name, as = "one", plugin = {} } -- reloaded
    local b = queue.get("q", options, by "new")
    b:push(2)
    assert.equal(a, b)
    chain.instance = { name = chain.instance.name, as = "two", plugin = {} }
    queue.get("q", options, by "other"):push(3)
    wait_for(function() return #seen == 2 end)
    table.sort(seen)
    assert.same({ "new2", "other1" }, seen)
  end))

  it("ends with its instance, but not before all is shipped", task(function()
    local shipped = 0
    local kept = setmetatable({}, { __mode = "k" })
    local function ship()
      shipped = shipped + 1
      return true
    end
    local function collect()
      collectgarbage()
      collectgarbage()
      return next(kept)
    end
    do
      local q = queue.get("q", { max_delay = 0.02 }, ship)
      kept[q] = true
      q:push(1)
    end
    chain.instance = { name = chain.instance.name, as = "one", settings = "others", plugin = {} }
    assert.is_not_nil(collect())
    wait_for(function() return collect() == nil end)
    assert.equal(1, shipped)
  end))

  it("raises for what makes no sense", task(function()
    local function ship() return true end
    assert.has_error(function() queue.get(1, {}, ship) end, "queue.get: expected a name, got number")
    assert.has_error(function() queue.get("q", {}) end, "queue.get: expected a function, got nil")
    assert.has_error(function() queue.get("q", { batch_item = 3 }, ship) end,
      "queue.get: there is no option batch_item")
    assert.has_error(function() queue.get("q", { batch_items = 0 }, ship) end,
      "queue.get: batch_items: expected a number from 1 on, got 0")
    assert.has_error(function() queue.get("q", { on_full = "wait" }, ship) end)
    assert.has_error(function() queue.get("q", {}, ship):push(nil) end, "push: expected an item, got nil")
  end))

  -- Last: a process drains once.
  it("ships at once when the process drains, and says what is lost", task(function()
    local shipped = 0
    local q = queue.get("q", { batch_items = 10, max_delay = 3600 }, function(batch)
      shipped = shipped + #batch
      return true
    end)
    for i = 1, 15 do q:push(i) end
    wait_for(function() return shipped == 10 end)
    queue.drain()
    wait_for(function() return shipped == 15 end)
    q:push(16)
    wait_for(function() return shipped == 16 end)
    local may_go
    local stuck = queue.get("stuck", {}, function()
      wait_for(function() return may_go end)
      return true
    end)
    stuck:push "a"
    timer.sleep(0.01)
    stuck:push "b"
    queue.report_left()
    assert.same({ "queue.dropped", "plugin", chain.instance.name, "queue", "stuck", "items", 2, "why",
      "the process ends" }, log[#log])
    may_go = true
  end))
end)
