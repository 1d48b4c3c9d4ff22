--- Plays every case of spec/conformance/cases against the real binary: one server, one origin, and a client connection
-- per case.
--
-- To see how another proxy fares, start it with the origin's port as its backend and name both:
--     VF_CONFORMANCE_AGAINST=PROXY_PORT:ORIGIN_PORT busted spec/conformance
local loop = require "support.loop"
local origins = require "support.origin"
local runner = require "conformance.runner"
local servers = require "support.server"

local SUBJECTS = {
  "rfc9112_message_syntax", "rfc9112_framing_request", "rfc9112_framing_response", "rfc9112_connection",
  "rfc9110_fields", "rfc9110_methods", "rfc9110_status", "rfc9110_intermediary", "rfc9111_non_caching",
  "targets", "smuggling",
}

-- Long enough for sanitizers; a case that hits it has failed.
local CASE_TIMEOUT_MS = os.getenv "VF_SAN" and 120000 or 60000

-- The configuration that cases may rely on: its routes, by path, are described in README.md.
local function conf(origin_address, refused_address)
  return {
    listeners = {
      { name = "http", address = "127.0.0.1:0" },
      { name = "hasty", address = "127.0.0.1:0", timeouts = { client_header = "1s", client_body = "100ms" } },
    },
    pools = {
      { name = "origin", backends = { { address = origin_address } } },
      { name = "refused", backends = { { address = refused_address } } },
    },
    routes = {
      { name = "all", host = "*", path_regex = "^(?!/only-get(/|$))", priority = -1, pool = "origin" },
      { name = "only-get", host = "*", path_prefix = "/only-get", methods = { "GET" }, pool = "origin" },
      { name = "small", host = "*", path_prefix = "/small", limits = { body_bytes = 8 }, pool = "origin" },
      { name = "hasty", host = "*", path_prefix = "/hasty", timeouts = { response = "100ms" }, pool = "origin" },
      { name = "refused", host = "*", path_prefix = "/refused", pool = "refused" },
      { name = "fixed", host = "*", path = "/fixed", respond = { status = 200, body = "fixed", type = "text/plain" } },
      { name = "moved", host = "*", path = "/moved", redirect = { to = "https://b.example/new", status = 308 } },
      { name = "strip", host = "*", path_prefix = "/strip", strip_prefix = true, pool = "origin" },
    },
  }
end

local function unused_address()
  local nobody = origins.start()
  nobody:close()
  return nobody.address
end

local function start_target()
  local against = os.getenv "VF_CONFORMANCE_AGAINST"
  local proxy_port, origin_port = (against or ""):match "^(%d+):(%d+)$"
  local origin = origins.start(nil, { eager = false, port = tonumber(origin_port) })
  if against then
    return { origin = origin, ports = { http = tonumber(proxy_port), hasty = tonumber(proxy_port) } }
  end
  local server = servers.start { conf = conf(origin.address, unused_address()) }
  return { origin = origin, ports = server.ports, server = server }
end

describe("conformance", function()
  local shared, target = loop.scope(), nil
  setup(shared:spec(function() target = start_target() end))
  teardown(function()
    if target and target.server then shared:run(function() target.server:stop() end) end
    shared:close()
  end)

  local names = {}
  for _, subject in ipairs(SUBJECTS) do
    describe(subject, function()
      for _, case in ipairs(require("conformance.cases." .. subject)) do
        local name = ("%s: %s"):format(case.section, case.name)
        assert(not names[name], "two cases are called " .. name)
        names[name] = true
        it(name, loop.spec(function() runner.play(target, case) end, { timeout_ms = CASE_TIMEOUT_MS }))
      end
    end)
  end
end)
