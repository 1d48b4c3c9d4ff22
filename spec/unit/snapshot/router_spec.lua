local ffi = require "ffi"
local fixture = require "unit.snapshot.fixture"
local lib = fixture.lib

ffi.cdef [[
struct vf_route_query {
  struct vf_str host, path, query;
  uint32_t method;
  struct vf_str method_name;
  const void *header;
  void *owner;
};
struct vf_route_fields { const struct vf_str *pairs; size_t n_pairs; };
struct vf_str vf_route_fields_find(void *owner, struct vf_str name);
struct vf_route_match {
  uint32_t outcome, index;
  const struct vf_snap_route *route;
  uint64_t allow;
  struct vf_str allow_more[4];
  uint32_t n_allow_more;
  uint32_t prefix_bytes, n_captures;
  struct { uint32_t start, end; } captures[10];
};
struct vf_route_rival { uint32_t index, verdict, host_class, condition; };
struct vf_router;
struct vf_router *vf_router_new(void);
void vf_router_free(struct vf_router *);
void vf_router_sweep(struct vf_router *, const struct vf_snapshot *);
uint64_t vf_router_limit_hits(const struct vf_router *);
int vf_route_find(struct vf_router *, const struct vf_snapshot *, const struct vf_route_query *,
                  struct vf_route_match *);
size_t vf_route_explain(struct vf_router *, const struct vf_snapshot *, const struct vf_route_query *,
                        struct vf_route_rival *, size_t room);
bool vf_route_is_shadowed(const struct vf_snapshot *, uint32_t index, uint32_t *by);
int vf_regex_check(const char *pattern, size_t len, char *error, size_t error_size);
]]

local METHODS = { DELETE = 0, GET = 1, HEAD = 2, POST = 3, PUT = 4 }
local EXTENSION = 63
local NOT_FOUND, FOUND, METHOD = 0, 1, 2
local ANY_METHOD = 0xffffffff

local router = ffi.gc(lib.vf_router_new(), lib.vf_router_free)

--- A query { host, path, query, method, headers = { { name, value } } } whose strings live as long as
-- the table that is returned.
local function query_of(wanted)
  local query = ffi.new "struct vf_route_query"
  local held = { asked = query }
  local function set(view, text)
    held[#held + 1] = text
    view.data, view.len = text, #text
  end
  for _, field in ipairs { "host", "path", "query" } do set(query[field], wanted[field] or "") end
  query.method = METHODS[wanted.method or "GET"] or EXTENSION
  set(query.method_name, wanted.method or "GET")
  if wanted.headers then
    local pairs_held = ffi.new("struct vf_str[?]", 2 * #wanted.headers + 1)
    for i, header in ipairs(wanted.headers) do
      set(pairs_held[2 * i - 2], header[1])
      set(pairs_held[2 * i - 1], header[2])
    end
    held.pairs = pairs_held
    held.fields = ffi.new("struct vf_route_fields", { pairs_held, #wanted.headers })
    query.header, query.owner = lib.vf_route_fields_find, held.fields
  end
  return held
end

--- Finds the route for a path or a table { host, path, query, method }. Returns its name or the
-- outcome, and the match.
local function find(snapshot, wanted)
  if type(wanted) == "string" then wanted = { path = wanted } end
  local match = ffi.new "struct vf_route_match"
  local held = query_of(wanted)
  local outcome = lib.vf_route_find(router, snapshot, held.asked, match)
  assert.equal(outcome, match.outcome)
  if outcome ~= FOUND then return outcome, match end
  return fixture.string(snapshot, match.route.name), match
end

--- Asserts which route answers each of `cases`, a map from path to name or outcome.
local function finds(snapshot, cases)
  for path, name in pairs(cases) do assert.equal(name, (find(snapshot, path)), path) end
end

describe("router", function()
  it("finds nothing in an empty snapshot", function()
    finds(fixture.snapshot {}, { ["/"] = NOT_FOUND, ["*"] = NOT_FOUND, ["/a/b"] = NOT_FOUND })
  end)

  it("matches exact paths to the byte", function()
    local snapshot = fixture.snapshot { { name = "a", path = "/a/b" }, { name = "slash", path = "/a/" },
      { name = "root", path = "/" } }
    finds(snapshot, { ["/a/b"] = "a", ["/a/b/"] = NOT_FOUND, ["/a"] = NOT_FOUND, ["/a/"] = "slash",
      ["/"] = "root", ["//"] = NOT_FOUND, ["/a/B"] = NOT_FOUND, ["*"] = NOT_FOUND })
  end)

  it("matches prefixes at segment boundaries", function()
    for _, written in ipairs { "/api", "/api/" } do
      local snapshot = fixture.snapshot { { name = "api", path_prefix = written } }
      finds(snapshot, { ["/api"] = "api", ["/api/"] = "api", ["/api/x"] = "api", ["/api//"] = "api",
        ["/apix"] = NOT_FOUND, ["/ap"] = NOT_FOUND, ["/"] = NOT_FOUND, ["//api"] = NOT_FOUND })
    end
  end)

  it("matches everything below the root prefix", function()
    local snapshot = fixture.snapshot { { name = "all", path_prefix = "/" } }
    finds(snapshot, { ["/"] = "all", ["/x"] = "all", ["//"] = "all", ["*"] = "all" })
  end)

  it("keeps empty segments", function()
    local snapshot = fixture.snapshot { { name = "double", path_prefix = "/a//b" },
      { name = "single", path_prefix = "/a/b" } }
    finds(snapshot, { ["/a//b"] = "double", ["/a//b/c"] = "double", ["/a/b"] = "single", ["/a///b"] = NOT_FOUND })
  end)

  it("takes the longest prefix, and says how long it is", function()
    local snapshot = fixture.snapshot { { name = "all", path_prefix = "/" }, { name = "a", path_prefix = "/a" },
      { name = "abc", path_prefix = "/a/b/c" } }
    finds(snapshot, { ["/a/b/c/d"] = "abc", ["/a/b"] = "a", ["/x"] = "all" })
    local function prefix_bytes(path)
      local _, match = find(snapshot, path)
      return match.prefix_bytes
    end
    assert.equal(6, prefix_bytes "/a/b/c/d")
    assert.equal(2, prefix_bytes "/a/b")
    assert.equal(0, prefix_bytes "/x")
  end)

  it("prefers exact to regular expression to prefix", function()
    local snapshot = fixture.snapshot { { name = "prefix", path_prefix = "/a/b/c" },
      { name = "regex", path_regex = "^/a/" }, { name = "exact", path = "/a/b/c" } }
    finds(snapshot, { ["/a/b/c"] = "exact", ["/a/b/c/"] = "regex", ["/a"] = NOT_FOUND })
  end)

  it("lets priority override kind and length", function()
    local snapshot = fixture.snapshot { { name = "exact", path = "/a/b" },
      { name = "short", path_prefix = "/a", priority = 1 },
      { name = "last", path_regex = ".", priority = -1 }, { name = "all", path_prefix = "/" } }
    finds(snapshot, { ["/a/b"] = "short", ["/b"] = "all" })
  end)

  it("prefers more conditions, then the name", function()
    local snapshot = fixture.snapshot { { name = "b", path_prefix = "/" }, { name = "a", path_prefix = "/" },
      { name = "z-get", path_prefix = "/", methods = { "GET" } } }
    assert.equal("z-get", (find(snapshot, "/")))
    assert.equal("a", (find(snapshot, { path = "/", method = "POST" })))
  end)

  it("returns the captures of a regular expression", function()
    local snapshot = fixture.snapshot { { name = "v", path_regex = [[^/v(\d+)/(x)?(.*)$]] } }
    local name, match = find(snapshot, "/v12/tail")
    assert.equal("v", name)
    assert.equal(4, match.n_captures)
    assert.equal(0, match.captures[0].start)
    assert.equal(9, match.captures[0]["end"])
    assert.equal(2, match.captures[1].start)
    assert.equal(4, match.captures[1]["end"])
    assert.equal(0xffffffff, match.captures[2].start)
    assert.equal(5, match.captures[3].start)
    assert.equal(0, match.prefix_bytes)
  end)

  it("returns ten groups of a pattern with more", function()
    local snapshot = fixture.snapshot { { name = "many", path_regex = "^/" .. ("(.)"):rep(12) } }
    local _, match = find(snapshot, "/abcdefghijklm")
    assert.equal(10, match.n_captures)
    assert.equal(9, match.captures[9].start)
  end)

  it("has no captures when the pattern matched but the method did not", function()
    local snapshot = fixture.snapshot { { name = "v", path_regex = "^/(a)", methods = { "PUT" } },
      { name = "all", path_prefix = "/" } }
    local name, match = find(snapshot, "/a")
    assert.equal("all", name)
    assert.equal(0, match.n_captures)
  end)

  it("counts a pattern at its limit as no match", function()
    local snapshot = fixture.snapshot { { name = "evil", path_regex = "^/(a|aa)+$" },
      { name = "all", path_prefix = "/" } }
    local before = lib.vf_router_limit_hits(router)
    assert.equal("all", (find(snapshot, "/" .. ("a"):rep(3000) .. "!")))
    assert.equal(1, tonumber(lib.vf_router_limit_hits(router) - before))
  end)

  it("compiles patterns of a new snapshot and forgets those of an old one", function()
    local old = fixture.snapshot { { name = "old", path_regex = "^/old" } }
    local new = fixture.snapshot { { name = "new", path_regex = "^/new" } }
    assert.equal("old", (find(old, "/old")))
    lib.vf_router_sweep(router, new)
    assert.equal("new", (find(new, "/new")))
    assert.equal("old", (find(old, "/old")))
  end)
end)

describe("router, by host", function()
  local snapshot = fixture.snapshot {
    { name = "any", path_prefix = "/", hosts = { "*" } },
    { name = "wild", path_prefix = "/", hosts = { "*.example.com" } },
    { name = "exact", path_prefix = "/", hosts = { "a.example.com", "[::1]", "127.0.0.1" } },
    { name = "only-here", path = "/only", hosts = { "b.example.com" } },
  }

  local function host(name, path)
    return (find(snapshot, { host = name, path = path or "/" }))
  end

  it("tries the exact name, then one wildcard level, then any", function()
    assert.equal("exact", host "a.example.com")
    assert.equal("wild", host "c.example.com")
    assert.equal("any", host "d.c.example.com")
    assert.equal("any", host "example.com")
    assert.equal("any", host ".example.com")
    assert.equal("any", host "other")
    assert.equal("any", host "")
  end)

  it("falls back to the next class when no route of the host matches", function()
    assert.equal("only-here", host("b.example.com", "/only"))
    assert.equal("wild", host("b.example.com", "/"))
  end)

  it("ignores case, port and one trailing dot", function()
    assert.equal("exact", host "A.Example.COM")
    assert.equal("exact", host "a.example.com:8000")
    assert.equal("exact", host "a.example.com.")
    assert.equal("exact", host "a.example.com.:8000")
    assert.equal("any", host "a.example.com..")
    assert.equal("exact", host "127.0.0.1:80")
  end)

  it("keeps the brackets of an IP literal", function()
    assert.equal("exact", host "[::1]")
    assert.equal("exact", host "[::1]:8000")
    assert.equal("any", host "[::2]")
  end)

  it("survives names longer than DNS has", function()
    assert.equal("any", host(("a"):rep(5000) .. ".example.com"))
    assert.equal("wild", host(("a"):rep(240) .. ".example.com"))
  end)

  it("does not let priority jump over host classes", function()
    local own = fixture.snapshot { { name = "any", path_prefix = "/", priority = 100 },
      { name = "exact", path_prefix = "/", hosts = { "a" } } }
    assert.equal("exact", (find(own, { host = "a", path = "/" })))
  end)
end)

describe("router, by method", function()
  local snapshot = fixture.snapshot {
    { name = "read", path = "/a", methods = { "GET", "HEAD" } },
    { name = "write", path_prefix = "/a", methods = { "PUT" } },
    { name = "with-header", path = "/a", methods = { "DELETE" }, conditions = { { header = "x",
      test = "present" } } },
    { name = "fallback", path_prefix = "/b" },
    { name = "b", path = "/b", methods = { "GET" } },
  }

  it("tells extension methods by their names", function()
    local own = fixture.snapshot {
      { name = "brew", path = "/a", methods = { "GET", "BREW", "X-COPY" } },
      { name = "when", path = "/a", methods = { "WHEN" } },
      { name = "any", path_prefix = "/b" },
    }
    local function at(method, path) return (find(own, { path = path or "/a", method = method })) end
    assert.equal("brew", at "BREW")
    assert.equal("brew", at "X-COPY")
    assert.equal("when", at "WHEN")
    assert.equal(METHOD, at "X-COP")
    assert.equal(METHOD, at "brew")
    assert.equal("any", at("BREW", "/b"))
    local _, match = find(own, { path = "/a", method = "FLY" })
    local allowed = {}
    for i = 0, match.n_allow_more - 1 do
      allowed[i + 1] = ffi.string(match.allow_more[i].data, match.allow_more[i].len)
    end
    assert.same({ "BREW, X-COPY", "WHEN" }, allowed)
  end)

  it("answers 405 with the methods of all routes that match but for it", function()
    local outcome, match = find(snapshot, { path = "/a", method = "POST" })
    assert.equal(METHOD, outcome)
    assert.equal(2 ^ METHODS.GET + 2 ^ METHODS.HEAD + 2 ^ METHODS.PUT, tonumber(match.allow))
  end)

  it("goes on to routes that take the method", function()
    assert.equal("write", (find(snapshot, { path = "/a", method = "PUT" })))
    assert.equal("fallback", (find(snapshot, { path = "/b", method = "POST" })))
    assert.equal(NOT_FOUND, (find(snapshot, { path = "/c", method = "POST" })))
  end)
end)

describe("router, by query", function()
  local function with(condition)
    return fixture.snapshot { { name = "yes", path_prefix = "/", conditions = { condition } } }
  end

  local function matches(snapshot, query)
    return find(snapshot, { path = "/", query = query }) == "yes"
  end

  it("compares the first decoded value", function()
    local snapshot = with { query = "a b", value = "1/2" }
    for query, expected in pairs {
      ["a+b=1/2"] = true, ["a%20b=1%2f2"] = true, ["x=1&a+b=1%2F2"] = true, ["a+b=1/2&a+b=3"] = true,
      ["a+b=3&a+b=1/2"] = false, ["a+b=1/22"] = false, ["a+b=1/"] = false, [""] = false, ["a+b"] = false,
      ["&&a+b=1/2"] = true, ["ab=1/2"] = false,
    } do
      assert.equal(expected, matches(snapshot, query), query)
    end
  end)

  it("takes a broken escape for itself", function()
    assert.is_true(matches(with { query = "a", value = "%zz%" }, "a=%zz%"))
  end)

  it("tests patterns on the decoded value", function()
    local snapshot = with { query = "a", value = "^x y$", test = "regex" }
    assert.is_true(matches(snapshot, "a=x%20y"))
    assert.is_false(matches(snapshot, "a=xy"))
    assert.is_false(matches(snapshot, ""))
  end)

  it("tests presence and absence", function()
    assert.is_true(matches(with { query = "a", test = "present" }, "b=1&a"))
    assert.is_false(matches(with { query = "a", test = "present" }, "b=a"))
    assert.is_true(matches(with { query = "a", test = "absent" }, "b=1"))
    assert.is_false(matches(with { query = "a", test = "absent" }, "a="))
  end)
end)

describe("router, by header", function()
  local function matches(condition, ...)
    local snapshot = fixture.snapshot { { name = "yes", path_prefix = "/", conditions = { condition } } }
    return find(snapshot, { path = "/", headers = { ... } }) == "yes"
  end

  it("compares the first value to the byte", function()
    local condition = { header = "x-kind", value = "a" }
    assert.is_true(matches(condition, { "X-Kind", "a" }, { "X-Kind", "b" }))
    assert.is_false(matches(condition, { "X-Kind", "b" }, { "X-Kind", "a" }))
    assert.is_false(matches(condition, { "X-Kind", "A" }))
    assert.is_false(matches(condition, { "X-Other", "a" }))
    assert.is_true(matches({ header = "x-kind", value = "" }, { "x-kind", "" }))
    assert.is_false(matches({ header = "x-kind", value = "" }))
  end)

  it("tests patterns, presence and absence", function()
    assert.is_true(matches({ header = "x", value = "b+", test = "regex" }, { "x", "abbc" }))
    assert.is_false(matches({ header = "x", value = "^b", test = "regex" }, { "x", "abbc" }))
    assert.is_false(matches({ header = "x", value = ".*", test = "regex" }))
    assert.is_true(matches({ header = "x", test = "present" }, { "x", "" }))
    assert.is_false(matches({ header = "x", test = "present" }))
    assert.is_true(matches({ header = "x", test = "absent" }, { "y", "1" }))
    assert.is_false(matches({ header = "x", test = "absent" }, { "x", "" }))
  end)

  it("asks for all conditions, and falls back without them", function()
    local snapshot = fixture.snapshot {
      { name = "both", path_prefix = "/", conditions = { { header = "x", value = "1" },
        { query = "q", value = "2" } } },
      { name = "plain", path_prefix = "/" },
    }
    local function answer(value, query)
      return (find(snapshot, { path = "/", query = query, headers = { { "x", value } } }))
    end
    assert.equal("both", answer("1", "q=2"))
    assert.equal("plain", answer("1", "q=3"))
    assert.equal("plain", answer("2", "q=2"))
  end)

  it("takes a request without a lookup for one without fields", function()
    local snapshot = fixture.snapshot {
      { name = "present", path_prefix = "/", conditions = { { header = "x", test = "present" } } },
      { name = "absent", path_prefix = "/", conditions = { { header = "x", test = "absent" } } },
    }
    assert.equal("absent", (find(snapshot, "/")))
  end)
end)

describe("explain", function()
  local function explain(snapshot, wanted, room)
    local held = query_of(wanted)
    local rivals = ffi.new("struct vf_route_rival[?]", room or 20)
    if wanted.method == nil then held.asked.method = ANY_METHOD end
    local count = tonumber(lib.vf_route_explain(router, snapshot, held.asked, rivals, room or 20))
    local routes = fixture.records(snapshot, lib.VF_SNAP_ROUTES, "route")
    local lines = {}
    local verdicts = { [0] = "wins", "rank", "method", "condition" }
    for i = 0, math.min(count, room or 20) - 1 do
      lines[i + 1] = fixture.string(snapshot, routes[rivals[i].index].name) .. " " .. verdicts[rivals[i].verdict]
    end
    return lines, count
  end

  it("lists all routes of host and path in order, with what became of them", function()
    local snapshot = fixture.snapshot {
      { name = "any", path_prefix = "/" },
      { name = "elsewhere", path_prefix = "/x", hosts = { "a" } },
      { name = "prefix", path_prefix = "/p", hosts = { "a" } },
      { name = "regex", path_regex = "^/p/", hosts = { "a" } },
      { name = "other-regex", path_regex = "^/q/", hosts = { "a" } },
      { name = "put", path = "/p/1", hosts = { "a" }, methods = { "PUT" } },
      { name = "exact", path = "/p/1", hosts = { "a" }, conditions = { { header = "x", test = "present" },
        { query = "y" } } },
    }
    assert.same({ "exact condition", "put method", "regex wins", "prefix rank", "any rank" },
      (explain(snapshot, { host = "a", path = "/p/1", method = "GET" })))
    assert.same({ "exact condition", "put wins", "regex rank", "prefix rank", "any rank" },
      (explain(snapshot, { host = "a", path = "/p/1" })))
    assert.same({}, (explain(fixture.snapshot {}, { path = "/" })))
  end)

  it("says how much room it needs", function()
    local snapshot = fixture.snapshot { { name = "a", path_prefix = "/" }, { name = "b", path_prefix = "/" } }
    local lines, count = explain(snapshot, { path = "/" }, 1)
    assert.equal(1, #lines)
    assert.equal(2, count)
    assert.equal(2, select(2, explain(snapshot, { path = "/" }, 0)))
  end)
end)

describe("shadowed routes", function()
  --- Returns the name of the route that shadows the one called `name`, or nil.
  local function shadow(routes, name)
    local snapshot, by = fixture.snapshot(routes), ffi.new "uint32_t[1]"
    for i, route in ipairs(routes) do
      if route.name == name and lib.vf_route_is_shadowed(snapshot, i - 1, by) then return routes[by[0] + 1].name end
    end
  end

  it("have a better route with the same path and no more conditions", function()
    local get = { { query = "a", value = "1" } }
    assert.equal("a", shadow({ { name = "a", path = "/x" }, { name = "b", path = "/x" } }, "b"))
    assert.is_nil(shadow({ { name = "a", path = "/x" }, { name = "b", path = "/x" } }, "a"))
    assert.is_nil(shadow({ { name = "a", path = "/x", methods = { "GET" } }, { name = "b", path = "/x" } }, "b"))
    assert.equal("a", shadow({ { name = "a", path = "/x", methods = { "GET", "PUT" } },
      { name = "b", path = "/x", methods = { "PUT" } } }, "b"))
    assert.is_nil(shadow({ { name = "a", path = "/x", conditions = get }, { name = "b", path = "/x" } }, "b"))
    assert.equal("a", shadow({ { name = "a", path = "/x", conditions = get },
      { name = "b", path = "/x", conditions = get } }, "b"))
    assert.equal("a", shadow({ { name = "a", path_regex = "^/x" }, { name = "b", path_regex = "^/x" } }, "b"))
    assert.is_nil(shadow({ { name = "a", path_regex = "^/x" }, { name = "b", path_regex = "^/y" } }, "b"))
  end)

  it("lie below a prefix of higher priority", function()
    for _, below in ipairs { { name = "b", path = "/x/y" }, { name = "b", path_prefix = "/x" },
      { name = "b", path_prefix = "/x/y/z" } } do
      assert.equal("a", shadow({ { name = "a", path_prefix = "/x", priority = 1 }, below }, "b"))
      assert.is_nil(shadow({ { name = "a", path_prefix = "/x/q", priority = 1 }, below }, "b"))
    end
    assert.equal("a", shadow({ { name = "a", path_prefix = "/", priority = 1 },
      { name = "b", path_regex = "x" } }, "b"))
  end)

  it("are so on each of their hosts", function()
    local routes = { { name = "a", path = "/x", hosts = { "one" } }, { name = "c", path = "/x", hosts = { "two" } },
      { name = "z", path = "/x", hosts = { "one", "two" } }, { name = "zz", path = "/x", hosts = { "one",
        "three" } } }
    assert.is_truthy(shadow(routes, "z"))
    assert.is_nil(shadow(routes, "zz"))
    assert.is_nil(shadow({ { name = "a", path = "/x", hosts = { "*" } },
      { name = "b", path = "/x", hosts = { "h" } } }, "b"))
  end)

  it("are found among thousands in reasonable time", function()
    local routes = {}
    for i = 1, 3000 do
      routes[i] = { name = ("r%05d"):format(i), path_prefix = "/", conditions = { { header = "x",
        value = tostring(i) } } }
    end
    local snapshot, by, start = fixture.snapshot(routes), ffi.new "uint32_t[1]", os.clock()
    for i = 0, 2999 do assert.is_false(lib.vf_route_is_shadowed(snapshot, i, by)) end
    assert.is_true(os.clock() - start < (os.getenv "VF_SAN" and 10 or 1))
  end)
end)

describe("regex check", function()
  it("says what is wrong and where", function()
    local message = ffi.new "char[200]"
    assert.equal(0, lib.vf_regex_check("^/v(\\d+)$", 9, message, 200))
    assert.equal(-22, lib.vf_regex_check("^/v(", 4, message, 200))
    assert.equal("missing closing parenthesis at byte 4", ffi.string(message))
  end)
end)
