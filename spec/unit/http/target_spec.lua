local ffi = require "ffi"
local lib = ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so")

ffi.cdef [[
struct vf_str { const char *data; size_t len; };
struct vf_target {
  uint32_t form;
  struct vf_str scheme, authority, path, query;
  bool has_query;
};
struct vf_path { struct vf_str text; bool had_dots, is_changed; };
struct vf_target_rule { const char *reason, *section; };
int vf_target_parse(struct vf_str raw, int method, struct vf_target *out, size_t *fault_at);
int vf_path_normalise(struct vf_str raw, char *buffer, struct vf_path *out, size_t *fault_at);
struct vf_target_rule vf_target_rule(int fault);
bool vf_host_is_valid(struct vf_str host);
void vf_host_split(struct vf_str host, struct vf_str *name, int *port);
]]

local GET, CONNECT, OPTIONS = 1, 5, 6

--- A view of `text`; the second value keeps the bytes, placed so that reading beyond them is found.
local function view(text)
  local bytes = ffi.new("char[?]", #text)
  ffi.copy(bytes, text, #text)
  return ffi.new("struct vf_str", { bytes, #text }), bytes
end

local function str(value)
  return ffi.string(value.data, value.len)
end

local function reason(rc)
  return ffi.string(lib.vf_target_rule(rc).reason)
end

--- Parses a target. Returns its parts as a table; or nil, the reason and the offset.
local function parse(text, method)
  local raw, bytes = view(text)
  local out, at = ffi.new "struct vf_target", ffi.new("size_t[1]", 999)
  local rc = lib.vf_target_parse(raw, method or GET, out, at)
  if rc ~= 0 then return nil, reason(rc), tonumber(at[0]) end
  local _ = bytes
  return { form = out.form, scheme = str(out.scheme), authority = str(out.authority), path = str(out.path),
    query = out.has_query and str(out.query) or nil }
end

--- Normalises a path. Returns it and the flags; or nil, the reason and the offset.
local function normalise(text)
  local raw, bytes = view(text)
  local out, at = ffi.new "struct vf_path", ffi.new("size_t[1]", 999)
  local buffer = ffi.new("char[?]", #text)
  local rc = lib.vf_path_normalise(raw, buffer, out, at)
  if rc ~= 0 then return nil, reason(rc), tonumber(at[0]) end
  local _ = bytes
  return str(out.text), out.had_dots, out.is_changed
end

describe("target", function()
  it("in origin form has path and query", function()
    assert.same({ form = 0, scheme = "", authority = "", path = "/a/b" }, parse "/a/b")
    assert.same({ form = 0, scheme = "", authority = "", path = "/", query = "" }, parse "/?")
    assert.same({ form = 0, scheme = "", authority = "", path = "/a", query = "x=/b?c=%" }, parse "/a?x=/b?c=%")
    assert.equal("//a", parse("//a").path)
  end)

  it("in absolute form has scheme and authority, too", function()
    assert.same({ form = 1, scheme = "http", authority = "a.example.com:80", path = "/x", query = "y" },
      parse "http://a.example.com:80/x?y")
    assert.same({ form = 1, scheme = "HTTPS", authority = "[::1]", path = "/" }, parse "HTTPS://[::1]")
    assert.same({ form = 1, scheme = "http", authority = "a", path = "/", query = "q" }, parse "http://a?q")
  end)

  it("of OPTIONS in absolute form without path is the asterisk (RFC 9112 section 3.2.4)", function()
    assert.equal("*", parse("http://a", OPTIONS).path)
    assert.equal("/", parse("http://a?q", OPTIONS).path)
    assert.equal("/", parse("http://a/", OPTIONS).path)
  end)

  it("in authority form belongs to CONNECT", function()
    assert.same({ form = 2, scheme = "", authority = "a.example.com:443", path = "" }, parse("a.example.com:443",
      CONNECT))
    assert.equal("[::1]:443", parse("[::1]:443", CONNECT).authority)
    for _, text in ipairs { "a.example.com", "a.example.com:", "/", "http://a:80/", ":443", "u@a:443", "a:b",
      "a:65536" } do
      local _, why = parse(text, CONNECT)
      assert.equal("target_bad_authority", why, text)
    end
    assert.same({ nil, "target_bad_form", 0 }, { parse("a.example.com:443", GET) })
  end)

  it("in asterisk form belongs to OPTIONS", function()
    assert.same({ form = 3, scheme = "", authority = "", path = "*" }, parse("*", OPTIONS))
    assert.same({ nil, "target_bad_form", 0 }, { parse("*", GET) })
    assert.same({ nil, "target_bad_form", 0 }, { parse("*x", OPTIONS) })
  end)

  it("is refused with the place of what is wrong", function()
    for text, expected in pairs {
      [""] = { "target_empty", 0 },
      ["a/b"] = { "target_bad_form", 0 },
      ["http:/a/"] = { "target_bad_form", 0 },
      ["1http://a/"] = { "target_bad_form", 0 },
      ["://a/"] = { "target_bad_form", 0 },
      ["http:"] = { "target_bad_form", 0 },
      ["/a?b#c"] = { "target_bad_byte", 4 },
      ["/a?b c"] = { "target_bad_byte", 4 },
      ["/a?b\0"] = { "target_bad_byte", 4 },
      ["/a?\127"] = { "target_bad_byte", 3 },
      ["http:///a"] = { "target_bad_authority", 7 },
      ["http://u:p@a/"] = { "target_bad_authority", 7 },
      ["http://a:70000/"] = { "target_bad_authority", 7 },
      ["http://a#f"] = { "target_bad_authority", 7 },
      ["http://a\\b/"] = { "target_bad_authority", 7 },
    } do
      local parts, why, at = parse(text)
      assert.is_nil(parts, text)
      assert.same(expected, { why, at }, text)
    end
  end)
end)

describe("path", function()
  it("in normal form is taken as it is", function()
    for _, path in ipairs { "/", "/a/b", "/a//b//", "*", "/a.b/..c/.d/e./...", "/%2", "/\195\164", '/|"<>{}^`[]',
      "/;a=b,c",
      "/%C3%A4%20" } do
      local text, had_dots, is_changed = normalise(path)
      if path == "/%2" then
        assert.is_nil(text)
      else
        assert.same({ path, false, false }, { text, had_dots, is_changed })
      end
    end
  end)

  it("has unreserved escapes decoded and the others in upper case", function()
    assert.same({ "/aZ0-._~", false, true }, { normalise "/%61%5A%30%2d%2e%5f%7E" })
    assert.same({ "/%C3%A4%3F%25", false, true }, { normalise "/%c3%a4%3f%25" })
    assert.same({ "/%25" .. "2F", false, false }, { normalise "/%252F" }) -- decoded once only
  end)

  it("loses dot segments, encoded or not", function()
    for raw, expected in pairs {
      ["/a/./b"] = "/a/b", ["/a/../b"] = "/b", ["/a/b/.."] = "/a/", ["/a/b/."] = "/a/b/", ["/."] = "/", ["/./"] = "/",
      ["/a/.."] = "/", ["/a/../"] = "/", ["/a/%2e%2E/b"] = "/b", ["/a/.%2e/b"] = "/b", ["/a/%2e/b"] = "/a/b",
      ["/a//../b"] = "/a/b", ["/a/b/c/./../../g"] = "/a/g", ["/mid/content=5/../6"] = "/mid/6",
        ["/a/b/../../c"] = "/c",
      ["//.."] = "/", ["/a/.//b"] = "/a//b",
    } do
      assert.same({ expected, true, true }, { normalise(raw) }, raw)
    end
  end)

  it("is refused where two parsers could disagree", function()
    for raw, expected in pairs {
      ["/a%2Fb"] = { "target_escaped_slash", 2 },
      ["/a%2fb"] = { "target_escaped_slash", 2 },
      ["/%5C"] = { "target_escaped_slash", 1 },
      ["/a\\b"] = { "target_bad_byte", 2 },
      ["/a/%00"] = { "target_escaped_nul", 3 },
      ["/%"] = { "target_bad_escape", 1 },
      ["/%4"] = { "target_bad_escape", 1 },
      ["/%4x"] = { "target_bad_escape", 1 },
      ["/%x4/.."] = { "target_bad_escape", 1 },
      ["/a b"] = { "target_bad_byte", 2 },
      ["/a\0"] = { "target_bad_byte", 2 },
      ["/a\r\n"] = { "target_bad_byte", 2 },
      ["/\127"] = { "target_bad_byte", 1 },
      ["/a#b"] = { "target_bad_byte", 2 },
      ["/.."] = { "target_above_root", 1 },
      ["/../a"] = { "target_above_root", 1 },
      ["/a/../../b"] = { "target_above_root", 6 },
      ["/%2e%2e/"] = { "target_above_root", 1 },
      ["/a/./b%"] = { "target_bad_escape", 6 },
      [""] = { "target_empty", 0 },
      ["a"] = { "target_bad_form", 0 },
    } do
      local text, why, at = normalise(raw)
      assert.is_nil(text, raw)
      assert.same(expected, { why, at }, raw)
    end
  end)

  it("in normal form stays so", function()
    local alphabet = { "/", "/", ".", "..", "a", "%2e", "%41", "%C3", "b", "//", "%7E" }
    math.randomseed(20261123)
    for _ = 1, 5000 do
      local parts = { "/" }
      for i = 2, math.random(2, 12) do parts[i] = alphabet[math.random(#alphabet)] end
      local text = normalise(table.concat(parts))
      if text then assert.same({ text, false, false }, { normalise(text) }) end
    end
  end)

  it("names the rule that each fault breaks", function()
    for fault = 1, 8 do
      local rule = lib.vf_target_rule(fault)
      assert.is_truthy(ffi.string(rule.reason):match "^target_%l")
      assert.is_truthy(ffi.string(rule.section):match "^RFC %d+ %d")
    end
    assert.equal("target_unknown", reason(-100))
  end)
end)

describe("host", function()
  local function is_valid(text)
    local raw, bytes = view(text)
    local valid = lib.vf_host_is_valid(raw)
    local _ = bytes
    return valid
  end

  local function split(text)
    local raw, bytes = view(text)
    local name, port = ffi.new "struct vf_str", ffi.new "int[1]"
    lib.vf_host_split(raw, name, port)
    local _ = bytes
    return str(name), port[0]
  end

  it("is a name, an address or an IP literal, with a port or not", function()
    for _, host in ipairs { "a", "a.example.com", "A.Example.COM.", "a_b", "127.0.0.1", "a:80", "a:", "a:0",
      "a:65535", "[::1]",
      "[::1]:80", "[2001:db8::1]:", "[::ffff:1.2.3.4]", "a-b~c", "xn--bcher-kva.example", "a%C3%A4",
        "a!$&'()*+,;=b" } do
      assert.is_true(is_valid(host), host)
    end
  end)

  it("is nothing else", function()
    for _, host in ipairs { "", ":80", "a:65536", "a:-1", "a:8x", "a:80:80", "::1", "u@a", "a/b", "a?b", "a#b",
      "a b", "a\tb",
      " a", "a ", "a\0", "a\\b", '"a"', "<a>", "[::1", "::1]", "[]", "[:]", "[::1]x", "[::1%25eth0]", "[1.2.3.4]",
        "[v1.a]",
      "a%", "a%2", "a%zz", "a%00", "a%0a", "\195\164", "[" .. ("1"):rep(100) .. "]", "[::1\0]" } do
      assert.is_false(is_valid(host), host)
    end
  end)

  it("is split into name and port", function()
    for host, expected in pairs { ["a"] = { "a", -1 }, ["a:80"] = { "a", 80 }, ["a:"] = { "a", -1 },
      ["a.:80"] = { "a", 80 },
      ["[::1]:80"] = { "[::1]", 80 }, ["[::1]"] = { "[::1]", -1 }, ["."] = { ".", -1 }, ["a:00080"] = { "a", 80 } } do
      assert.same(expected, { split(host) }, host)
    end
  end)
end)
