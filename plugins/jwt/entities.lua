local crypto = require("veloflux.pdk").crypto
local algorithms = require "veloflux.plugins.jwt.algorithms"

-- A secret that is shorter than the hash is weaker than the signature looks (RFC 7518 section 3.2).
local function check_secret(credential)
  local least = algorithms.SECRET_BYTES[credential.algorithm]
  if #(credential.secret or "") >= least then return true end
  return nil, ("%s needs a secret of at least %d bytes"):format(credential.algorithm, least)
end

local function check_key(credential)
  if not credential.rsa_public_key then return nil, credential.algorithm .. " needs rsa_public_key" end
  local key, problem = crypto.key(credential.rsa_public_key)
  if not key then return nil, "rsa_public_key: " .. problem end
  if key:has_private() then return nil, "rsa_public_key: is private: expected its public half" end
  if key:is_for(credential.algorithm) then return true end
  return nil, ("rsa_public_key: %s is not for it"):format(credential.algorithm)
end

return { credential = {
  id = "key",
  fields = { fields = { { config = { type = "record",
    fields = {
      key = { type = "string", required = true, len_max = 256, match = "^[^%c]+$", order = 1,
        description = "What tokens of this credential have in the claim that `key_claim_name` names." },
      algorithm = { type = "string", default = "HS256", one_of = algorithms.NAMES, order = 2,
        description = "How its tokens are signed. What a token says of itself does not change that." },
      secret = { type = "string", secret = true, len_max = 1024, order = 3,
        description = "Of HS256, HS384 and HS512: at least 32, 48 and 64 bytes." },
      rsa_public_key = { type = "string", len_max = 16384, order = 4,
        description = "Of the others: the public key in PEM, also of ES256 to ES512 (P-256, P-384, P-521) and " ..
          "EdDSA (Ed25519)." },
    },
    entity_checks = { { custom_entity_check = {
      field_sources = { "algorithm", "secret", "rsa_public_key" },
      fn = function(credential)
        if algorithms.SECRET_BYTES[credential.algorithm] then return check_secret(credential) end
        return check_key(credential)
      end,
    } } },
  } } } },
} }
