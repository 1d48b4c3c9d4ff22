--- Certificates, private keys and revocation lists as people have them (PEM): what they say, whether they fit
-- together, and the DER that a snapshot holds.
local bit = require "bit"
local ffi = require "ffi"
require "veloflux.str"

ffi.cdef [[
struct vf_x509 {
  uint32_t n, flags;
  int64_t not_before_s, not_after_s, last_after_s;
  uint32_t key_bits, broken_link;
  uint8_t fingerprint[32];
  struct vf_str subject, issuer, serial, key_kind, names, der;
};
struct vf_x509_key { struct vf_str der; uint32_t bits, reserved; struct vf_str kind; };
struct vf_x509_revocations { uint32_t n, reserved; int64_t next_update_s; struct vf_str der; };
int vf_x509_read(const char *pem, size_t len, struct vf_x509 **out, const char **problem);
int vf_x509_read_authorities(const char *pem, size_t len, struct vf_x509 **out, const char **problem);
void vf_x509_free(struct vf_x509 *certificates);
int vf_x509_read_key(const char *pem, size_t len, struct vf_x509_key **out, const char **problem);
void vf_x509_free_key(struct vf_x509_key *key);
uint32_t vf_x509_owner(const struct vf_x509 *certificates, const struct vf_x509_key *key);
int vf_x509_read_revocations(const char *pem, size_t len, struct vf_x509_revocations **out, const char **problem);
void vf_x509_free_revocations(struct vf_x509_revocations *revocations);
]]
local C = ffi.C

local M = {}

local IS_CA, SELF_SIGNED, WEAK_HASH = 1, 2, 4
local MAX_KEPT = 4096 -- of what was read before: a reload reads the same again

local problem = ffi.new "const char *[1]"

local function text(str) return ffi.string(str.data, str.len) end

local function read_with(read, free, kind, pem)
  local out = ffi.new(kind .. " *[1]")
  if read(pem, #pem, out, problem) ~= 0 then return nil, ffi.string(problem[0]) end
  return ffi.gc(out[0], free)
end

local function names_of(view)
  local names = {}
  for name in text(view.names):gmatch "[^%z]+" do names[#names + 1] = name end
  return names
end

local function describe(view)
  local flags = view.flags
  return { n = view.n, names = names_of(view), subject = text(view.subject), issuer = text(view.issuer),
    serial = text(view.serial), not_before = tonumber(view.not_before_s), not_after = tonumber(view.not_after_s),
    chain_not_after = tonumber(view.last_after_s), key_kind = text(view.key_kind), key_bits = view.key_bits,
    fingerprint = (ffi.string(view.fingerprint, 32):gsub(".", function(c) return ("%02x"):format(c:byte()) end)),
    is_ca = bit.band(flags, IS_CA) ~= 0, is_self_signed = bit.band(flags, SELF_SIGNED) ~= 0,
    has_weak_hash = bit.band(flags, WEAK_HASH) ~= 0, der = text(view.der) }
end

--- Remembers results by their texts, so that nothing is read twice.
local function remembered(compute)
  local kept, count = {}, 0
  return function(first, second)
    local of_first = kept[first]
    local known = of_first and of_first[second or ""]
    if known then return known[1], known[2], known[3] end
    if count >= MAX_KEPT then kept, count = {}, 0 end
    local result = { compute(first, second) }
    kept[first] = kept[first] or {}
    kept[first][second or ""] = result
    count = count + 1
    return result[1], result[2], result[3]
  end
end

--- Reads certificates.
-- @param pem text
-- @return {n, names, subject, issuer, serial, not_before, not_after, chain_not_after (seconds), key_kind ("RSA" or
-- "EC"), key_bits, fingerprint (hexadecimal SHA-256), is_ca, is_self_signed, has_weak_hash, der}: of the first of the
-- `n`, but for der, which has all; or nil and a message
M.certificates = remembered(function(pem)
  local view, message = read_with(C.vf_x509_read, C.vf_x509_free, "struct vf_x509", pem)
  if not view then return nil, message end
  return describe(view)
end)

--- The same for authorities, of which those of an unknown kind are left out.
M.authorities = remembered(function(pem)
  local view, message = read_with(C.vf_x509_read_authorities, C.vf_x509_free, "struct vf_x509", pem)
  if not view then return nil, message end
  return describe(view)
end)

--- Where systems keep the authorities that they believe.
M.SYSTEM = { "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem" }

local SYSTEM_KEPT_S = 60
local system -- what was read last: {found, message, time}

local function read_system()
  local named = os.getenv "SSL_CERT_FILE"
  for _, path in ipairs(named and { named } or M.SYSTEM) do
    local file = io.open(path, "rb")
    if file then
      local content = file:read "*a"
      file:close()
      return M.authorities(content or "")
    end
  end
  return nil, "this system has no list of authorities: install ca-certificates, or name them with ca"
end

--- Returns the system's authorities (as `authorities`), or nil and a message.
function M.system()
  local now = os.time()
  if not system or now - system.time >= SYSTEM_KEPT_S then
    local found, message = read_system()
    system = { found = found, message = message, time = now }
  end
  return system.found, system.message
end

local function judge(view, key)
  local owner = C.vf_x509_owner(view, key)
  if owner == 0 then return "does not belong to the certificate", "key" end
  if owner > 1 then
    return ("holds the certificate of the key as number %d: it must come first, then that of its issuer"):format(owner),
      "cert"
  end
  if view.broken_link > 0 then
    return ("is in the wrong order: certificate %d was not issued by certificate %d; each one's issuer comes next")
      :format(view.broken_link, view.broken_link + 1), "cert"
  end
end

--- Reads a certificate chain and its private key, and checks that they belong together.
-- @return what `certificates` says, with `key`, the key as DER; or nil, a message that says what is wrong with
-- the text, and which one it is: "cert" or "key"
M.identity = remembered(function(cert, key)
  local view, message = read_with(C.vf_x509_read, C.vf_x509_free, "struct vf_x509", cert)
  if not view then return nil, message, "cert" end
  local own
  own, message = read_with(C.vf_x509_read_key, C.vf_x509_free_key, "struct vf_x509_key", key)
  if not own then return nil, message, "key" end
  local field
  message, field = judge(view, own)
  if message then return nil, message, field end
  local facts = describe(view)
  facts.key = text(own.der)
  return facts
end)

--- Reads revocation lists.
-- @return {n, next_update (seconds, 0: none says), der}; or nil and a message
M.revocations = remembered(function(pem)
  local view, message = read_with(C.vf_x509_read_revocations, C.vf_x509_free_revocations,
    "struct vf_x509_revocations", pem)
  if not view then return nil, message end
  return { n = view.n, next_update = tonumber(view.next_update_s), der = text(view.der) }
end)

local DAY_S = 24 * 3600

--- How long before the end of a certificate we begin to warn.
M.WARN_DAYS = 21

--- Says what is wrong with a good certificate at a moment.
-- @param facts of `identity` or `certificates`
-- @param now seconds of the wall clock
-- @return list of {code, message}
function M.lint(facts, now)
  local found = {}
  local function add(code, message) found[#found + 1] = { code = code, message = message } end
  local function day(seconds) return os.date("!%Y-%m-%d", seconds) end
  if now > facts.not_after then
    add("certificate_expired", "the certificate expired on " .. day(facts.not_after))
  elseif now > facts.chain_not_after then
    add("certificate_expired", "a certificate of the chain expired on " .. day(facts.chain_not_after))
  elseif facts.chain_not_after - now < M.WARN_DAYS * DAY_S then
    add("certificate_expires", "the certificate expires on " .. day(facts.chain_not_after))
  end
  if now < facts.not_before then
    add("certificate_not_yet_valid", "the certificate is not valid before " .. day(facts.not_before))
  end
  if facts.has_weak_hash then
    add("certificate_weak_signature", "a certificate of the chain is signed with SHA-1 or MD5: clients refuse it")
  end
  if #facts.names == 0 then add("certificate_no_names", "the certificate names no host") end
  return found
end

return M
