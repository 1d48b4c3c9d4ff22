--- The algorithms of signatures (RFC 7518 section 3.1, RFC 8037). "none" is not one of them.
local M = {}

M.NAMES = { "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
  "EdDSA" }

--- Those that published keys may have: a shared secret is never public.
M.PUBLIC = { "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA" }

--- The hashes of those that have a shared secret, and how long such a secret has to be.
M.HASHES = { HS256 = "sha256", HS384 = "sha384", HS512 = "sha512" }
M.SECRET_BYTES = { HS256 = 32, HS384 = 48, HS512 = 64 }

M.IS_KNOWN = {}
for _, name in ipairs(M.NAMES) do M.IS_KNOWN[name] = true end

return M
