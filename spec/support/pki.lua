--- Certificates for specs, made with the openssl command: self-signed, of an authority, expired, revoked.
--
--     local site = pki.self_signed(dir, "site", { names = { "a.test", "*.b.test" } })
--     site.cert, site.key   -- paths; pki.read(site.cert) is the PEM text
local process = require "support.process"
local tempdir = require "support.tempdir"

local M = {}

local KEYS = {
  ec = { "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256" },
  rsa = { "-newkey", "rsa:2048" },
  ["rsa-1024"] = { "-newkey", "rsa:1024" },
}

local AUTHORITY = "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign,cRLSign\n"

local function openssl(args)
  local code, out, err = process.run("/usr/bin/openssl", args)
  if code ~= 0 then error(("openssl %s: %s%s"):format(table.concat(args, " "), out, err), 3) end
  return out
end

local function joined(...)
  local all = {}
  for _, list in ipairs { ... } do
    for _, item in ipairs(list) do all[#all + 1] = item end
  end
  return all
end

local function alternative(names)
  local parts = {}
  for i, name in ipairs(names) do parts[i] = (name:find "^[%d.]+$" and "IP:" or "DNS:") .. name end
  return "subjectAltName=" .. table.concat(parts, ",")
end

local function paths(dir, name)
  return { cert = ("%s/%s.crt"):format(dir, name), key = ("%s/%s.key"):format(dir, name) }
end

--- Returns the text of a file.
M.read = tempdir.read

--- Makes a certificate that signed itself.
-- @param options table or nil: names (list, { name .. ".test" }), key ("ec" or "rsa"), days (30)
-- @return { cert, key }: paths
function M.self_signed(dir, name, options)
  options = options or {}
  local made = paths(dir, name)
  openssl(joined({ "req", "-x509", "-nodes", "-keyout", made.key, "-out", made.cert, "-subj", "/CN=" .. name,
    "-days", tostring(options.days or 30), "-addext", alternative(options.names or { name .. ".test" }) },
    KEYS[options.key or "ec"]))
  return made
end

--- Makes an authority.
function M.authority(dir, name)
  local made = paths(dir, name)
  openssl(joined({ "req", "-x509", "-nodes", "-keyout", made.key, "-out", made.cert, "-subj", "/CN=" .. name,
    "-days", "30", "-addext", "keyUsage=critical,keyCertSign,cRLSign" }, KEYS.ec))
  made.dir, made.name = dir, name
  return made
end

--- Makes a certificate of an authority.
-- @param options as self_signed; days may be negative; is_ca for an authority below it
-- @return { cert, key }: paths
function M.issue(dir, name, authority, options)
  options = options or {}
  local made = paths(dir, name)
  local request, extensions = made.cert .. ".csr", made.cert .. ".ext"
  openssl(joined({ "req", "-new", "-nodes", "-keyout", made.key, "-out", request, "-subj", "/CN=" .. name },
    KEYS[options.key or "ec"]))
  tempdir.write(extensions, options.is_ca and AUTHORITY or alternative(options.names or { name .. ".test" }) .. "\n")
  openssl { "x509", "-req", "-in", request, "-CA", authority.cert, "-CAkey", authority.key, "-CAcreateserial",
    "-days", tostring(options.days or 30), "-extfile", extensions, "-out", made.cert }
  return made
end

--- Makes a certificate of an authority that is not valid yet.
-- @return { cert, key }: paths
function M.issue_early(dir, name, authority)
  local made = paths(dir, name)
  openssl(joined({ "req", "-new", "-nodes", "-keyout", made.key, "-out", made.cert .. ".csr", "-subj", "/CN=" .. name },
    KEYS.ec))
  tempdir.write(made.cert .. ".template", 'activation_date = "2090-01-01 00:00:00"\nexpiration_days = 30\n'
    .. "signing_key\n")
  local code, _, err = process.run("/usr/bin/certtool", { "--generate-certificate", "--load-request",
    made.cert .. ".csr", "--load-ca-certificate", authority.cert, "--load-ca-privkey", authority.key, "--template",
    made.cert .. ".template", "--outfile", made.cert })
  if code ~= 0 then error("certtool: " .. err, 2) end
  return made
end

--- Makes a revocation list of an authority that names a certificate.
-- @return path
function M.revoke(authority, certificate)
  local base = ("%s/%s.ca"):format(authority.dir, authority.name)
  local list = base .. ".crl"
  tempdir.write(base .. ".index", "")
  tempdir.write(base .. ".number", "01\n")
  tempdir.write(base .. ".conf", ([[
[ca]
default_ca = own
[own]
database = %s.index
crlnumber = %s.number
default_md = sha256
default_crl_days = 30
]]):format(base, base))
  local options = { "-config", base .. ".conf", "-keyfile", authority.key, "-cert", authority.cert }
  openssl(joined({ "ca", "-revoke", certificate.cert }, options))
  openssl(joined({ "ca", "-gencrl", "-out", list }, options))
  return list
end

--- Writes several files one behind the other.
-- @return path
function M.bundle(path, ...)
  local texts = {}
  for i, each in ipairs { ... } do texts[i] = tempdir.read(each) end
  tempdir.write(path, table.concat(texts))
  return path
end

return M
