require "support.library"
local outcomes = require "veloflux.admin.outcomes"

describe("the answer to a transaction", function()
  it("has the version, and how many processes lag behind", function()
    assert.same({ "VeloFlux-Version", "7" }, outcomes.headers { version = 7, laggards = 0 })
    assert.same({ "VeloFlux-Version", "7", "VeloFlux-Laggards", "2" }, outcomes.headers { version = 7, laggards = 2 })
    assert.equal(2, outcomes.laggards { laggards = { "a", "b" } })
    assert.equal(0, outcomes.laggards {})
  end)

  it("says in a dry run what would change", function()
    local dry = outcomes.dry({ diff = { { kind = "pools", action = "added", changes = {} } },
      summary = "pools: 1 added", affected_count = 3, affected_routes = { "default/a" } }, {})
    assert.same({ dry_run = true, diff = { { kind = "pools", action = "added", changes = {} } },
      summary = "pools: 1 added", affected_count = 3, affected_routes = { "default/a" }, warnings = {},
      findings = {} }, dry.json)
  end)

  it("points into the element that a request was about", function()
    local refused = outcomes.refused({ code = "invalid", message = "no", errors = {
      { pointer = "/backends/2/weight", detail = "no", rule = "between" }, { pointer = "/name", detail = "other" } } },
      "/backends/2")
    assert.equal(400, refused.status)
    assert.same({ { pointer = "/weight", detail = "no", rule = "between" }, { pointer = "/name", detail = "other" } },
      refused.errors)
  end)

  it("has the status of its code", function()
    for code, status in pairs { invalid = 400, not_found = 404, exists = 409, conflict = 409, owned = 409,
      referenced = 409, stale = 412, unavailable = 503, fenced = 503, nonsense = 500 } do
      assert.equal(status, outcomes.refused({ code = code, message = "no" }).status, code)
    end
    assert.same({ "Retry-After", "1" }, outcomes.refused({ code = "unavailable" }).headers)
    assert.equal("a.yaml:3", outcomes.refused({ code = "owned", source = "a.yaml:3" }).members.source)
  end)
end)
