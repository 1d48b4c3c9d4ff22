--- Listeners that pass connections on as they are: which mode, and to which pools.
local s = require "veloflux.model.schema"
local common = require "veloflux.model.kinds.common"

local M = {}

local HTTP_ONLY = { "tls", "redirect_https", "headers" }

local function is_name(text)
  if text == "*" then return nil, "what no name takes goes to `pool` of the listener" end
  if text:find "^%[" or text:find "^[%d.]+$" then return nil, "clients do not ask for addresses by name" end
  if common.is_host(text) and not text:find "%.$" then return true end
  return nil, "expected a host like a.example.com or *.example.com"
end

local name = s.record {
  located = true,
  description = "Names that clients ask for (SNI), and where they are passed on to.",
  fields = {
    { hosts = s.list { required = true, len_min = 1, len_max = 1024, unique_by = string.lower,
      elements = s.string { len_max = 253, custom_validator = is_name,
        expects = "a host like a.example.com or *.example.com" },
      description = "a.example.com, or *.example.com for all one level below example.com." } },
    { pool = s.foreign { reference = "pools", required = true, description = "Who gets their connections." } },
  },
}

--- The fields of a listener.
M.FIELDS = {
  { mode = s.string { default = "http", one_of = { "http", "tcp", "tls_passthrough" },
    description = "http: requests are answered or forwarded; tcp: connections are passed on to `pool` as bytes; "
      .. "tls_passthrough: the same, by the name that TLS clients ask for; TLS stays between client and backend." } },
  { pool = s.foreign { reference = "pools", description = "With mode tcp who gets the connections; with "
    .. "tls_passthrough those whose name is none of `names`; without it they are refused. A pool of the default "
    .. "tenant." } },
  { names = s.list { elements = name, len_min = 1, len_max = 4096,
    description = "With tls_passthrough: which names go to which pools." } },
}

local function check_hosts(names)
  local seen = {}
  for i, entry in ipairs(names) do
    for _, host in ipairs(entry.hosts or {}) do
      local key = host:lower()
      if seen[key] and seen[key] ~= i then
        return nil, ("%s stands in names[%d] already"):format(host, seen[key] - 1), "names"
      end
      seen[key] = i
    end
  end
  return true
end

--- Checks what a listener says together. For custom_validator.
function M.check(listener)
  local mode, pool, names = listener.mode, rawget(listener, "pool"), rawget(listener, "names")
  if mode == "http" then
    if pool then return nil, "goes with mode tcp or tls_passthrough; with http, routes say which pool", "pool" end
    if names then return nil, "goes with mode tls_passthrough", "names" end
    return true
  end
  for _, field in ipairs(HTTP_ONLY) do
    if rawget(listener, field) ~= nil then
      return nil, ("goes with mode http: with %s connections are passed on as they are"):format(mode), field
    end
  end
  if mode == "tcp" and names then return nil, "goes with mode tls_passthrough", "names" end
  if mode == "tcp" and not pool then return nil, "required with mode tcp", "pool" end
  if not pool and not names then return nil, "required with mode tls_passthrough: pool, names or both", "names" end
  return check_hosts(names or {})
end

return M
