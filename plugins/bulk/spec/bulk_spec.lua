local kit = require "veloflux.kit"

describe("bulk", function()
  local gateway
  before_each(function() gateway = kit.start { control = true } end)

  local function submit(operations, options)
    options = options or {}
    return gateway:call { method = "POST", path = options.path or "/api/bulk", identity = options.identity,
      headers = options.headers, body = { operations = operations, atomic = options.atomic } }
  end

  local function add(name, algorithm)
    return { action = "add", kind = "pools", data = { name = name, algorithm = algorithm } }
  end

  local function pools()
    local names = {}
    for _, pool in ipairs(gateway:call({ path = "/api/pools?sort=name" }).body) do names[#names + 1] = pool.name end
    return names
  end

  it("applies all operations as one version", function()
    local answer = submit { add "a", add "b", { action = "delete", kind = "pools", id = "a" } }
    assert.equal(200, answer.status, answer.text)
    assert.same({ 3, 3, 0 }, { answer.body.total, answer.body.succeeded, answer.body.failed })
    assert.same({ "b", "upstream" }, pools())
    assert.equal(answer.body.version, gateway:call({ path = "/api/config/versions" }).body[1].version)
  end)

  it("applies none when one is not good", function()
    local answer = submit { add "a", add("b", "by guess") }
    assert.same({ 409, "rolled_back" }, { answer.status, answer.body.code })
    assert.equal("/operations/1/data/algorithm", answer.body.errors[1].pointer)
    assert.same({ "upstream" }, pools())
  end)

  it("applies the others when that is asked for", function()
    local answer = submit({ add "a", add("b", "by guess"), add "c" }, { atomic = false })
    assert.equal(207, answer.status, answer.text)
    assert.same({ 2, 1 }, { answer.body.succeeded, answer.body.failed })
    assert.same({ "a", "c", "upstream" }, pools())
  end)

  it("goes on in the background for who prefers that", function()
    local answer = submit({ add "a" }, { headers = { Prefer = "respond-async" } })
    assert.equal(202, answer.status, answer.text)
    assert.equal("respond-async", answer.headers["Preference-Applied"])
    local place = answer.headers.location
    assert.equal("/api/bulk/operations/" .. answer.body.operation_id, place)
    kit.advance(1)
    local batch = gateway:call { path = place }
    assert.same({ 200, "completed", 1 }, { batch.status, batch.body.status, batch.body.succeeded })
    assert.is_nil(batch.headers["Retry-After"])
    assert.same({ "a", "upstream" }, pools())
    local list = gateway:call { path = "/api/bulk/operations?status=completed" }
    assert.same({ "1", answer.body.operation_id }, { list.headers["X-Total-Count"], list.body[1].operation_id })
    assert.equal(404, gateway:call({ path = "/api/bulk/operations/none" }).status)
  end)

  it("takes operations of one kind at its path", function()
    local answer = submit({ { action = "add", data = { name = "a" } } }, { path = "/api/bulk/pools" })
    assert.equal(200, answer.status, answer.text)
    assert.same({ "a", "upstream" }, pools())
  end)

  it("needs its permissions", function()
    assert.equal(401, submit({ add "a" }, { identity = false }).status)
    assert.equal(403, submit({ add "a" }, { identity = { permissions = { "bulk:read" } } }).status)
    assert.equal(403, submit({ add "a" }, { identity = { permissions = { "bulk:write" } } }).status)
    assert.equal(200, submit({ add "a" }, { identity = { permissions = { "bulk:write", "pools:write" } } }).status)
  end)
end)
