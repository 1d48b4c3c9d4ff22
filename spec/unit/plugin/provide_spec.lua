--- What plugins may require, and that they have it for themselves.
require "support.library"
local cjson = require "cjson"
local provide = require "veloflux.plugin.provide"
local sandbox = require "veloflux.plugin.sandbox"

local function box(text)
  return sandbox.new { name = "x", sources = { handler = { text = text, chunk = "x/handler.lua" } },
    provide = provide.module }
end

describe("what plugins may require", function()
  it("is the same each time", function()
    assert.is_true(box('return require "cjson" == require "cjson" and require "bit" == require "bit"'):run "handler")
  end)

  it("belongs to the plugin: what it changes changes nothing elsewhere", function()
    box([[
      require("cjson").decode_max_depth(1)
      require("bit").band = nil
      require("table.new")
      return {}]]):run "handler"
    assert.same({ { {} } }, cjson.decode "[[[]]]")
    assert.equal(1, require("bit").band(1, 1))
    assert.equal(1, box('return require("bit").band(1, 1)'):run "handler")
    assert.equal("x", box('return require("cjson").decode("[[\\"x\\"]]")[1][1]'):run "handler")
  end)

  it("has the plugin API in tables of the plugin's own", function()
    local evil = box([[
      local pdk = require "veloflux.pdk"
      local function bad() error "bent" end
      pdk.json.encode, pdk.log.err, pdk.table.new = bad, bad, bad
      pdk.client.tls.set_client_verify, pdk.service.request.set_header = bad, bad
      for _, group in ipairs { pdk.ctx, pdk.log, pdk.log.inspect, pdk.service, pdk.cache } do
        local meta = getmetatable(group) or {}
        meta.__index, meta.__call, meta.__newindex = bad, bad, bad
      end
      for _, shared in ipairs { pdk.json.array {}, "", pdk.redis.null } do assert(not getmetatable(shared)) end
      getmetatable("").__index = nil]])
    pcall(evil.run, evil, "handler")
    local good = box([[
      local pdk = require "veloflux.pdk"
      return { json = pdk.json.encode, log = pdk.log.err, new = pdk.table.new, request = pdk.service.request.set_header,
        tls = pdk.client.tls.set_client_verify, same = pdk == require "veloflux.pdk", pdk = pdk,
        shared = require("veloflux.pdk.shared"), meta = getmetatable(pdk.shared),
        nothing = pdk.nothing == nil and pdk.queue.drain == nil,
        null = pdk.json.null == require("cjson").null }]]):run "handler"
    local pdk = require "veloflux.pdk"
    assert.equal(pdk.json.encode, good.json)
    assert.equal(pdk.log.err, good.log)
    assert.equal(pdk.table.new, good.new)
    assert.is_function(getmetatable(good.pdk.log).__call)
    assert.is_nil(getmetatable(good.pdk.log).__index)
    assert.equal(pdk.service.request.set_header, good.request)
    assert.equal(pdk.client.tls.set_client_verify, good.tls)
    assert.equal(pdk.shared.incr, good.shared.incr)
    assert.same({}, good.meta)
    assert.is_true(good.same and good.nothing and good.null)
    assert.has_error(function() good.pdk.ctx.x = 1 end)
  end)

  it("has the JSON module that does not raise", function()
    local results = box('return { require("cjson.safe").decode "{" }'):run "handler"
    assert.is_nil(results[1])
    assert.is_string(results[2])
  end)

  it("is nothing else", function()
    for _, name in ipairs { "ffi", "veloflux.runtime.task", "kong.db.dao", "luv", "os",
      "veloflux.pdk.http.connection", "veloflux.redis.reply", "veloflux.pdk.nothing" } do
      local ok, err = pcall(box("return require " .. ("%q"):format(name)).run, box(("return require %q"):format(name)),
        "handler")
      assert.is_false(ok)
      assert.matches("is not for plugins", err)
    end
  end)
end)
