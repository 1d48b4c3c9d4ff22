require "support.library"
local networks = require "veloflux.networks"
local traces = require "support.traces"

local function set_of(...) return assert(networks.new { ... }) end

describe("a set of networks", function()
  it("knows addresses and networks of both families", function()
    local set = set_of("10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1", "128.0.0.0/1")
    for text, is_in in pairs { ["10.0.0.0"] = true, ["10.255.255.255"] = true, ["9.255.255.255"] = false,
      ["11.0.0.0"] = false, ["192.0.2.7"] = true, ["127.255.255.255"] = false, ["128.0.0.0"] = true,
      ["255.255.255.255"] = true, ["2001:db8::"] = true, ["2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"] = true,
      ["2001:db9::"] = false, ["2001:db7:ffff::"] = false, ["::1"] = true, ["::2"] = false, ["::"] = false } do
      assert.equal(is_in, set:has(text), text)
    end
  end)

  it("takes any address of a network for it", function()
    local set = set_of("10.1.2.3/8", "2001:db8:ffff::1/32", "192.0.2.131/25", "::ffff:172.16.5.5/108")
    for text, is_in in pairs { ["10.0.0.0"] = true, ["10.255.255.255"] = true, ["11.0.0.0"] = false,
      ["2001:db8::"] = true,
      ["192.0.2.128"] = true, ["192.0.2.127"] = false, ["172.31.255.255"] = true, ["172.32.0.0"] = false } do
      assert.equal(is_in, set:has(text), text)
    end
  end)

  it("takes networks that overlap, in any order", function()
    local set = set_of("10.1.0.0/16", "10.0.0.0/8", "10.1.2.3", "10.1.2.3", "9.0.0.0/8")
    assert.is_true(set:has "10.200.0.1")
    assert.is_true(set:has "10.1.2.3")
    assert.is_true(set:has "9.0.0.1")
    assert.is_false(set:has "8.255.255.255")
  end)

  it("sees IPv4 within IPv6", function()
    assert.is_true(set_of("10.0.0.0/8"):has "::ffff:10.1.2.3")
    assert.is_false(set_of("10.0.0.0/8"):has "::ffff:11.1.2.3")
    assert.is_true(set_of("::ffff:10.0.0.0/104"):has "10.9.9.9")
    assert.is_true(set_of("::ffff:10.0.0.1"):has "10.0.0.1")
    assert.is_false(set_of("::/0"):has "10.0.0.1")
    assert.is_true(set_of("0.0.0.0/0"):has "10.0.0.1")
    assert.is_true(set_of("::/0"):has "fe80::1")
  end)

  it("says what is no address and no network", function()
    assert.is_nil(set_of("10.0.0.0/8"):has "")
    assert.is_nil(set_of("10.0.0.0/8"):has "10.0.0.1 ")
    assert.is_nil(set_of("10.0.0.0/8"):has "unix:")
    assert.is_nil(set_of("10.0.0.0/8"):has(("1"):rep(10000)))
    assert.is_false(networks.new({}):has "10.0.0.1")
    assert.same({ nil, "10.0.0.0/33: expected at most 32 bits behind the slash, got 33" },
      { networks.new { "10.0.0.0/33" } })
    assert.same({ nil, "x: expected an IP address or a network like 10.0.0.0/8" }, { networks.new { "x" } })
  end)

  it("agrees with looking at each network, with 10,000 of them", function()
    local random, list, known = math.random, {}, {}
    math.randomseed(7)
    for i = 1, 10000 do
      local a, b, c = random(0, 255), random(0, 255), random(0, 255)
      list[i] = ("%d.%d.%d.0/24"):format(a, b, c)
      known[("%d.%d.%d"):format(a, b, c)] = true
    end
    local set = assert(networks.new(list))
    for _ = 1, 20000 do
      local net = random() < 0.5 and list[random(#list)]:match "^(.*)%.0/24$"
        or ("%d.%d.%d"):format(random(0, 255), random(0, 255), random(0, 255))
      assert.equal(known[net] or false, set:has(("%s.%d"):format(net, random(0, 255))))
    end
    traces.assert_compiles(function() return set:has "10.1.2.3" end)
  end)
end)
