--- TLS of a listener: which certificates it shows, what it asks of clients, what it allows; and of connections to the
-- backends of a pool.
local s = require "veloflux.model.schema"
local certificate = require "veloflux.model.kinds.certificate"
local x509 = require "veloflux.x509"

local M = {}

local PROTOCOL = "^[!-~]+$"

local pair = s.record { located = true, description = "A certificate and its key.", fields = certificate.pair(),
  custom_validator = certificate.check, expects = "a map with cert and key" }

local certificates = s.list {
  default = {}, len_max = 256,
  description = "The certificates of this listener: names of `certificates`, or maps with cert and key. The first is "
    .. "for clients that name no host, or one that no certificate has.",
  elements = s.shape { scalar = s.foreign { reference = "certificates" }, map = pair,
    expects = "the name of a certificate, or a map with cert and key" },
}

local function check_authorities(record)
  if not record.ca then return true end -- that was said
  local facts, message = x509.certificates(record.ca)
  if not facts then return nil, message, "ca" end
  if record.crl == nil then return true end
  facts, message = x509.revocations(record.crl)
  if not facts then return nil, message, "crl" end
  return true
end

--- What a listener and a route say of certificates of clients.
-- @param description of it all
-- @param modes what `mode` means there
local function client_auth(description, modes)
  return s.record {
    description = description,
    custom_validator = check_authorities,
    fields = {
      { mode = s.string { default = "require", one_of = { "require", "optional" }, description = modes } },
      { ca = s.pem { required = true, referenceable = true, expects = "a file, or PEM text",
        description = "The authorities whose certificates are good." } },
      { crl = s.pem { referenceable = true, expects = "a file, or PEM text",
        description = "Their revocation lists." } },
      { depth = s.integer { default = 3, between = { 0, 8 }, unit = "certificates",
        description = "Certificates between that of a client and the authority's, at most." } },
      { forward = s.boolean { default = false,
        description = "Send good certificates to backends, in Client-Cert and Client-Cert-Chain (RFC 9440)." } },
    },
  }
end

--- The definition of `client_certificate` of a route.
M.of_route = s.shape {
  default = "optional",
  scalar = s.string { one_of = { "optional", "require" } },
  map = client_auth("Authorities of its own.",
    "require: others get 403; optional: plugins and backends are told."),
  expects = "optional, require, or a map with ca",
  description = "Certificates of clients. require: only for clients with a certificate that is good for the listener "
    .. "(`client_auth`), others get 403. A map has authorities of its own, whatever those of the listener are: clients "
    .. "that name the route's host are asked for a certificate, and the route judges it.",
}

local function check_versions(record)
  if record.profile == "modern" and rawget(record, "min_version") == "1.2" then
    return nil, "the profile modern begins with 1.3", "min_version"
  end
  return true
end

--- The definition of `tls` of a listener.
M.listener = s.record {
  description = "TLS on this listener.",
  custom_validator = check_versions,
  fields = {
    { certificates = certificates },
    { others = s.boolean { default = true,
      description = "Show the other `certificates` too, each to those who ask for its names." } },
    { profile = s.string { default = "intermediate", one_of = { "intermediate", "modern" },
      description = "intermediate: TLS 1.2 and 1.3; modern: TLS 1.3 only. Both allow only suites with forward secrecy "
        .. "and authenticated encryption." } },
    { min_version = s.string { default = "1.2", one_of = { "1.2", "1.3" }, description = "The oldest version." } },
    { alpn = s.list { default = { "h2", "http/1.1" }, len_max = 4, unique = true,
      elements = s.string { match = PROTOCOL, len_max = 15, one_of = { "h2", "http/1.1" },
        expects = "h2 or http/1.1" },
      description = "Protocols that are offered (ALPN), the best first." } },
    { client_auth = client_auth("Certificates of clients.",
      "require: without a good certificate there is no connection; optional: plugins and backends are told.") },
    { tickets = s.boolean { default = true,
      description = "Let clients resume sessions. With client_auth they never can." } },
    { handshake_timeout = s.duration { default = "10s", min = "100ms", max = "5m",
      description = "For the whole handshake." } },
    { handshake_rate = s.integer { default = "off", off = true, between = { 1, 1000000 }, unit = "handshakes a second",
      description = "How many handshakes one address (of IPv6, a /64) may begin; all workers count together." } },
    { handshake_burst = s.integer { default = 100, between = { 1, 1000000 }, unit = "handshakes",
      description = "With handshake_rate: how many of them may come at once." } },
    { hsts = s.shape { default = "off", scalar = s.string { one_of = { "off" }, expects = "off or a map" },
      map = s.record { fields = {
        { max_age = s.duration { default = "365d", min = "0s", max = "3650d",
          description = "How long clients are to use https only." } },
        { subdomains = s.boolean { default = false, description = "Below the host, too." } },
        { preload = s.boolean { default = false, description = "Agree to be listed in browsers." } },
      } },
      description = "Tell clients to use https only (Strict-Transport-Security, RFC 6797)." } },
  },
}

local PIN = "^sha256//[%w+/]+=*$"

local function check_pin(text)
  return #text == 52 or nil, "expected sha256// and 44 characters of base64, as curl has them"
end

local function check_upstream(record)
  if (record.cert == nil) ~= (record.key == nil) then
    return nil, "required: cert and key go together", record.cert and "key" or "cert"
  end
  local ok, message, field = certificate.check(record)
  if not ok then return nil, message, field end
  if record.ca and not x509.authorities(record.ca) then return nil, select(2, x509.authorities(record.ca)), "ca" end
  if record.crl and not record.ca then return nil, "goes with ca only", "crl" end
  if record.crl and not x509.revocations(record.crl) then
    return nil, select(2, x509.revocations(record.crl)), "crl"
  end
  return true
end

local upstream = s.record {
  description = "TLS to the backends.",
  custom_validator = check_upstream,
  fields = {
    { verify = s.boolean { default = true,
      description = "Refuse backends whose certificate is not good, or has another name." } },
    { name = s.string { match = "^[%w][%w.-]*$", len_max = 253, expects = "a host name",
      description = "What is asked for (SNI) and must stand in the certificate; without it the backend's host." } },
    { ca = s.pem { referenceable = true, expects = "a file, or PEM text",
      description = "The authorities that are believed; without it those of the system." } },
    { crl = s.pem { referenceable = true, expects = "a file, or PEM text", description = "Their revocation lists." } },
    { depth = s.integer { default = 6, between = { 0, 8 }, unit = "certificates",
      description = "Certificates between that of a backend and the authority's, at most." } },
    { pins = s.list { default = {}, len_max = 4, unique = true,
      elements = s.string { match = PIN, custom_validator = check_pin, expects = "a pin like sha256//BASE64" },
      description = "The keys, one of which a backend must have: SHA-256 of its public key, as curl has them." } },
    { cert = s.pem { referenceable = true, expects = "a file, or PEM text",
      description = "Our certificate, for backends that ask for one." } },
    { key = s.pem { secret = true, expects = "a file, or PEM text", description = "Its private key." } },
    { min_version = s.string { default = "1.2", one_of = { "1.2", "1.3" }, description = "The oldest version." } },
  },
}

--- The definition of `tls` of a pool.
M.upstream = s.shape { scalar = s.boolean {}, map = upstream, default = "false", expects = "true, false or a map",
  description = "TLS to the backends; true: as the defaults of the map say." }

local function check_store(record)
  if not record.ca then return true end
  if not record.verify then return nil, "goes with verify only", "ca" end
  local facts, message = x509.authorities(record.ca)
  if not facts then return nil, message, "ca" end
  return true
end

--- The definition of `tls` of a store.
M.store = s.shape { scalar = s.boolean {}, default = "false", expects = "true, false or a map",
  description = "TLS to Redis, its Sentinels too; true: as the defaults of the map say.",
  map = s.record { custom_validator = check_store, fields = {
    { verify = s.boolean { default = true, description = "Refuse servers whose certificate is not good." } },
    { ca = s.pem { referenceable = true, expects = "a file, or PEM text",
      description = "The authorities that are believed; without it those of the system." } },
    { name = s.string { match = "^[%w][%w.-]*$", len_max = 253, expects = "a host name",
      description = "What must stand in the certificates; without it the host that is connected to." } },
  } } }

return M
