--- What libcrypto does in mbedTLS's place: mbedTLS's own tests of it, published vectors, and that each side takes
-- what the other has made.
local ffi = require "ffi"
local callbacks = require "support.callbacks"
local lib = callbacks.outside(require "support.library")

if os.getenv "TLS_ACCEL" == "0" then
  describe("the primitives of mbedTLS", function() it("are its own in this build", function()
    assert.is_false(pcall(function() return lib.vf_curve_generate end))
  end) end)
  return
end

ffi.cdef [[
int mbedtls_gcm_self_test(int);
int mbedtls_sha256_self_test(int);
int mbedtls_sha512_self_test(int);
int mbedtls_rsa_self_test(int);

typedef struct { void *a; size_t b; void *c; unsigned char d[32]; unsigned e; } accel_gcm;
void mbedtls_gcm_init(accel_gcm *);
void mbedtls_gcm_free(accel_gcm *);
int mbedtls_gcm_setkey(accel_gcm *, int, const char *, unsigned);
int mbedtls_gcm_crypt_and_tag(accel_gcm *, int, size_t, const char *, size_t, const char *, size_t, const char *,
  char *, size_t, char *);
int mbedtls_gcm_auth_decrypt(accel_gcm *, size_t, const char *, size_t, const char *, size_t, const char *, size_t,
  const char *, char *);
int mbedtls_gcm_starts(accel_gcm *, int, const char *, size_t);
int mbedtls_gcm_update_ad(accel_gcm *, const char *, size_t);
int mbedtls_gcm_update(accel_gcm *, const char *, size_t, char *, size_t, size_t *);
int mbedtls_gcm_finish(accel_gcm *, char *, size_t, size_t *, char *, size_t);

struct vf_curve { int id, nid; uint16_t bits; uint8_t bytes; bool is_x25519; };
const struct vf_curve *vf_curve_of_id(int);
bool vf_curve_generate(const struct vf_curve *, char *);
size_t vf_curve_public(const struct vf_curve *, const char *, char *);
bool vf_curve_agree(const struct vf_curve *, const char *, const char *, size_t, char *);

typedef struct { char opaque[192]; } accel_group;
typedef struct { char opaque[48]; } accel_point;
typedef struct { char opaque[16]; } accel_mpi;
void mbedtls_ecp_group_init(accel_group *);
void mbedtls_ecp_group_free(accel_group *);
int mbedtls_ecp_group_load(accel_group *, int);
void mbedtls_ecp_point_init(accel_point *);
void mbedtls_ecp_point_free(accel_point *);
int mbedtls_ecp_point_read_binary(accel_group *, accel_point *, const char *, size_t);
int mbedtls_ecp_point_write_binary(accel_group *, const accel_point *, int, size_t *, char *, size_t);
typedef int accel_random(void *, unsigned char *, size_t);
int mbedtls_ecp_mul(accel_group *, accel_point *, const accel_mpi *, const accel_point *, accel_random *, void *);
void mbedtls_mpi_init(accel_mpi *);
void mbedtls_mpi_free(accel_mpi *);
int mbedtls_mpi_read_binary(accel_mpi *, const char *, size_t);
int mbedtls_mpi_read_binary_le(accel_mpi *, const char *, size_t);
int mbedtls_mpi_write_binary(const accel_mpi *, char *, size_t);
int mbedtls_mpi_write_binary_le(const accel_mpi *, char *, size_t);
int mbedtls_ecdh_gen_public(accel_group *, accel_mpi *, accel_point *, accel_random *, void *);
int mbedtls_ecdh_compute_shared(accel_group *, accel_mpi *, const accel_point *, const accel_mpi *, accel_random *,
  void *);

typedef struct { void *info, *context; } accel_pk;
void mbedtls_pk_init(accel_pk *);
void mbedtls_pk_free(accel_pk *);
int mbedtls_pk_parse_key(accel_pk *, const char *, size_t, const char *, size_t, accel_random *, void *);
int mbedtls_pk_sign(accel_pk *, int, const char *, size_t, char *, size_t, size_t *, accel_random *, void *);
int mbedtls_pk_sign_ext(int, accel_pk *, int, const char *, size_t, char *, size_t, size_t *, accel_random *, void *);
int mbedtls_pk_verify_ext(int, const void *, accel_pk *, int, const char *, size_t, const char *, size_t);
int mbedtls_pk_verify(accel_pk *, int, const char *, size_t, const char *, size_t);
int __wrap_mbedtls_pk_sign(accel_pk *, int, const char *, size_t, char *, size_t, size_t *, accel_random *, void *);
int __wrap_mbedtls_pk_sign_ext(int, accel_pk *, int, const char *, size_t, char *, size_t, size_t *, accel_random *,
  void *);
int __wrap_mbedtls_pk_verify_ext(int, const void *, accel_pk *, int, const char *, size_t, const char *, size_t);
int __wrap_mbedtls_pk_verify(accel_pk *, int, const char *, size_t, const char *, size_t);
void vf_accel_prepare(const accel_pk *);
void vf_accel_forget(const accel_pk *);
const void *vf_accel_key(const accel_pk *);
]]

local ENCRYPT, DECRYPT, AES, AUTH_FAILED = 1, 0, 2, -0x12
local CURVES = { ["P-256"] = 3, ["P-384"] = 4, ["P-521"] = 5, X25519 = 9 }
local RSA, ECKEY, ECDSA, PSS = 1, 2, 4, 6
local HASHES = { [5] = 20, [9] = 32, [10] = 48, [11] = 64 } -- SHA-1, -256, -384, -512
local VERIFY_FAILED = -0x4E00

local function unhex(text) return (text:gsub("%s", ""):gsub("..", function(pair)
  return string.char(tonumber(pair, 16))
end)) end

local function hex(text) return (text:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end

local function bytes(n) return ffi.new("char[?]", math.max(n, 1)) end

local function noise(n)
  local out = {}
  for i = 1, n do out[i] = string.char(math.random(0, 255)) end
  return table.concat(out)
end

--- The kernel's random numbers for mbedTLS; its memory stays.
local random = callbacks.new("accel_random *", function(_, out, len)
  ffi.copy(out, noise(tonumber(len)), len)
  return 0
end)

describe("mbedTLS's own tests of what is replaced", function()
  for _, name in ipairs { "gcm", "sha256", "sha512", "rsa" } do
    it("pass: " .. name, function() assert.equal(0, lib["mbedtls_" .. name .. "_self_test"](0)) end)
  end
end)

describe("AES-GCM", function()
  local context

  local function set(bits, key) return lib.mbedtls_gcm_setkey(context, AES, key, bits) end

  local function seal(nonce, extra, text, tag_len)
    local out, tag = bytes(#text), bytes(16)
    local rc = lib.mbedtls_gcm_crypt_and_tag(context, ENCRYPT, #text, nonce, #nonce, extra, #extra, text, out,
      tag_len or 16, tag)
    return rc, ffi.string(out, #text), ffi.string(tag, tag_len or 16)
  end

  local function open(nonce, extra, sealed, tag)
    local out = bytes(#sealed)
    local rc = lib.mbedtls_gcm_auth_decrypt(context, #sealed, nonce, #nonce, extra, #extra, tag, #tag, sealed, out)
    return rc, ffi.string(out, #sealed)
  end

  --- The same in pieces of at most `size`. Returns the text and its tag.
  local function in_pieces(mode, nonce, extra, text, size)
    local n, out, tag = ffi.new "size_t[1]", {}, bytes(16)
    assert.equal(0, lib.mbedtls_gcm_starts(context, mode, nonce, #nonce))
    for i = 1, #extra, size do
      local piece = extra:sub(i, i + size - 1)
      assert.equal(0, lib.mbedtls_gcm_update_ad(context, piece, #piece))
    end
    for i = 1, #text, size do
      local piece = text:sub(i, i + size - 1)
      local buffer = bytes(#piece)
      assert.equal(0, lib.mbedtls_gcm_update(context, piece, #piece, buffer, #piece, n))
      out[#out + 1] = ffi.string(buffer, n[0])
    end
    assert.equal(0, lib.mbedtls_gcm_finish(context, nil, 0, n, tag, 16))
    return table.concat(out), ffi.string(tag, 16)
  end

  before_each(function()
    math.randomseed(7)
    context = ffi.new "accel_gcm"
    lib.mbedtls_gcm_init(context)
  end)
  after_each(function() lib.mbedtls_gcm_free(context) end)

  it("gives the same for a message as a whole and in pieces, in both directions", function()
    for _, bits in ipairs { 128, 192, 256 } do
      assert.equal(0, set(bits, noise(bits / 8)))
      for _, len in ipairs { 0, 1, 15, 16, 17, 255, 16384 } do
        for _, nonce_len in ipairs { 12, 8, 12, 60 } do
          local nonce, extra, text = noise(nonce_len), noise(len % 29), noise(len)
          local rc, sealed, tag = seal(nonce, extra, text)
          assert.equal(0, rc)
          assert.same({ sealed, tag }, { in_pieces(ENCRYPT, nonce, extra, text, 7 + math.floor(len / 9)) })
          assert.same({ text, tag }, { in_pieces(DECRYPT, nonce, extra, sealed, 5 + math.floor(len / 7)) })
          assert.same({ 0, text }, { open(nonce, extra, sealed, tag) })
        end
      end
    end
  end)

  it("works in place, and with tags of 4 to 16 bytes", function()
    assert.equal(0, set(128, noise(16)))
    local nonce, text = noise(12), noise(100)
    local _, sealed, whole = seal(nonce, "", text)
    local buffer, tag = bytes(100), bytes(16)
    ffi.copy(buffer, text, 100)
    assert.equal(0, lib.mbedtls_gcm_crypt_and_tag(context, ENCRYPT, 100, nonce, 12, "", 0, buffer, buffer, 16, tag))
    assert.equal(sealed, ffi.string(buffer, 100))
    assert.equal(0, lib.mbedtls_gcm_auth_decrypt(context, 100, nonce, 12, "", 0, tag, 16, buffer, buffer))
    assert.equal(text, ffi.string(buffer, 100))
    for len = 4, 16 do
      local rc, _, short = seal(nonce, "", text, len)
      assert.same({ 0, whole:sub(1, len) }, { rc, short })
      assert.equal(0, (open(nonce, "", sealed, short)))
    end
  end)

  it("opens nothing that was touched, and shows none of it", function()
    assert.equal(0, set(256, noise(32)))
    local nonce, extra, text = noise(12), noise(13), noise(50)
    local _, sealed, tag = seal(nonce, extra, text)
    local function flip(s, i) return s:sub(1, i - 1) .. string.char((s:byte(i) + 1) % 256) .. s:sub(i + 1) end
    local nothing = ("\0"):rep(50)
    for i = 1, 50, 7 do assert.same({ AUTH_FAILED, nothing }, { open(nonce, extra, flip(sealed, i), tag) }) end
    for i = 1, 16 do assert.same({ AUTH_FAILED, nothing }, { open(nonce, extra, sealed, flip(tag, i)) }) end
    assert.same({ AUTH_FAILED, nothing }, { open(flip(nonce, 3), extra, sealed, tag) })
    assert.same({ AUTH_FAILED, nothing }, { open(nonce, flip(extra, 3), sealed, tag) })
    assert.same({ 0, text }, { open(nonce, extra, sealed, tag) })
  end)

  it("takes a new key, and refuses what it cannot do", function()
    assert.equal(-0x14, (seal(noise(12), "", "x"))) -- without a key
    assert.equal(-0x14, set(64, noise(8)))
    assert.equal(-0x14, lib.mbedtls_gcm_setkey(context, 1, noise(16), 128)) -- another cipher
    local nonce = noise(12)
    assert.equal(0, set(128, ("k"):rep(16)))
    local rc, first, tag = seal(nonce, "", "text")
    assert.equal(0, rc)
    assert.equal(0, set(256, ("k"):rep(32)))
    local _, second = seal(nonce, "", "text")
    assert.equal(0, set(128, ("k"):rep(16)))
    assert.same({ 0, first, tag }, { seal(nonce, "", "text") })
    assert.not_equal(first, second)
    assert.equal(-0x14, (seal("", "", "text")))
    assert.equal(-0x14, (seal(nonce, "", "text", 3)))
    assert.equal(-0x14, (open(nonce, "", "text", ("t"):rep(17))))
    assert.equal(-0x16, lib.mbedtls_gcm_update(context, "text", 4, bytes(3), 3, ffi.new "size_t[1]"))
  end)
end)

--- Public keys and the shared secret of two private ones.
local VECTORS = {
  { "X25519", "RFC 7748 section 6.1",
    "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
    "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
    "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
    "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
    "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742" },
  { "P-256", "RFC 5903 section 8.1",
    "c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433",
    "04dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c3772581180"
      .. "5271a0461cdb8252d61f1c456fa3e59ab1f45b33accf5f58389e0577b8990bb3",
    "c6ef9c5d78ae012a011164acb397ce2088685d8f06bf9be0b283ab46476bee53",
    "04d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf63"
      .. "56fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab",
    "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de" },
}

local function curve_of(name) return lib.vf_curve_of_id(CURVES[name]) end

local function public(curve, key)
  local out = bytes(133)
  return ffi.string(out, lib.vf_curve_public(curve, key, out))
end

local function agree(curve, key, peer)
  local out = bytes(66)
  if not lib.vf_curve_agree(curve, key, peer, #peer, out) then return nil end
  return ffi.string(out, curve.bytes)
end

local function generate(curve)
  local out = bytes(66)
  assert.is_true(lib.vf_curve_generate(curve, out))
  return ffi.string(out, curve.bytes)
end

--- Calls `run` with mbedTLS's group, and cleans up.
local function with_group(name, run)
  local group, point, other, number, secret = ffi.new "accel_group", ffi.new "accel_point", ffi.new "accel_point",
    ffi.new "accel_mpi", ffi.new "accel_mpi"
  lib.mbedtls_ecp_group_init(group)
  lib.mbedtls_ecp_point_init(point)
  lib.mbedtls_ecp_point_init(other)
  lib.mbedtls_mpi_init(number)
  lib.mbedtls_mpi_init(secret)
  assert.equal(0, lib.mbedtls_ecp_group_load(group, CURVES[name]))
  local ok, message = pcall(run, group, point, other, number, secret)
  lib.mbedtls_mpi_free(secret)
  lib.mbedtls_mpi_free(number)
  lib.mbedtls_ecp_point_free(other)
  lib.mbedtls_ecp_point_free(point)
  lib.mbedtls_ecp_group_free(group)
  assert(ok, message)
end

describe("key exchange", function()
  for _, vector in ipairs(VECTORS) do
    it("on " .. vector[1] .. " is that of " .. vector[2], function()
      local curve, a, b = curve_of(vector[1]), unhex(vector[3]), unhex(vector[5])
      assert.equal(vector[4], hex(public(curve, a)))
      assert.equal(vector[6], hex(public(curve, b)))
      assert.equal(vector[7], hex(agree(curve, a, unhex(vector[6]))))
      assert.equal(vector[7], hex(agree(curve, b, unhex(vector[4]))))
    end)
  end

  for name in pairs(CURVES) do
    it("on " .. name .. " is what mbedTLS computes", function()
      local curve = curve_of(name)
      with_group(name, function(group, point, other, number)
        local a, b = generate(curve), generate(curve)
        local peer, n, out = public(curve, b), ffi.new "size_t[1]", bytes(133)
        assert.equal(0, lib.mbedtls_ecp_point_read_binary(group, point, peer, #peer))
        local read = curve.is_x25519 and lib.mbedtls_mpi_read_binary_le or lib.mbedtls_mpi_read_binary
        assert.equal(0, read(number, a, #a))
        assert.equal(0, lib.mbedtls_ecp_mul(group, other, number, point, random, nil))
        assert.equal(0, lib.mbedtls_ecp_point_write_binary(group, other, 0, n, out, 133))
        local x = ffi.string(out, n[0])
        if not curve.is_x25519 then x = x:sub(2, 1 + curve.bytes) end
        assert.equal(hex(x), hex(agree(curve, a, peer)))
        assert.equal(hex(x), hex(agree(curve, b, public(curve, a))))
      end)
    end)

    it("of TLS 1.2 on " .. name .. " meets its peer", function()
      local curve = curve_of(name)
      with_group(name, function(group, point, other, number, secret)
        local write = curve.is_x25519 and lib.mbedtls_mpi_write_binary_le or lib.mbedtls_mpi_write_binary
        local mine, n, ours = generate(curve), ffi.new "size_t[1]", bytes(133)
        assert.equal(0, lib.mbedtls_ecdh_gen_public(group, number, point, random, nil))
        assert.equal(0, lib.mbedtls_ecp_point_write_binary(group, point, 0, n, ours, 133))
        local peer = public(curve, mine)
        assert.equal(0, lib.mbedtls_ecp_point_read_binary(group, other, peer, #peer))
        assert.equal(0, lib.mbedtls_ecdh_compute_shared(group, secret, other, number, random, nil))
        local shared = bytes(66)
        assert.equal(0, write(secret, shared, curve.bytes))
        assert.equal(hex(agree(curve, mine, ffi.string(ours, n[0]))), hex(ffi.string(shared, curve.bytes)))
      end)
    end)
  end

  it("refuses what is no point of the curve", function()
    for name in pairs(CURVES) do
      local curve = curve_of(name)
      local key, peer = generate(curve), public(curve, generate(curve))
      assert.is_nil(agree(curve, key, ""))
      assert.is_nil(agree(curve, key, peer:sub(1, -2)))
      assert.is_nil(agree(curve, key, peer .. "\0"))
      if curve.is_x25519 then
        assert.is_nil(agree(curve, key, ("\0"):rep(32))) -- RFC 7748 section 6.1: a point of small order
        assert.is_nil(agree(curve, key, "\1" .. ("\0"):rep(31)))
      else
        assert.is_nil(agree(curve, key, peer:sub(1, -2) .. string.char((peer:byte(-1) + 1) % 256)))
        assert.is_nil(agree(curve, key, "\0"))
        assert.is_nil(agree(curve, key, "\2" .. peer:sub(2, 1 + curve.bytes))) -- compressed
        assert.is_nil(agree(curve, key, "\4" .. ("\255"):rep(2 * curve.bytes)))
      end
    end
  end)

  it("keeps two pairs of X25519 apart", function()
    local curve = curve_of "X25519"
    local a, b, c = generate(curve), generate(curve), generate(curve)
    local a_public, b_public = public(curve, a), public(curve, b) -- b's pair is kept now
    local secret = agree(curve, a, public(curve, c))
    assert.equal(secret, agree(curve, c, a_public))
    assert.equal(agree(curve, b, a_public), agree(curve, a, b_public))
    assert.equal(a_public, public(curve, a))
  end)
end)

local KEYS = {
  ["P-256"] = { ECKEY, "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256" },
  ["P-384"] = { ECKEY, "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384" },
  ["P-521"] = { ECKEY, "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521" },
  ["RSA-2048"] = { RSA, "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048" },
}

for name, of in pairs(KEYS) do
  describe("signatures with " .. name, function()
    local pk, kind = nil, of[1]

    setup(function()
      local pipe = assert(io.popen("openssl " .. of[2] .. " 2>/dev/null"))
      local pem = pipe:read "*a"
      pipe:close()
      pk = ffi.new "accel_pk"
      lib.mbedtls_pk_init(pk)
      assert.equal(0, lib.mbedtls_pk_parse_key(pk, pem, #pem + 1, nil, 0, random, nil))
    end)
    teardown(function()
      lib.vf_accel_forget(pk)
      lib.mbedtls_pk_free(pk)
    end)

    --- The kinds of signature of TLS 1.2 and 1.3 with this key.
    local function each(run)
      for _, type in ipairs(kind == RSA and { RSA, PSS } or { ECDSA }) do
        for md, len in pairs(HASHES) do run(type, md, noise(len)) end
      end
    end

    local function sign(signer, type, md, hash)
      local out, n = bytes(1024), ffi.new "size_t[1]"
      assert.equal(0, lib[signer](type, pk, md, hash, #hash, out, 1024, n, random, nil))
      return ffi.string(out, n[0])
    end

    local function verify(verifier, type, md, hash, signature)
      return lib[verifier](type, nil, pk, md, hash, #hash, signature, #signature)
    end

    it("are good for mbedTLS when libcrypto made them", function()
      lib.vf_accel_prepare(pk)
      assert.is_false(lib.vf_accel_key(pk) == nil)
      each(function(type, md, hash)
        local signature = sign("__wrap_mbedtls_pk_sign_ext", type, md, hash)
        if type ~= PSS then
          assert.equal(0, verify("mbedtls_pk_verify_ext", type, md, hash, signature))
          local n, out = ffi.new "size_t[1]", bytes(1024)
          assert.equal(0, lib.__wrap_mbedtls_pk_sign(pk, md, hash, #hash, out, 1024, n, random, nil))
          assert.equal(0, lib.mbedtls_pk_verify(pk, md, hash, #hash, out, n[0]))
        else
          local options = ffi.new("int[2]", md, -1) -- mbedtls_pk_rsassa_pss_options: any salt
          assert.equal(0, lib.mbedtls_pk_verify_ext(PSS, options, pk, md, hash, #hash, signature, #signature))
        end
      end)
    end)

    it("are good for us when mbedTLS made them, and false when touched", function()
      each(function(type, md, hash)
        if type == PSS then return end -- stays with mbedTLS
        local signature = sign("mbedtls_pk_sign_ext", type, md, hash)
        local at = #signature - 3
        local touched = signature:sub(1, at - 1) .. string.char((signature:byte(at) + 1) % 256)
          .. signature:sub(at + 1)
        assert.equal(0, verify("__wrap_mbedtls_pk_verify_ext", type, md, hash, signature))
        assert.equal(0, lib.__wrap_mbedtls_pk_verify(pk, md, hash, #hash, signature, #signature))
        for _, case in ipairs { { hash, touched }, { noise(#hash), signature }, { hash, "" }, { hash, noise(70) },
          { hash, signature .. "\0" } } do
          assert.not_equal(0, verify("__wrap_mbedtls_pk_verify_ext", type, md, case[1], case[2]))
          assert.not_equal(0, lib.__wrap_mbedtls_pk_verify(pk, md, case[1], #hash, case[2], #case[2]))
        end
        if type == ECDSA then
          assert.equal(VERIFY_FAILED, lib.__wrap_mbedtls_pk_verify(pk, md, hash, #hash, touched, #touched))
        end
      end)
    end)

    it("go on to mbedTLS when the key is not prepared or there is no room", function()
      lib.vf_accel_forget(pk)
      assert.is_true(lib.vf_accel_key(pk) == nil)
      local hash, type = noise(32), kind == RSA and RSA or ECDSA
      local signature = sign("__wrap_mbedtls_pk_sign_ext", type, 9, hash)
      assert.equal(0, verify("mbedtls_pk_verify_ext", type, 9, hash, signature))
      lib.vf_accel_prepare(pk)
      local n = ffi.new "size_t[1]"
      assert.not_equal(0, lib.__wrap_mbedtls_pk_sign(pk, 9, hash, 32, bytes(1024), 20, n, random, nil))
    end)

    it("forget a key, and one that was never known", function()
      lib.vf_accel_prepare(pk)
      lib.vf_accel_prepare(pk) -- once more changes nothing
      lib.vf_accel_forget(pk)
      lib.vf_accel_forget(pk)
      assert.is_true(lib.vf_accel_key(pk) == nil)
    end)
  end)
end
