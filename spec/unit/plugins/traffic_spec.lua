--- The hot paths of the plugins for traffic, on exchanges that reach the real C: they compile as a whole.
local exchanges = require "support.exchanges"
local fixture = require "unit.plugins.fixture"
local traces = require "support.traces"

local FIELDS = { ["User-Agent"] = "curl/8.0", Origin = "https://b.example", ["X-Id"] = "7" }
local ANSWER = { ["Content-Type"] = "text/plain", Vary = "Accept-Encoding" }

--- What needs a worker, and has specs of its own.
local PDK = {
  plugin = { get_name = function() return "rate-limiting" end, get_scope = function() return "global" end },
  metrics = { counter = function() return { inc = function() end } end },
  ratelimit = {
    window = function(_, limit) return true, limit - 1, 0, 30 end,
    peek_window = function(_, limit) return true, limit, 0, 30 end,
  },
}
local NONE = { headers = {}, querystring = {}, body = {}, json = {}, json_types = {} }

local PATHS = {
  { "cors", "header_filter", { origins = { "https://a.example", "https://b.example" }, allow_origin_absent = true,
    credentials = true } },
  { "ip-restriction", "access", { deny = { "10.0.0.0/8" }, status = 403 } },
  { "request-transformer", "access", { remove = { headers = { "x-a", "x-b" }, querystring = {}, body = {} },
    rename = NONE, replace = NONE, append = NONE,
    add = { headers = { "X-C:1", "X-D:user-$(headers.x-id or 'none')" }, querystring = {}, body = {} } } },
  { "response-transformer", "header_filter", { remove = { headers = { "server" }, json = {} }, rename = NONE,
    replace = NONE, append = NONE, add = { headers = { "X-C:1" }, json = {}, json_types = {} } } },
  { "rate-limiting", "access", { minute = 100, hour = 1000, limit_by = "consumer", policy = "local",
    algorithm = "window" } },
  { "script", "access", { access = "pdk.service.request.set_header('X-A', pdk.request.get_header 'x-id')" } },
}

describe("on the hot path,", function()
  teardown(exchanges.close)

  for _, path in ipairs(PATHS) do
    local name, phase, conf = unpack(path)
    it(name .. " compiles", function()
      exchanges.open { phase = phase, fields = FIELDS, answer = phase == "header_filter" and ANSWER or nil }
      local handler = fixture.load(name, PDK) "handler"
      local run = handler[phase]
      traces.assert_compiles(function() run(handler, conf) end, 300)
    end)
  end
end)
