--- The resource of certificates, shown with what they say.
local certificate = require "veloflux.model.kinds.certificate"
local json = require "veloflux.pdk.json"
local parts = require "veloflux.admin.resources.parts"
local status = require "veloflux.admin.status"
local view = require "veloflux.model.view"
local x509 = require "veloflux.x509"

local STRING, INTEGER, STRINGS, TIME = parts.STRING, parts.INTEGER, parts.STRINGS, parts.TIME
local with_common, entity = parts.with_common, parts.entity

local function seconds(value) return status.time(value * 1000) end

return entity {
  name = "certificates", noun = "certificate", kind = "certificates", permission = "certificates", is_per_tenant = true,
  methods = parts.METHODS, order = "tenant_id,name",
  forms = { { collection = "/api/certificates", single = "/api/certificates/{id}" } },
  fields = with_common {
    { "names", STRINGS, "The hosts that it is for." },
    { "subject", STRING, "Whose it is." },
    { "issuer", STRING, "Who has signed it." },
    { "serial", STRING, "Its number with the issuer." },
    { "not_before", TIME, "When it begins." },
    { "not_after", TIME, "When it ends; of the whole chain, the first end." },
    { "fingerprint", STRING, "The SHA-256 of the certificate, hexadecimal." },
    { "key_type", STRING, "The kind of its key and the bits: EC-256, RSA-2048." },
    { "chain_length", INTEGER, "Certificates in it." },
    { "warnings", STRINGS, "What is wrong, or soon will be." },
  },
  show = function(entry, shown)
    local facts = certificate.facts(entry.record)
    shown.names, shown.subject, shown.issuer, shown.serial = json.array(view.copy(facts.names)), facts.subject,
      facts.issuer, facts.serial
    shown.not_before, shown.not_after = seconds(facts.not_before), seconds(facts.chain_not_after)
    shown.fingerprint, shown.chain_length = facts.fingerprint, facts.n
    shown.key_type = ("%s-%d"):format(facts.key_kind, facts.key_bits)
    shown.warnings = json.array()
    for i, found in ipairs(x509.lint(facts, os.time())) do shown.warnings[i] = found.message end
  end,
}
