require "support.library"
local entities = require "veloflux.admin.entities"
local parts = require "veloflux.admin.resources.parts"
local plugins = require "veloflux.admin.resources.plugins"
local resources = require "veloflux.admin.resources"

describe("resources", function()
  after_each(function() resources.set_stored {} end)

  it("are found by their names, those of plugins too", function()
    assert.equal(resources.pools, resources.find "pools")
    assert.is_nil(resources.find "bananas")
    local of_plugin = resources.of_kind { kind = "bananas", noun = "banana", is_per_tenant = true }
    resources.set_stored { of_plugin }
    assert.equal(of_plugin, resources.find "bananas")
    local all = resources.all()
    assert.equal(of_plugin, all[#all])
    assert.equal(#resources.ALL + 1, #all)
  end)

  it("have what each needs to be served", function()
    for _, resource in ipairs(resources.ALL) do
      for _, name in ipairs { "name", "noun", "kind", "permission", "methods", "order", "fields", "forms" } do
        assert(resource[name], ("%s has no %s"):format(tostring(resource.name), name))
      end
      for _, name in ipairs { "list", "find", "create", "change" } do
        assert.equal("function", type(resource[name]), resource.name .. "." .. name)
      end
    end
    assert.equal(resources.backends, resources.pools.elements.backends)
  end)

  it("of a plugin without tenants refuse one", function()
    local global = resources.of_kind { kind = "stars", noun = "star" }
    local value = { tenant = "default" }
    assert.is_nil(global.prepare(value))
    assert.is_nil(value.tenant)
    assert.equal("/tenant_id", global.prepare({ tenant = "acme" }).errors[1].pointer)
  end)

  it("say what is wrong, and what is not there", function()
    local bad = parts.invalid("/name", "expected a text")
    assert.equal("name: expected a text", bad.detail)
    assert.same({ { pointer = "/name", detail = "expected a text" } }, bad.errors)
    assert.equal("body: expected an object", parts.invalid("", "expected an object").detail)
    assert.equal("There is no pool web.", parts.not_found("pool", "web").detail)
  end)

  it("share the common fields in front of their own", function()
    local fields = parts.with_common { { "own" } }
    assert.equal("id", fields[1][1])
    assert.same({ "own" }, fields[#fields])
    assert.equal(#parts.COMMON + 1, #fields)
  end)

  it("of entities take the tenant of the value, then that of the request", function()
    local resource, made = parts.entity { kind = "things" }, {}
    local create = entities.create
    entities.create = function(kind, tenant) made[#made + 1] = kind .. "/" .. tostring(tenant) end
    resource.create(nil, { name = "a", tenant = "acme" }, { tenant_id = "other" })
    resource.create(nil, { name = "a" }, { tenant_id = "other" })
    resource.create(nil, { name = "a" }, {})
    parts.entity({ kind = "tenants" }).create(nil, { name = "a" }, {})
    entities.create = create
    assert.same({ "things/acme", "things/other", "things/default", "tenants/nil" }, made)
  end)
end)

describe("the scope of an instance of a plugin", function()
  local function scope_of(value)
    local scope, owner, bad = plugins.scope_of(value)
    return scope, owner, bad and bad.detail
  end

  it("is what it is put on", function()
    assert.same({ "global" }, { scope_of {} })
    assert.same({ "tenant", "acme" }, { scope_of { tenant = "acme" } })
    assert.same({ "pool", "web" }, { scope_of { pool = "web" } })
    assert.same({ "route", "api" }, { scope_of { scope = "route", route = "api" } })
  end)

  it("is refused when it is several, unknown or without a name", function()
    local function refusal(value) return (select(3, scope_of(value))) end
    assert.truthy(refusal { pool = "a", route = "b" }:find "cannot be given together with")
    assert.equal("scope: expected global, tenant, pool, route or consumer", refusal { scope = "moon" })
    assert.equal("pool: has no meaning with scope route", refusal { scope = "route", pool = "a" })
    assert.equal("consumer: required: the name of the consumer", refusal { scope = "consumer" })
  end)
end)
