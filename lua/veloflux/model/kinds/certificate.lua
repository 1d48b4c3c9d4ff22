--- A certificate with its key: what listeners with TLS show to clients that ask for one of its names.
local s = require "veloflux.model.schema"
local common = require "veloflux.model.kinds.common"
local x509 = require "veloflux.x509"

local M = {}

--- The message of a text that came from a file names it.
local function blame(record, field, message)
  local raw = s.raw_of(record, field)
  if raw and raw:sub(1, 1) == "/" then return ("%s: %s"):format(raw, message) end
  return message
end

--- Judges a record with cert and key.
function M.check(record)
  if not record.cert or not record.key then return true end -- that was said
  local facts, message, field = x509.identity(record.cert, record.key)
  if facts then return true end
  return nil, blame(record, field, message), field
end

--- Returns what is known of a record that was checked (x509.identity).
function M.facts(record) return assert(x509.identity(record.cert, record.key)) end

--- The fields of a certificate and its key.
function M.pair()
  return {
    { cert = s.pem { required = true, referenceable = true, expects = "a file, or PEM text",
      description = "The certificate, then that of its issuer and so on: a file, or PEM text." } },
    { key = s.pem { required = true, secret = true, expects = "a file, or PEM text",
      description = "Its private key, without a passphrase: a file that only its owner may read, or PEM text." } },
  }
end

M.type = s.record {
  located = true,
  description = "A certificate and its key, shown to clients that ask for one of its names.",
  custom_validator = M.check,
  fields = common.join({
    { name = common.name "certificates" },
    { tenant = common.tenant() },
  }, M.pair()),
}

return M
