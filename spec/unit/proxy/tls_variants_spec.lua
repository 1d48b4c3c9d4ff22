local ffi = require "ffi"
require "support.library"
local pki = require "support.pki"
local snapshots = require "unit.snapshot.fixture"
local loop = require "support.loop"
local tempdir = require "support.tempdir"
local x509 = require "veloflux.x509"

ffi.cdef [[
struct vf_tls_records;
struct vf_tls_variant;
struct vf_tls_variants;
struct vf_net;
struct vf_tls_parts { struct vf_str authorities, chain, key; };
int vf_tls_records_new(struct vf_net *net, struct vf_tls_records **out);
void vf_tls_records_free(struct vf_tls_records *records);
int vf_tls_variants_new(struct vf_tls_records *records, struct vf_tls_variants **out);
void vf_tls_variants_free(struct vf_tls_variants *variants);
int vf_tls_variants_find(struct vf_tls_variants *variants, const struct vf_snapshot *snapshot,
                         const struct vf_snap_upstream_tls *tls, const struct vf_tls_parts *parts,
                         struct vf_tls_variant **out);
uint64_t vf_tls_variant_id(const struct vf_tls_variant *variant);
]]
local lib, NONE = snapshots.lib, snapshots.NONE
local UV_EINVAL = -22

describe("variants of the TLS to backends", function()
  local records, variants, first, second

  setup(loop.spec(function()
    local dir = tempdir.new()
    local function identity(name)
      local made = pki.self_signed(dir, name)
      return x509.identity(pki.read(made.cert), pki.read(made.key))
    end
    first, second = identity "first", identity "second"
  end))

  before_each(function()
    local out = ffi.new "struct vf_tls_records *[1]"
    assert.equal(0, lib.vf_tls_records_new(nil, out))
    records = out[0]
    local made = ffi.new "struct vf_tls_variants *[1]"
    assert.equal(0, lib.vf_tls_variants_new(records, made))
    variants = made[0]
  end)
  after_each(function()
    lib.vf_tls_variants_free(variants)
    lib.vf_tls_records_free(records)
  end)

  local function find(fields, parts)
    local tls = ffi.new("struct vf_snap_upstream_tls", { id = 1, verify = 1, depth = 6, trust = NONE, identity = NONE,
      min_version = 12 })
    for name, value in pairs(fields or {}) do tls[name] = value end
    local given = ffi.new "struct vf_tls_parts"
    for name, text in pairs(parts or {}) do given[name].data, given[name].len = text, #text end
    local out = ffi.new "struct vf_tls_variant *[1]"
    local rc = lib.vf_tls_variants_find(variants, nil, tls, given, out)
    if rc ~= 0 then return nil, rc end
    return tonumber(lib.vf_tls_variant_id(out[0]))
  end

  it("are found again by all that they are made of", function()
    local asked = {
      { {} }, { { id = 2 } }, { { verify = 0 } }, { { depth = 0 } },
      { {}, { authorities = first.der } }, { {}, { authorities = second.der } },
      { {}, { chain = first.der, key = first.key } }, { {}, { chain = second.der, key = second.key } },
      { {}, { authorities = first.der, chain = first.der, key = first.key } },
      { { verify = 0 }, { authorities = first.der } },
    }
    for round = 1, 2 do
      for id, each in ipairs(asked) do assert.equal(id, find(each[1], each[2]), round) end
    end
  end)

  it("are bounded, those used last being kept, and no number is used again", function()
    local MOST = 256
    for depth = 1, MOST do assert.equal(depth, find { depth = depth }) end
    assert.equal(1, find { depth = 1 })
    assert.equal(MOST + 1, find { depth = MOST + 1 })
    assert.equal(1, find { depth = 1 })
    assert.equal(3, find { depth = 3 })
    assert.equal(MOST + 2, find { depth = 2 })
  end)

  it("need parts that can be read", function()
    assert.same({ nil, UV_EINVAL }, { find({}, { authorities = "none" }) })
    assert.same({ nil, UV_EINVAL }, { find({}, { chain = "none", key = first.key }) })
    assert.same({ nil, UV_EINVAL }, { find({}, { chain = first.der, key = "none" }) })
    assert.equal(1, find({}, { chain = first.der, key = first.key }))
  end)
end)
