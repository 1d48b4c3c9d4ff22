local kit = require "veloflux.kit"

describe("notices", function()
  local gateway
  before_each(function() gateway = kit.start { control = true } end)

  local function post(notice) return gateway:call { method = "POST", path = "/api/notices", body = notice } end

  it("are judged by their schema", function()
    assert.equal(201, post({ name = "disk", text = "The disk is full." }).status)
    local refused = post { name = "noise", text = "Hear!", severity = "loud" }
    assert.same({ 400, "/severity" }, { refused.status, refused.body.errors[1].pointer })
  end)

  it("are counted, for who may read them", function()
    post { name = "disk", text = "The disk is full.", severity = "warning" }
    local function count(identity) return gateway:call { path = "/api/notices-count", identity = identity } end
    assert.same({ info = 0, warning = 1 }, count({ name = "ana", permissions = { "notices:read" } }).body)
    assert.equal(403, count({ name = "ben", permissions = { "notices:write" } }).status)
    assert.equal(401, count(false).status)
  end)

  it("go when their time is over", function()
    post { name = "soon", text = "Soon over.", until_ms = kit.now() * 1000 + 5000 }
    assert.equal("done", gateway:run_job "expire")
    assert.equal(200, gateway:call({ path = "/api/notices/soon" }).status)
    kit.advance(7) -- the job runs each second
    assert.equal(404, gateway:call({ path = "/api/notices/soon" }).status)
  end)

  it("are shown as they change", function()
    local follower = assert(gateway:follow { path = "/api/ws/notices" })
    assert.same({}, follower:next().data)
    post { name = "disk", text = "The disk is full." }
    assert.equal("disk", follower:next().data[1].name)
  end)
end)
