require "support.library"
local rivals = require "veloflux.control.rivals"
local fixture = require "unit.conf.fixture"

local CONF = [[
routes:
  - { name: a, host: x.test, path_prefix: /api/, respond: { status: 200 } }
  - { name: b, host: X.TEST, path_prefix: /api, respond: { status: 200 } }
  - { name: c, host: y.test, path_prefix: /api, respond: { status: 200 } }
  - { name: d, hosts: [y.test, x.test], path_prefix: /api, respond: { status: 200 } }
  - { name: e, hosts: [x.test, y.test], path_prefix: /api, respond: { status: 200 } }
  - { name: f, host: x.test, path: /api, respond: { status: 200 } }
  - { name: g, hosts: [x.test], path: /api, methods: [GET], respond: { status: 200 } }
  - { name: h, host: x.test, path: /api, methods: [GET], respond: { status: 200 } }
  - { name: i, host: x.test, path: /api, methods: [GET], priority: 1, respond: { status: 200 } }
  - { name: j, path_regex: ^/api, respond: { status: 200 } }
  - { name: k, respond: { status: 200 } }
  - { name: l, path_prefix: /, respond: { status: 200 } }
  - { name: m, host: x.test, path: /api, match: { headers: { A: b } }, respond: { status: 200 } }
]]

local EXPECTED = { a = "b", b = "a", d = "e", e = "d", g = "h", h = "g", k = "l", l = "k" }

describe("routes with the same condition", function()
  it("are found, one for one and among many", function()
    local model = fixture.model(CONF)
    local find = rivals.finder(model)
    for _, route in ipairs(model.routes) do
      local one, other = rivals.of(model, route), find(route)
      assert.equal(EXPECTED[route.name], one and one.name, route.name)
      assert.equal(EXPECTED[route.name], other and other.name, route.name)
    end
  end)
end)
