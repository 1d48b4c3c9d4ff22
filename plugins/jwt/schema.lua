local algorithms = require "veloflux.plugins.jwt.algorithms"

local NAME = { type = "string", len_max = 128, match = "^[%w!#$%%&'*+.^_`|~-]+$", err = "expected a name" }
local CLAIM = { type = "string", len_max = 256 }
local TEXT = { type = "string", len_max = 1024 }

-- Fields that the proxy writes itself, or that say where a request goes.
local RESERVED = { host = true, connection = true, ["content-length"] = true, ["transfer-encoding"] = true,
  upgrade = true, te = true, ["keep-alive"] = true, ["proxy-connection"] = true, ["http2-settings"] = true }

local function is_free(name)
  if RESERVED[name:lower():gsub("_", "-")] then return nil, "this field is written by the proxy itself" end
  return true
end

local function is_reachable(url)
  local authority = url:match "^https?://([^/?#%s]+)[^%s]*$"
  if not authority then return nil, "expected a URL like https://id.example.com/keys" end
  if authority:find("@", 1, true) then return nil, "expected a URL without user and password" end
  return true
end

return {
  name = "jwt",
  fields = {
    { consumer = { refuses = "consumer" } },
    { config = { type = "record", fields = {
      header_names = { type = "set", elements = NAME, default = { "authorization" }, len_max = 16, order = 1,
        description = "Header fields that may have a token, as `Bearer TOKEN`." },
      uri_param_names = { type = "set", elements = NAME, default = { "jwt" }, len_max = 16, order = 2,
        description = "Query arguments that may have a token." },
      cookie_names = { type = "set", elements = NAME, default = {}, len_max = 16, order = 3,
        description = "Cookies that may have a token." },
      key_claim_name = { type = "string", default = "iss", len_max = 256, order = 4,
        description = "The claim, or field of the token's header, that says which credential a token is of." },
      secret_is_base64 = { type = "boolean", default = false, order = 5,
        description = "Secrets of credentials are Base64 of what tokens are signed with." },
      claims_to_verify = { type = "set", elements = { type = "string", one_of = { "exp", "nbf" } }, order = 6,
        description = "Times that a token has to have. Those that it has are checked anyway." },
      maximum_expiration = { type = "number", default = 0, between = { 0, 31536000 }, unit = "seconds", order = 7,
        description = "How far in the future a token may end; 0: no matter. Needs exp in claims_to_verify." },
      anonymous = { type = "string", len_max = 256, order = 8,
        description = "The consumer as whom those go on who have no good token. Plugins with it are alternatives." },
      run_on_preflight = { type = "boolean", default = true, order = 9,
        description = "Requests with the method OPTIONS need a token, too." },
      realm = { type = "string", len_max = 256, match = '^[^%c"\\]+$', order = 10,
        err = "expected a text without quotes and backslashes",
        description = "Told to clients without a good token, in WWW-Authenticate." },
      leeway = { type = "duration", default = "0s", max = "5m", order = 11,
        description = "By how much the clocks of others may differ from ours." },
      issuer = { type = "set", elements = TEXT, len_max = 64, order = 12,
        description = "Who may have made the token: its `iss` has to be one of these." },
      audience = { type = "set", elements = TEXT, len_max = 64, order = 13,
        description = "Whom the token has to be for: its `aud` has to have one of these." },
      accepted_types = { type = "set", elements = TEXT, default = { "JWT", "at+jwt" }, len_min = 1, len_max = 16,
        order = 14, description = "What `typ` may be, without `application/`. A token without it is a JWT." },
      scopes_required = { type = "set", default = {}, len_max = 64, order = 15,
        elements = { type = "string", len_max = 256, match = '^[^%c "\\]+$', err = "expected a scope" },
        description = "Scopes that a token has to have, all of them, in `scope` or `scp`." },
      claims_to_headers = { type = "map", keys = CLAIM, default = {}, len_max = 64, order = 16,
        values = { type = "string", len_max = 128, match = "^[%w!#$%%&'*+.^_`|~-]+$", custom_validator = is_free,
          err = "expected the name of a header field" },
        description = "Claims that the backend gets, and the header fields in which it does." },
      groups_claim = { type = "string", len_max = 256, order = 17,
        description = "The claim with the groups of whoever has the token, for the plugin acl." },
      jwks_uri = { type = "string", len_max = 2048, custom_validator = is_reachable, order = 18,
        description = "Where keys are published. With it tokens are verified with those, not with credentials." },
      algorithms = { type = "set", elements = { type = "string", one_of = algorithms.PUBLIC },
        default = algorithms.PUBLIC, len_min = 1, order = 19,
        description = "How tokens may be signed whose keys come from `jwks_uri`." },
      consumer_claim = { type = "string", len_max = 256, order = 20,
        description = "With `jwks_uri`: the claim that names the consumer, who has to be there." },
      jwks_ttl = { type = "duration", default = "10m", min = "1s", max = "7d", order = 21,
        description = "After how long keys are fetched anew. The old ones are used meanwhile." },
      jwks_min_interval = { type = "duration", default = "30s", min = "1s", max = "1d", order = 22,
        description = "The time between two loads, however many tokens name keys that are not there." },
      jwks_timeout = { type = "duration", default = "5s", min = "100ms", max = "1m", order = 23,
        description = "How long the server of the keys may take." },
    } } },
  },
  entity_checks = {
    { conditional = { if_field = "config.maximum_expiration", if_match = { gt = 0 },
      then_field = "config.claims_to_verify", then_match = { required = true, contains = "exp" },
      then_err = "needs exp, because maximum_expiration is given" } },
    { conditional = { if_field = "config.consumer_claim", if_match = { len_min = 1 },
      then_field = "config.jwks_uri", then_match = { required = true }, then_err = "consumer_claim goes with it" } },
  },
}
