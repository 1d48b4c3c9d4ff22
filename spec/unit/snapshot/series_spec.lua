--- The records of plugins' metrics in a block: what a writer appends, what readers find, what the next process gets.
local ffi = require "ffi"
local lib = require "support.library"

ffi.cdef [[
struct vf_series_record {
  uint32_t at, flags, family, n_values;
  double *values;
  const char *text;
  size_t text_len;
};
struct vf_series;
void vf_series_begin(struct vf_series *series, uint64_t incarnation);
int vf_series_add(struct vf_series *series, uint32_t flags, uint32_t family, uint32_t n_values, const char *text,
                  size_t text_len, struct vf_series_record *out);
int vf_series_next(struct vf_series *series, struct vf_series_record *out);
]]

local BYTES, FAMILY, GAUGE, NO_SPACE = 512 * 1024, 1, 2, -28

local function new()
  local memory = ffi.new("uint64_t[?]", BYTES / 8)
  return ffi.cast("struct vf_series *", memory), memory
end

local function add(series, flags, family, n, text)
  local record = ffi.new "struct vf_series_record"
  local rc = lib.vf_series_add(series, flags, family, n, text, #text, record)
  return rc == 0 and record or nil, rc
end

local function all(series)
  local list, record = {}, ffi.new "struct vf_series_record"
  while lib.vf_series_next(series, record) == 1 do
    list[#list + 1] = { flags = record.flags, family = record.family, text = ffi.string(record.text, record.text_len),
      n = record.n_values, first = record.n_values > 0 and record.values[0] or nil }
  end
  return list
end

describe("series", function()
  it("are appended and read", function()
    local series, memory = new()
    assert.same({}, all(series))
    local family = assert(add(series, FAMILY, 0, 0, "requests"))
    assert.equal(1, family.at)
    local one = assert(add(series, 0, family.at, 1, '{a="1"}'))
    local buckets = assert(add(series, 0, family.at, 5, ""))
    one.values[0], buckets.values[0] = 7, 8
    assert.same({ { flags = FAMILY, family = 0, text = "requests", n = 0 },
      { flags = 0, family = 1, text = '{a="1"}', n = 1, first = 7 },
      { flags = 0, family = 1, text = "", n = 5, first = 8 } }, all(series))
    assert.is_true(memory ~= nil)
  end)

  it("are refused when there is no room, and stay readable", function()
    local series = new()
    local n = 0
    local rc
    repeat
      n = n + 1
      rc = select(2, add(series, 0, 1, 20, ("x"):rep(100)))
    until rc ~= 0
    assert.equal(NO_SPACE, rc)
    assert.equal(n - 1, #all(series))
    assert.equal(NO_SPACE, (select(2, add(series, 0, 1, 2 ^ 31, "x"))))
    assert.is_true(add(series, 0, 1, 0, "") ~= nil)
  end)

  it("outlive their process, but for gauges", function()
    local series = new()
    lib.vf_series_begin(series, 7)
    local counter, gauge = assert(add(series, 0, 1, 1, "c")), assert(add(series, GAUGE, 1, 2, "g"))
    counter.values[0], gauge.values[0], gauge.values[1] = 1, 2, 3
    lib.vf_series_begin(series, 7)
    assert.equal(2, all(series)[2].first)
    lib.vf_series_begin(series, 8)
    assert.same({ 1, 0 }, { all(series)[1].first, all(series)[2].first })
    assert.equal(0, gauge.values[1])
  end)

  it("are read with care", function()
    math.randomseed(1)
    for _ = 1, 200 do
      local series, memory = new()
      for i = 1, 5 do add(series, 0, 1, i, ("text"):rep(i)) end
      for _ = 1, 4 do memory[math.random(0, 40)] = math.random(0, 2 ^ 40) end
      if memory[0] > 1000 then memory[0] = 1000000 end
      assert.is_true(#all(series) < 100)
    end
  end)
end)
