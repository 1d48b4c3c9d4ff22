local library = require "support.library" -- luacheck: ignore 211
local address = require "veloflux.model.address"

describe("addresses", function()
  it("knows IPv4, IPv6 and names", function()
    local v4 = address.parse "10.1.2.3:80"
    assert.same({ text = "10.1.2.3:80", host = "10.1.2.3", port = 80, family = address.IPV4, ip = "\10\1\2\3" }, v4)
    local v6 = address.parse "[::1]:8080"
    assert.equal("::1", v6.host)
    assert.equal(8080, v6.port)
    assert.equal(("\0"):rep(15) .. "\1", v6.ip)
    local name = address.parse "App.internal:3000"
    assert.equal("app.internal", name.host)
    assert.equal(address.NONE, name.family)
  end)

  it("refuses what is no backend", function()
    for _, text in ipairs { "", ":80", "1.2.3:80", "1.2.3.4:0", "a:65536", "a:1x", "::1:80", "[1.2.3.4]:80", "[::1]",
      "a..b:80", "-a:80", "a b:80", "a_b:80x", "[::1%eth0]:80" } do
      assert.is_nil(address.parse(text), text)
    end
  end)

  it("says what is wrong with the common mistakes", function()
    local function message(text, listen) return select(2, address.parse(text, listen)) end
    assert.equal("expected HOST:PORT, got a URL: write 127.0.0.1:9001", message "http://127.0.0.1:9001/x")
    assert.equal('expected HOST:PORT, got no port in "127.0.0.1"', message "127.0.0.1")
    assert.equal("expected a port between 1 and 65535, got 0", message "a:0")
    assert.equal("expected a port between 0 and 65535, got 99999", message(":99999", true))
  end)

  it("lets listeners take every address, a free port, localhost, but no name", function()
    assert.equal("\0\0\0\0", address.parse(":8000", true).ip)
    assert.equal(0, address.parse("127.0.0.1:0", true).port)
    assert.equal("\127\0\0\1", address.parse("localhost:80", true).ip)
    assert.is_nil(address.parse("example.com:80", true))
  end)

  it("tells loopback and wildcard", function()
    assert.is_true(address.is_loopback(address.parse("127.9.9.9:1", true)))
    assert.is_true(address.is_loopback(address.parse("[::1]:1", true)))
    assert.is_false(address.is_loopback(address.parse("0.0.0.0:1", true)))
    assert.is_true(address.is_any(address.parse("[::]:1", true)))
    assert.is_false(address.is_any(address.parse("10.0.0.1:1", true)))
  end)
end)

describe("networks", function()
  it("reads CIDR and single addresses", function()
    local net = address.parse_network "10.0.0.0/8"
    assert.equal(8, net.bits)
    assert.equal("\10\0\0\0", net.ip)
    assert.equal(32, address.parse_network("192.168.1.1").bits)
    assert.equal(128, address.parse_network("::1").bits)
    assert.equal(0, address.parse_network("0.0.0.0/0").bits)
    for text, ip in pairs { ["10.1.2.3/8"] = "\10\0\0\0", ["10.1.2.3/23"] = "\10\1\2\0",
      ["255.255.255.255/0"] = "\0\0\0\0",
      ["10.1.2.131/25"] = "\10\1\2\128", ["10.1.2.3/32"] = "\10\1\2\3" } do
      assert.same({ text, ip }, { address.parse_network(text).text, address.parse_network(text).ip })
    end
    assert.equal("\32\1\13\184" .. ("\0"):rep(12), address.parse_network("2001:db8:ffff::1/32").ip)
  end)

  it("refuses the rest", function()
    assert.is_nil(address.parse_network "10.0.0/8")
    assert.is_nil(address.parse_network "example.com")
    assert.equal("expected at most 32 bits behind the slash, got 33", select(2, address.parse_network "10.0.0.0/33"))
    assert.equal("10.0.0.1 is not the first address of the network",
      select(2, address.parse_network("10.0.0.1/8", true)))
    assert.same("\10\0\0\0", address.parse_network("10.0.0.0/8", true).ip)
  end)
end)
