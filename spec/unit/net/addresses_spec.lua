--- Whose turn it is among the addresses of a name.
local ffi = require "ffi"
local library = require "support.library"

ffi.cdef [[
struct addresses_value { uint16_t family, port_net; uint8_t ipv4[4]; uint8_t ipv6[16]; uint32_t scope; };
struct addresses { void *list; size_t n; };
int vf_addresses_set(struct addresses *, const struct addresses_value *values, size_t n);
unsigned vf_addresses_get(const struct addresses *, size_t index, uint16_t port, void *out);
size_t vf_addresses_take(const struct addresses *, size_t *cursor, uint64_t now_ms);
uint32_t vf_addresses_tag(const void *);
void vf_addresses_avoid(struct addresses *, uint32_t tag, uint64_t until_ms);
bool vf_addresses_has_good(const struct addresses *, uint64_t now_ms);
void vf_addresses_deinit(struct addresses *);
]]

local INET, INET6 = 2, 10

describe("the addresses of a name", function()
  local addresses, cursor

  before_each(function()
    addresses, cursor = ffi.new "struct addresses", ffi.new "size_t[1]"
  end)
  after_each(function() library.vf_addresses_deinit(addresses) end)

  --- Sets them: a number is an IPv4 address that ends in it, a string an IPv6 one. Returns what that returns.
  local function set(list)
    local values = ffi.new("struct addresses_value[?]", #list)
    for i, last in ipairs(list) do
      if type(last) == "number" then
        values[i - 1].family, values[i - 1].ipv4[0], values[i - 1].ipv4[3] = INET, 10, last
      else
        values[i - 1].family, values[i - 1].ipv6[15] = INET6, tonumber(last)
      end
    end
    return library.vf_addresses_set(addresses, values, #list)
  end

  local function get(index)
    local out = ffi.new "uint8_t[128]"
    local len = library.vf_addresses_get(addresses, index, 8080, out)
    return ffi.cast("struct addresses_value *", out), len, out
  end

  --- Takes `n` in turn at `now_ms`; returns how they end.
  local function take(n, now_ms)
    local ends = {}
    for i = 1, n do
      local value = get(library.vf_addresses_take(addresses, cursor, now_ms))
      ends[i] = value.family == INET and value.ipv4[3] or tostring(value.ipv6[15])
    end
    return ends
  end

  local function avoid(index, until_ms)
    local _, _, raw = get(index)
    library.vf_addresses_avoid(addresses, library.vf_addresses_tag(raw), until_ms)
  end

  it("have the port that is asked for, and the length of their family", function()
    set { 1, "2" }
    local value, len = get(0)
    assert.same({ INET, 0x901f, 16 }, { value.family, value.port_net, len })
    value, len = get(1)
    assert.same({ INET6, 0x901f, 28 }, { value.family, value.port_net, len })
  end)

  it("take turns within the family of the first", function()
    set { 1, 2, 3, "4" }
    assert.same({ 1, 2, 3, 1, 2, 3 }, take(6, 0))
  end)

  it("are left out for a while when they failed, and then all have their turns again", function()
    set { 1, 2, "3" }
    avoid(0, 500)
    assert.same({ 2, 2 }, take(2, 499))
    avoid(1, 600)
    assert.same({ "3", "3" }, take(2, 499))
    assert.same({ 1, 1 }, take(2, 599))
  end)

  it("are given all the same when all failed", function()
    set { 1, 2 }
    avoid(0, 500)
    avoid(1, 500)
    assert.is_false(library.vf_addresses_has_good(addresses, 499))
    assert.same({ 1, 2, 1 }, take(3, 499))
    assert.is_true(library.vf_addresses_has_good(addresses, 500))
  end)

  it("keep what is known of them while answers are the same", function()
    assert.equal(1, set { 1, 2 })
    avoid(0, 500)
    assert.equal(0, set { 1, 2 })
    assert.same({ 2, 2 }, take(2, 0))
    assert.equal(1, set { 1, 3 })
    cursor[0] = 0
    assert.same({ 1, 3 }, take(2, 0))
  end)

  it("are none at first", function()
    assert.is_false(library.vf_addresses_has_good(addresses, 0))
    assert.equal(0, tonumber(addresses.n))
  end)
end)
