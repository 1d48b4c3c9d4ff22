local address = require "veloflux.store.redis.address"

--- What a URL says, shortly.
local function read(text)
  local where, problem = address.parse(text)
  if not where then return problem end
  return ("%s %s db=%d user=%s password=%s"):format(where.kind, where.label, where.db, tostring(where.username),
    tostring(where.password))
end

describe("the address of a store in Redis", function()
  it("is a server, Sentinels or a cluster", function()
    assert.equal("server 10.0.0.1:6379 db=0 user=nil password=nil", read "redis://10.0.0.1")
    assert.equal("server a.example.com:7000 db=3 user=ann password=p@:/",
      read "redis://ann:p%40%3A%2F@a.example.com:7000/3")
    assert.equal("server [::1]:7000 db=0 user=nil password=x", read "redis://:x@[::1]:7000")
    assert.equal("server unix:/run/redis.sock db=2 user=nil password=nil", read "unix:///run/redis.sock?db=2")
    assert.equal("sentinel main of Sentinel a:26379,b:5 db=1 user=u password=p",
      read "redis+sentinel://u:p@a,b:5/main/1")
    assert.equal("cluster a:6379,[::1]:7 db=0 user=nil password=nil", read "redis+cluster://a,[::1]:7")
  end)

  it("says what is wrong with it, without the password", function()
    assert.equal("it names no host", read "redis://u:secret@")
    assert.equal("it has a user and no password", read "redis://u@a")
    assert.equal("its port is no port", read "redis://a:70000")
    assert.equal("its db is no number", read "redis://a/x")
    assert.equal("its path does not begin with a slash", read "unix://x")
    assert.equal("it names no master: redis+sentinel://HOST,HOST/MASTER", read "redis+sentinel://a,b")
    assert.equal("it names no host", read "redis+cluster:///")
    assert.equal("a::1: it names no host", read "redis+cluster://a::1")
    assert.equal("it is not of the form redis://host:port/db or unix:///path", read "http://a")
    assert.matches("^it is not of the form redis://HOST:PORT/DB, ", read "a:6379")
  end)

  it("takes user, password and database beside it", function()
    local where = address.of { url = "redis://a", username = "ann", password = "x", db = 4 }
    assert.same({ "ann", "x", 4 }, { where.username, where.password, where.db })
    where = address.of { url = "redis://bob:y@a/2", username = "ann", password = "x", db = 0 }
    assert.same({ "bob", "y", 2 }, { where.username, where.password, where.db })
    where = address.of { sentinel = { master = "main", addresses = { "a", "b:1" }, username = "", password = "s" },
      username = "", password = "" }
    assert.same({ "main of Sentinel a:26379,b:1", "s" }, { where.label, where.sentinel_password })
    assert.is_nil(where.sentinel_username)
    assert.is_nil(where.password)
    assert.same({ nil, "cluster: :x: it names no host" }, { address.of { cluster = { ":x" } } })
  end)
end)
