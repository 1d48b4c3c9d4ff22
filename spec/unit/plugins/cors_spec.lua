local fixture = require "unit.plugins.fixture"
local traces = require "support.traces"

local origins = fixture.load "cors" "origins"

local function match(list, origin) return origins.match(origins.compile(list), origin) end

describe("origins", function()
  it("are compared without case and default ports", function()
    local list = { "https://App.example.com", "http://b.example:80", "https://c.example:8443", "http://[::1]:81" }
    for _, origin in ipairs { "https://app.example.com", "https://app.example.com:443", "HTTPS://APP.EXAMPLE.COM",
      "http://b.example", "http://b.example:80", "https://c.example:8443" } do
      assert.equal(origin, match(list, origin))
    end
    for _, origin in ipairs { "http://app.example.com", "https://app.example.com:80", "https://c.example", "",
      "https://app.example.com.evil.example", "https://evil.example/https://app.example.com", "null",
      "https://app.example.com@evil.example", "https://app.example.com/", ("x"):rep(10000) } do
      assert.is_nil(match(list, origin), origin)
    end
  end)

  it("are matched as a whole by patterns", function()
    local list = { [[https://.*\.dev\.example\.com]], [[^.+\.host\.example$]] }
    for _, origin in ipairs { "https://a.dev.example.com", "https://a.b.dev.example.com", "http://x.host.example:81",
      "https://x.host.example" } do assert.equal(origin, match(list, origin)) end
    for _, origin in ipairs { "https://a.dev.example.com.evil.example", "xhttps://a.dev.example.com", "null",
      "https://a.dev.example.com:8443", "https://x.host.example.evil.example", "https://a.dev.example.com\n",
      "https://adev.example.com" } do assert.is_nil(match(list, origin), origin) end
    assert.equal("https://b", match({ "https://a|https://b|x" }, "https://b"))
    assert.is_nil(match({ "https://a|https://b|x" }, "https://bc"))
  end)

  it("are refused when the pattern is none", function()
    for _, text in ipairs { "(", "a)|(?:b", "[", "*.example.com", "(?x)a #" } do
      assert.matches("^bad pattern: ", select(2, origins.read(text)), text)
    end
  end)

  it("know everybody, and the only one", function()
    assert.is_true(origins.compile({}).any)
    assert.is_true(origins.compile({ "https://a", "*" }).any)
    assert.equal("https://A", origins.compile({ "https://A" }).single)
    assert.is_nil(origins.compile({ "https://a", "https://b" }).single)
    assert.is_nil(origins.compile({ "https://.*" }).single)
  end)

  it("compile", function()
    local made = origins.compile { "https://a.example", "https://b.example", [[https://.*\.dev\.example]] }
    traces.assert_compiles(function() return origins.match(made, "https://b.example") end)
  end)
end)
