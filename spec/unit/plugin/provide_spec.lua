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

  it("has the JSON module that does not raise", function()
    local results = box('return { require("cjson.safe").decode "{" }'):run "handler"
    assert.is_nil(results[1])
    assert.is_string(results[2])
  end)

  it("is nothing else", function()
    for _, name in ipairs { "ffi", "veloflux.runtime.task", "kong.db.dao", "luv", "os" } do
      local ok, err = pcall(box("return require " .. ("%q"):format(name)).run, box(("return require %q"):format(name)),
        "handler")
      assert.is_false(ok)
      assert.matches("is not for plugins", err)
    end
  end)
end)
