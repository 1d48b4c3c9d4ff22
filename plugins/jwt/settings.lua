--- What follows from a configuration: made once, kept for as long as that is there.
local jwks = require "veloflux.plugins.jwt.jwks"

local M = {}

local known = setmetatable({}, { __mode = "k" })

local function set_of(list)
  if not list or not list[1] then return nil end
  local set = {}
  for _, value in ipairs(list) do set[value] = true end
  return set
end

local function types_of(list)
  local set = {}
  for _, name in ipairs(list) do set[name:lower():gsub("^application/", "")] = true end
  return set
end

-- The fields that a client is refused with (RFC 6750 section 3).
local function challenges_of(conf)
  local parameters = conf.realm and { ('realm="%s"'):format(conf.realm) } or {}
  local function challenge(...)
    local list = { unpack(parameters) }
    for _, parameter in ipairs { ... } do list[#list + 1] = parameter end
    return { ["WWW-Authenticate"] = "Bearer" .. (list[1] and " " .. table.concat(list, ", ") or "") }
  end
  local scopes = table.concat(conf.scopes_required, " ")
  return { missing = challenge(), invalid = challenge 'error="invalid_token"',
    scope = challenge('error="insufficient_scope"', ('scope="%s"'):format(scopes)) }
end

local function make(conf)
  local headers = {}
  for claim, field in pairs(conf.claims_to_headers) do
    headers[#headers + 1] = { claim = claim, field = field, key = (field:lower():gsub("_", "-")) }
  end
  return {
    challenges = challenges_of(conf), headers = headers,
    required = set_of(conf.claims_to_verify) or {}, types = types_of(conf.accepted_types),
    algorithms = set_of(conf.algorithms), issuers = set_of(conf.issuer), audiences = set_of(conf.audience),
    leeway_s = conf.leeway / 1000, verifiers = setmetatable({}, { __mode = "k" }), -- by credential
    keys = conf.jwks_uri and jwks.open(conf),
  }
end

--- Returns the settings of a configuration.
---@param conf table
---@return table
function M.of(conf)
  local settings = known[conf]
  if not settings then
    settings = make(conf)
    known[conf] = settings
  end
  return settings
end

return M
