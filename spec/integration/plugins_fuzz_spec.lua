--- Every shipped plugin against values that nobody meant: configurations are good or have problems, and no
-- request makes a handler raise. Seeds are fixed, so a failure repeats; FUZZ_SEEDS sets how many of each (150).
local cjson = require "cjson"
local clients = require "support.client"
local loop = require "support.loop"
local origins = require "support.origin"
local servers = require "support.server"
require "support.library"
local conf = require "veloflux.conf"
local mutation = require "unit.conf.mutation"

local SEEDS = tonumber(os.getenv "FUZZ_SEEDS" or 150)

local SECRET = ("s"):rep(32)

-- Plugins with configurations that use much of them; {origin} is replaced by an address.
local CONFIGS = {
  acl = { { allow = { "gold" } }, { deny = { "bad" }, hide_groups_header = true } },
  ["basic-auth"] = { {}, { hide_credentials = true, anonymous = "nobody" } },
  cors = { {}, { origins = { "https://a.example", "https?://.*\\.b\\.example" }, credentials = true, max_age = 60,
    exposed_headers = { "x-a" }, private_network = true } },
  ["http-log"] = { { http_endpoint = "http://{origin}/log", headers = { ["x-a"] = "b" } } },
  ["ip-restriction"] = { { deny = { "10.0.0.0/8", "2001:db8::/32" } } },
  jwt = { {}, { cookie_names = { "token" }, uri_param_names = { "jwt" }, claims_to_verify = { "exp", "nbf" },
    anonymous = "nobody" } },
  ["key-auth"] = { {}, { key_names = { "apikey", "x-key" }, key_in_body = true, hide_credentials = true,
    anonymous = "nobody" } },
  ["rate-limiting"] = { { second = 1000, hour = 100000, limit_by = "header", header_name = "x-a" },
    { algorithm = "gcra", rate = 1000, burst = 2000, limit_by = "consumer", error_code = 418 } },
  ["request-transformer"] = { { remove = { headers = { "x-a" }, querystring = { "b" }, body = { "c" } },
    rename = { headers = { "x-b:x-c" }, querystring = { "d:e" }, body = { "f:g" } },
    replace = { headers = { "x-d:$(headers.x-e)" }, body = { "h:$(query_params.i)" } },
    add = { headers = { "x-f:$(headers.x-g)" }, querystring = { "j:$(headers.x-h)" }, body = { "k:l" } },
    append = { headers = { "x-i:1" }, querystring = { "m:n" }, body = { "o:p" } } } },
  ["response-transformer"] = { { remove = { headers = { "x-a" }, json = { "request" } },
    rename = { headers = { "x-b:x-c" }, json = { "method:verb" } }, add = { headers = { "x-d:1" }, json = { "k:v" } },
    append = { headers = { "x-e:1" }, json = { "fields:v" } } } },
  script = { { access = "pdk.ctx.plugin.path = pdk.request.get_path() pdk.request.get_query() "
    .. "pdk.request.get_body()" } },
}

local NAMES = { "Authorization", "apikey", "x-key", "Origin", "Access-Control-Request-Method", "Cookie", "Content-Type",
  "X-Forwarded-For", "x-user", "x-a", "x-b", "x-e", "x-g", "x-h", "Accept", "X-Consumer-Username", "X-Odd_Name" }

local VALUES = { "", " ", "Basic", "Basic !!!!", "Basic YTpi", "Basic Og==", "Bearer", "Bearer .", "Bearer a.b.c",
  "Bearer eyJhbGciOiJub25lIn0.e30.", "Bearer eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJhIn0.AAAA", "https://a.example", "null",
  "https://x.b.example", "http://", "application/json", "application/x-www-form-urlencoded",
  "multipart/form-data; boundary=x", "multipart/form-data", "token=a.b.c; token=", "=", "$(headers.x-a)", "%0d%0a",
  "{{ a }}", "1.2.3.4, garbage", ("9"):rep(2000), "\195\40\255", "a,b,,c", '"', "*" }

local BODIES = { "", "{", "[]", "null", '{"a":1}', '{"f":{"g":[1,2]},"c":null}', "a=b&c", "=&&=%zz&%", ("["):rep(300),
  "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n--x--\r\n", "\0\1\2", ("x"):rep(5000) }

local PATHS = { "/", "/a%20b", "/a//b", "/x?", "/x?a", "/x?a=1&a=2&b", "/x?apikey=&jwt=a.b.c", "/x?%zz=%", "/x?d=%ff",
  "/x?" .. ("a=1&"):rep(300), "/%E2%82%AC" }

local METHODS = { "GET", "POST", "PUT", "OPTIONS", "HEAD", "DELETE", "PATCH" }

local function pick(random, list) return list[random(#list)] end

--- The names of those that have instances; others live in control alone.
local function shipped()
  local names = {}
  for name in io.popen("ls plugins/*/handler.lua | cut -d/ -f2"):lines() do names[#names + 1] = name end
  return names
end

local function with_origin(config, origin)
  return cjson.decode((cjson.encode(config):gsub("{origin}", origin):gsub("{}", "{}")))
end

describe("shipped plugins", function()
  it("are all here", function()
    for _, name in ipairs(shipped()) do assert.is_table(CONFIGS[name], "no configuration for " .. name) end
  end)

  it("judge any configuration: it is good or has problems", function()
    local junk = { true, false, 0, -1, 1.5, 1e300, "", "x", ("y"):rep(300), "$(a", "(", "\0", {}, { 1 }, { a = 1 },
      { { "b" } }, cjson.null, "{vault://env/x}", "10.0.0.0/99", "http://", "https://a", "Bearer x\r\ny: z" }
    for name, configs in pairs(CONFIGS) do
      for seed = 1, SEEDS do
        local random = mutation.generator(seed)
        local config = with_origin(configs[random(#configs)], "127.0.0.1:1")
        local keys = {}
        for key in pairs(config) do keys[#keys + 1] = key end
        table.sort(keys)
        for _ = 1, random(3) do
          local key = keys[1] and random(3) > 1 and pick(random, keys) or pick(random, { "none", "name", "limit_by" })
          if type(config[key]) == "table" and random(2) == 1 then
            config[key][random(3)] = pick(random, junk)
          else
            config[key] = pick(random, junk)
          end
        end
        local ok, text = pcall(cjson.encode, { pools = { { name = "p" } }, routes = { { name = "r", pool = "p",
          plugins = { { name = name, config = config } } } } })
        if ok then
          local model, problems = conf.load { source = { text = text, name = "fuzz.yaml", dir = "/" }, env = {} }
          for _, problem in ipairs(problems) do
            assert.is_string(problem.message, name)
            assert.is_nil(problem.message:find "stack traceback", name)
          end
          assert.is_true(model ~= nil or #problems > 0, ("%s, seed %d"):format(name, seed))
        end
      end
    end
  end)

  it("survive any request", loop.spec(function()
    local origin = origins.start()
    local routes = {}
    for name, configs in pairs(CONFIGS) do
      for i, config in ipairs(configs) do
        routes[#routes + 1] = { name = name .. "-" .. i, pool = "web", host = ("%s-%d.example"):format(name, i),
          plugins = { { name = name, config = with_origin(config, origin.address) } } }
      end
    end
    local function credential(kind, fields) fields.type = kind return fields end
    local server = servers.start { conf = {
      pools = { { name = "web", backends = { { address = origin.address } } } }, routes = routes,
      consumers = {
        { name = "ana", groups = { "gold" }, credentials = {
          credential("key-auth", { key = "key-of-ana" }), credential("basic-auth", { username = "a", password = "b" }),
          credential("jwt", { key = "a", secret = SECRET }) } },
        { name = "nobody" },
      },
      plugin_limits = { trip = { errors = 1000000 } },
      log = { level = "info", format = "text", access = { path = "off" } },
    } }
    for _, route in ipairs(routes) do
      local client
      for seed = 1, SEEDS do
        local random = mutation.generator(seed)
        local fields = { { "Host", route.host } }
        for _ = 1, random(6) do fields[#fields + 1] = { pick(random, NAMES), pick(random, VALUES) } end
        local method = pick(random, METHODS)
        local body = method ~= "GET" and method ~= "HEAD" and random(2) == 1 and pick(random, BODIES) or nil
        local asked = ("%s, seed %d"):format(route.name, seed)
        client = client or clients.connect(server.ports.http)
        client:request(method, pick(random, PATHS), fields, body)
        local answer, fault = client:read_response(method)
        assert.is_truthy(answer, asked .. ": " .. tostring(fault))
        assert.is_true(answer.complete, asked)
        if answer.status >= 500 then
          local _, line = server:wait_log "(plugin%.failed.*)"
          error(("%s: %d %s"):format(asked, answer.status, line), 0)
        end
        if (answer:get "connection" or ""):find "close" then
          client:close()
          client = nil
        end
      end
      if client then client:close() end
    end
    local log = table.concat(server:log_lines(), "\n")
    assert.is_nil(log:match "[^\n]*plugin%.failed[^\n]*")
    assert.is_nil(log:match "[^\n]*worker%.exited[^\n]*")
    server:stop()
  end, { timeout_ms = 10 * loop.WATCHDOG_MS }))
end)
