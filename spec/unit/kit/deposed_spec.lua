--- What a job of the leader may still do once its node does not lead any more: nothing, whichever way it writes, and
-- whether its node has heard of it or not.
require "support.library"
local kit = require "veloflux.kit"
local fixture = require "unit.plugin.fixture"

local JOBS = [[
local pdk = require "veloflux.pdk"
local json = pdk.json
local function add(name) return { action = "add", kind = "pools", data = { name = name } } end
local WAYS = {
  apply = function()
    return pdk.transaction.apply { { op = "create", kind = "pools", name = "by-apply", value = {} } }
  end,
  bulk = function() return pdk.bulk.submit(json.encode { operations = { add "by-bulk" } }) end,
  each = function()
    local batch, problem = pdk.bulk.submit(json.encode { operations = { add "by-each" }, atomic = false })
    if batch and batch.failed > 0 then problem = { code = batch.results[1].code } end
    return not problem and batch, problem
  end,
  import = function() return pdk.configuration.import("pools: [{ name: by-import }]", "merge") end,
  rollback = function() return pdk.versions.rollback(2) end,
  template = function() return pdk.templates.apply("one", {}) end,
  reject = function() return pdk.versions.reject(4) end,
  confirm = function() return pdk.versions.confirm(4) end,
}
local function write_all()
  for name, write in pairs(WAYS) do
    local done, problem = write()
    pdk.log.warn(name, "=", done and "done" or problem.code)
  end
end
local function later()
  pdk.timer.sleep(60)
  write_all()
end
return {
  { name = "now", every = "365d", scope = "cluster", run = write_all },
  { name = "later", every = "365d", scope = "cluster", timeout = "5m", run = later },
}
]]

--- The pools that the API owns.
local function pools(gateway)
  local names = {}
  for _, pool in ipairs(gateway:call({ path = "/api/pools" }).body) do
    if pool.origin == "api" then names[#names + 1] = pool.name end
  end
  return names
end

describe("a job of a leader that leads no more", function()
  local gateway

  before_each(function()
    kit.paths = { fixture.write { heir = { jobs = JOBS } } }
    kit.plugin = "heir"
    gateway = kit.start { control = true }
    local function post(path, body)
      local answer = gateway:call { method = "POST", path = path, body = body }
      assert.equal(201, answer.status, answer.text)
    end
    post("/api/templates", { name = "one", entities = { pools = { { name = "by-template" } } } })
    post("/api/pools", { name = "first" })
    post("/api/pools?probation=1h", { name = "watched" })
    assert.equal("watching", gateway:call({ path = "/api/config/versions/4" }).body.probation.state)
  end)
  after_each(function()
    kit.stop()
    kit.plugin, kit.paths = nil, {}
    fixture.clean()
  end)

  local function judge()
    assert.same({ "first", "watched" }, pools(gateway))
    for _, entry in ipairs(gateway:logs "plugin.log") do
      local way, word = entry.message:match "^(%w+)=(.*)$"
      assert.not_equal("done", word, way ~= "confirm" and way or "")
    end
    assert.equal(8, #gateway:logs "plugin.log")
  end

  it("changes nothing while its node does not know", function()
    gateway:lead(false)
    assert.equal("done", gateway:run_job "now")
    assert.same({ "first", "watched" }, pools(gateway))
    local done = {}
    for _, entry in ipairs(gateway:logs "plugin.log") do
      local way = entry.message:match "^(%w+)=done$"
      if way then done[#done + 1] = way end
    end
    assert.equal(8, #gateway:logs "plugin.log")
    assert.same({ "confirm" }, done) -- of which the store knows nothing, so the watch goes on
    kit.advance(5)
    assert.equal("watching", gateway:call({ path = "/api/config/versions/4" }).body.probation.state)
  end)

  it("is refused when its node has learnt it in the middle of it", function()
    gateway:lead(false)
    assert.equal("done", gateway:run_job "later")
    judge()
  end)

  it("may go on when its node leads anew", function()
    gateway:lead(false)
    kit.advance(60)
    gateway:lead(true)
    kit.advance(60)
    assert.equal("done", gateway:run_job "now") -- under the new lease
    local words = {}
    for _, entry in ipairs(gateway:logs "plugin.log") do words[#words + 1] = entry.message end
    assert.is_truthy((" " .. table.concat(words, " ") .. " "):find(" apply=done ", 1, true))
  end)
end)
