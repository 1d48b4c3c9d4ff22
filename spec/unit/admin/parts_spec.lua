require "support.library"
local problem = require "veloflux.admin.problem"
local rates = require "veloflux.admin.rates"
local cjson = require "cjson"

describe("problem documents", function()
  local request = { path = "/api/x", request_id = "abc" }

  it("have the members that clients of either kind read", function()
    local status, headers, body = problem.encode(problem.new("not_found", "There is no such thing."), request)
    assert.equal(404, status)
    assert.same({ "Content-Type", "application/problem+json" }, { headers[1], headers[2] })
    assert.same({ type = "about:blank", title = "Not Found", status = 404, detail = "There is no such thing.",
      error = "There is no such thing.", code = "not_found", instance = "/api/x", request_id = "abc" },
      cjson.decode(body))
  end)

  it("carry the wrong fields, further members and headers", function()
    local status, headers, body = problem.encode(problem.new("invalid", "Two fields are wrong.", {
      errors = { { pointer = "/name", detail = "expected text" } }, members = { version = 3 },
      headers = { "Retry-After", "1" } }), request)
    local document = cjson.decode(body)
    assert.equal(400, status)
    assert.same({ { pointer = "/name", detail = "expected text" } }, document.errors)
    assert.equal(3, document.version)
    assert.equal("1", headers[#headers])
  end)

  it("are of known kinds only", function()
    assert.has_error(function() problem.new("odd", "x") end)
  end)
end)

describe("rates", function()
  it("are measured over the last samples", function()
    local r = rates.new()
    assert.equal(0, r:get("a", 100, 1))
    r:sample(0, { a = 0 })
    assert.equal(50, r:get("a", 100, 2))
    for i = 1, rates.SAMPLES do r:sample(i * 2, { a = i * 100 }) end
    assert.equal(50, r:get("a", 500, 10))
    assert.equal(0, r:get("b", 5, 10))
  end)

  it("are 0 when a counter began anew, and at the moment of the sample", function()
    local r = rates.new()
    r:sample(5, { a = 100 })
    assert.equal(0, r:get("a", 3, 6))
    assert.equal(0, r:get("a", 100, 5))
  end)
end)
