require "support.library"
local intake = require "veloflux.admin.rest.intake"
local json = require "veloflux.pdk.json"
local resources = require "veloflux.admin.resources"
local tags = require "veloflux.admin.rest.tags"
local targets = require "veloflux.admin.rest.targets"

describe("entity tags", function()
  local entry = { version = 7 }

  it("are the version, strong", function()
    assert.equal('"7"', tags.of(entry))
    assert.equal('"0"', tags.of {})
  end)

  it("are found in lists; weak ones where weak ones do", function()
    assert.is_true(tags.has('"1", "7"', '"7"'))
    assert.is_true(tags.has("*", '"7"'))
    assert.is_false(tags.has('W/"7"', '"7"'))
    assert.is_true(tags.has(' W/"7" ', '"7"', true))
    assert.is_false(tags.has('"71"', '"7"', true))
  end)

  it("make preconditions hold for a version, or not", function()
    local function judge(headers) return tags.precondition({ headers = headers }, entry) end
    assert.same({ nil, nil }, { judge {} })
    assert.equal(7, (judge { ["if-match"] = '"7"' }))
    assert.same({ nil, nil }, { judge { ["if-match"] = "*" } })
    local version, bad = judge { ["if-match"] = '"6"' }
    assert.is_nil(version)
    assert.equal("The current version is \"7\".", bad.detail)
    assert.same({ "ETag", '"7"' }, bad.headers)
    assert.equal("stale", select(2, judge { ["if-none-match"] = "*" }).code)
  end)
end)

describe("the target of a request", function()
  local function read(request, ...)
    request.params = request.params or {}
    return targets.read(request, ...)
  end

  it("is what path and query name", function()
    local where, params = read({ params = { id = "a%20b" }, query = "tenant_id=acme&dry_run=true" }, { dry_run = true })
    assert.same({ id = "a b", tenant_id = "acme" }, where)
    assert.same({ "true" }, params.dry_run)
  end)

  it("is refused with parameters that are unknown, and paths that are no text", function()
    assert.equal("invalid", select(2, read { query = "colour=red" }).code)
    assert.equal("not_found", select(2, read { params = { id = "%ff" } }).code)
  end)

  it("is in the tenant of whoever belongs to one", function()
    local identity = { tenant = "acme" }
    assert.same({ tenant_id = "acme", only = "acme" }, (read { identity = identity }))
    assert.equal("There is no tenant other.", select(2, read { identity = identity, query = "tenant_id=other" }).detail)
  end)

  it("is not there for those of another tenant", function()
    local context = { transactions = function() end }
    local resource = { noun = "pool", find = function() return { tenant = "acme" } end }
    assert.equal("acme", targets.entry(resource, context, { id = "web", only = "acme" }).tenant)
    local _, bad = targets.entry(resource, context, { id = "web", only = "b" })
    assert.equal("There is no pool web.", bad.detail)
  end)
end)

describe("what comes in", function()
  local function prepare(value, entry)
    return intake.prepare(resources.pools, { headers = {} }, value, entry, { tenant_id = "acme" })
  end

  it("loses what is only shown, and gets its tenant", function()
    local sent = { name = "web", version = 3, status = "healthy", total_backends = 2, sticky_sessions = json.null }
    local value = assert(prepare(sent))
    assert.same({ name = "web", tenant = "acme" }, value)
    assert.equal("other", prepare({ name = "web", tenant_id = "other" }).tenant)
  end)

  it("is refused where names are no text, or tenants contradict", function()
    local function pointer(value) return select(2, prepare(value)).errors[1].pointer end
    assert.equal("/name", pointer { name = 5 })
    assert.equal("/tenant", pointer { name = "web", tenant = "a", tenant_id = "b" })
    assert.equal("/tenant_id", pointer { name = "web", tenant_id = "" })
  end)
end)
