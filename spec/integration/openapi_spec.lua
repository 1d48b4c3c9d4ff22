--- The OpenAPI document of the real binary: it is a good one, what is served is what it says, and requests made of
-- it at random, good and bad, never find a fault of ours.
local cjson = require "cjson"
local clients = require "support.client"
local json_schema = require "support.json_schema"
local loop = require "support.loop"
local process = require "support.process"
local servers = require "support.server"
local tempdir = require "support.tempdir"

local VALIDATOR = "@seriousme/openapi-schema-validator@2.11.0" -- from npm
local ROUNDS = tonumber(os.getenv "FUZZ_ROUNDS") or 12 -- requests of each operation
local METHODS = { get = true, post = true, put = true, patch = true, delete = true }

local function with_document(body)
  return loop.spec(function()
    local server = servers.start { conf = {} }
    local response = clients.get(server.ports.admin, "/api/openapi.json")
    assert.equal(200, response.status)
    assert.equal("application/json", response:get "content-type")
    body(cjson.decode(response.body), server, response.body)
    server:stop()
  end)
end

local function each_operation(document, visit)
  local paths = {}
  for path in pairs(document.paths) do paths[#paths + 1] = path end
  table.sort(paths)
  for _, path in ipairs(paths) do
    local methods = {}
    for method in pairs(document.paths[path]) do methods[#methods + 1] = method end
    table.sort(methods)
    for _, method in ipairs(methods) do visit(path, method, document.paths[path][method]) end
  end
end

local function resolve(document, schema)
  local name = schema and schema["$ref"] and schema["$ref"]:match "^#/components/schemas/(.+)$"
  if not name then return schema end
  return assert(document.components.schemas[name], schema["$ref"])
end

local function each_reference(value, visit)
  if type(value) ~= "table" then return end
  for name, inner in pairs(value) do
    if name == "$ref" then visit(inner) else each_reference(inner, visit) end
  end
end

local function has_program(name)
  return process.run("/bin/sh", { "-c", "command -v " .. name }) == 0
end

describe("the OpenAPI document", function()
  it("is whole", with_document(function(document)
    assert.equal("3.1.0", document.openapi)
    local ids = {}
    each_operation(document, function(path, method, operation)
      assert.is_true(METHODS[method], method)
      assert.is_nil(ids[operation.operationId], operation.operationId)
      ids[operation.operationId] = true
      local declared, count = {}, 0
      for _, parameter in ipairs(operation.parameters or {}) do
        local id = parameter["in"] .. " " .. parameter.name
        assert.is_nil(declared[id], path .. " " .. id)
        declared[id] = true
        if parameter["in"] == "path" then count = count + 1 end
      end
      for name in path:gmatch "{([%w_]+)}" do
        assert.is_true(declared["path " .. name], path)
        count = count - 1
      end
      assert.equal(0, count, path)
      assert.is_truthy(next(operation.responses), path)
    end)
    each_reference(document, function(target)
      assert.is_table(document.components.schemas[target:match "^#/components/schemas/(.+)$"], target)
    end)
    for _, path in ipairs { "/api/pools", "/api/backends/{id}", "/api/routes/{id}", "/api/plugins/available",
      "/api/reload", "/api/openapi.json" } do
      assert.is_table(document.paths[path], path)
    end
  end))

  it("is what a public validator calls valid", with_document(function(_, _, text)
    if not has_program "npm" then return pending "there is no npm" end
    local folder = "build/npm"
    local install = ("mkdir -p %s && cd %s && npm install --prefix . --no-audit --no-fund %s"):format(folder, folder,
      VALIDATOR)
    local code = process.run("/bin/sh", { "-c", install })
    if code ~= 0 then return pending "npm cannot install the validator" end
    local file = tempdir.new() .. "/openapi.json"
    tempdir.write(file, text)
    local status, out = process.run(folder .. "/node_modules/.bin/validate-api", { file })
    assert.equal(0, status, out)
    assert.is_truthy(out:find '"valid": true', out)
  end))
end)

-- Random requests ---------------------------------------------------------------------------------------------

-- A generator of its own: the same requests in every run (Park and Miller 1988).
local seed = tonumber(os.getenv "FUZZ_SEED") or 20240501
local function random(n)
  seed = seed * 16807 % 2147483647
  return seed % n + 1
end

local function pick(list) return list[random(#list)] end

local NASTY = { "", " ", "\0", "a/b", "../..", "%", "${HOME}", "{file:/nowhere}", "*****", ("x"):rep(300), "\u{1F600}",
  "null", "default", "base", "-1", "1e400", "127.0.0.1:80", "[::1]:80", "example.com", "*", "{{", "]",
  "\u{202E}base\u{202C}", "b\u{430}se", "e\u{301}", "\u{FEFF}base", "base\u{0}", "\u{10FFFF}", "\u{FFFD}", "\u{FFFE}",
  "\u{2028}", "\u{200B}", "\u{1F468}\u{200D}\u{1F469}", "\r\nX-A: b", "'; DROP TABLE routes; --", "<script>", "\127",
  "0x10", "1.0", "NaN", "Infinity", "true", "yes", "-0", "9223372036854775808", "2024-13-45T99:99:99Z", "%2e%2e%2f" }
local NUMBERS = { 0, -0.0, 1, -1, 0.1, 1e300, -1e300, 5e-324, 2 ^ 31 - 1, 2 ^ 31, 2 ^ 32, 2 ^ 53, 2 ^ 53 + 2, 2 ^ 63,
  -2 ^ 63, 1.5, 65535, 65536 }
local WORDS = { "base", "web", "a", "site", "x-1", "default" }

local make

local function make_text(schema)
  if schema.pattern and schema.pattern:find "ms|s|m|h|d" then return pick { "5s", "100ms", "1h", "soon" } end
  if schema.pattern and schema.pattern:find "%[0%-9%]%+%$" then return "127.0.0.1:" .. random(65535) end
  if schema.format == "date-time" and random(2) == 1 then
    return pick { "2024-02-29T23:59:60Z", "2024-02-30", "now" }
  end
  if random(8) == 1 then -- at its bounds, and beyond
    local at = pick { schema.minLength or 0, schema.maxLength or 64 } + random(3) - 2
    return ("b"):rep(math.max(at, 0))
  end
  return random(3) == 1 and pick(NASTY) or pick(WORDS)
end

local function make_number(schema)
  if random(3) == 1 then return pick(NUMBERS) end
  local low, high = schema.minimum or 0, schema.maximum or 100
  return pick { low - 1, low, low + 1, high - 1, high, high + 1 }
end

local function sorted_names(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function make_object(document, schema, depth)
  local object = {}
  local required = {}
  for _, name in ipairs(schema.required or {}) do required[name] = true end
  for _, name in ipairs(sorted_names(schema.properties or {})) do
    if required[name] and random(10) > 1 or random(4) == 1 then
      object[name] = make(document, schema.properties[name], depth + 1)
    end
  end
  if random(6) == 1 then object[pick(NASTY)] = make(document, {}, depth + 1) end
  return next(object) and object or cjson.null
end

local ANY = { "string", "integer", "boolean", "null", "array", "object" }

--- Makes a value that a schema allows, mostly.
function make(document, schema, depth)
  schema = resolve(document, schema) or {}
  if depth > 6 then return cjson.null end
  if random(12) == 1 then schema = { type = pick(ANY) } end -- of another type
  if schema.enum then return pick(schema.enum) end
  if schema.const ~= nil then return schema.const end
  if schema.anyOf then return make(document, pick(schema.anyOf), depth + 1) end
  local kind = schema.type or pick(ANY)
  if type(kind) == "table" then kind = pick(kind) end
  if kind == "string" then return make_text(schema) end
  if kind == "integer" or kind == "number" then return make_number(schema) end
  if kind == "boolean" then return random(2) == 1 end
  if kind == "array" then
    local list = {}
    for i = 1, random(3) - 1 do list[i] = make(document, schema.items, depth + 1) end
    return #list > 0 and list or cjson.null
  end
  if kind == "object" then return make_object(document, schema, depth) end
  return cjson.null
end

local function escape(text)
  return (text:gsub("[^%w._~-]", function(c) return ("%%%02X"):format(c:byte()) end))
end

local BROKEN = { "", "{", "[]", "null", '"text"', '{"a":1,"a":2}', "\255", ("["):rep(5000), '{"a":1e999}', "{}" }

local function body_of(document, operation)
  local content = operation.requestBody and operation.requestBody.content
  if not content then return nil end
  local kind = pick(sorted_names(content))
  local media = content[kind]
  if random(5) == 1 then return kind, pick(BROKEN) end
  local schema = media.schema
  if schema.type == "object" and not schema.properties then
    -- A change: of any kind that there is.
    local names = sorted_names(document.components.schemas)
    schema = document.components.schemas[pick(names)]
  end
  local value = make(document, schema, 0)
  return random(20) == 1 and "text/plain" or kind, value == cjson.null and "{}" or cjson.encode(value)
end

local function path_of(path, known)
  return (path:gsub("{([%w_]+)}", function()
    return escape(random(3) == 1 and pick(NASTY):gsub("[/%z]", "_") or pick(known))
  end))
end

local VALUES = { "1", "true", "2", "abc", "", "replace", "default", "%zz", "-1", "0", "18446744073709551616", "1e3",
  "%00", "%F0%9F%98%80", "%C0%AF", "a%0D%0Ab", "+", "%2B", ("9"):rep(400), "null", "&", "=", "running", "cluster" }

local function query_of(operation)
  local parts = {}
  for _, parameter in ipairs(operation.parameters or {}) do
    if parameter["in"] == "query" and random(12) == 1 then
      for _ = 1, random(5) == 1 and 3 or 1 do parts[#parts + 1] = escape(parameter.name) .. "=" .. pick(VALUES) end
    end
  end
  if random(20) == 1 then parts[#parts + 1] = pick { "colour=red", "&&", "=", "limit", "?", "a=b=c", "%" } end
  return #parts > 0 and "?" .. table.concat(parts, "&") or ""
end

-- Fields that a client may add to anything: none makes an answer a fault.
local FIELDS = {
  Accept = { "*/*", "text/html", "application/*;q=0.1", "application/json;q=0", ";", ",,,", ("a/b,"):rep(500) },
  ["Accept-Language"] = { "de", "\195\164" }, ["Content-Language"] = { "x" },
  ["Content-Encoding"] = { "gzip", "identity" },
  ["If-None-Match"] = { "*", '"1"', 'W/"1"', "garbage" }, ["If-Modified-Since"] = { "yesterday" },
  Prefer = { "respond-async", "handling=lenient", "handling=strict, wait=10", "=" }, Range = { "bytes=0-0" },
  ["X-Change-Reason"] = { "\240\159\152\128", ("long "):rep(500), '"quoted"', "\255" },
  Cookie = { "a=b; =; c", "veloflux=1" },
  ["X-Request-Id"] = { "mine", ("x"):rep(300), "a b" }, Forwarded = { "for=unknown" },
  ["X-Forwarded-For"] = { "1.2.3.4, x" },
  ["X-HTTP-Method-Override"] = { "DELETE" }, TE = { "trailers" }, Authorization = { "Basic !!!", "Bearer x", "Digest" },
  ["X-API-Key"] = { "none", "" }, ["Sec-Fetch-Site"] = { "cross-site", "none" },
  Origin = { "null", "http://evil.example" },
}
local FIELD_NAMES = {}
for name in pairs(FIELDS) do FIELD_NAMES[#FIELD_NAMES + 1] = name end
table.sort(FIELD_NAMES)

describe("the admin API", function()
  it("answers no random request with a fault of its own", with_document(function(document, server)
    local port = server.ports.admin
    local known = { "base", "ana", "site", "127.0.0.1:1", "pools", "routes", "global:cors", "cors", "1", "2" }
    local client, statuses = clients.connect(port), {}
    for _ = 1, ROUNDS do
      for path, body in pairs { pools = '{"name":"base","backends":[{"address":"127.0.0.1:1"}]}',
        consumers = '{"name":"ana"}' } do -- what was there may be gone: deleted, rolled back or replaced
        clients.request(port, "POST", "/api/" .. path, { ["Content-Type"] = "application/json" }, body)
      end
      each_operation(document, function(path, method, operation)
        if path == "/api/system/drain" then return end -- it ends the node
        local names = method == "delete" and random(2) == 1 and { "base", "ana" } or known
        local target = path_of(path, names) .. query_of(operation)
        local kind, body = body_of(document, operation)
        local fields = { Accept = "application/json" }
        if kind then fields["Content-Type"] = kind end
        if random(8) == 1 then fields["If-Match"] = pick { '"1"', "*", '"', "W/\"2\"" } end
        if method == "post" and random(8) == 1 then fields["Idempotency-Key"] = pick { "k1", "k2", "k 3" } end
        if random(8) == 1 then fields.Prefer = "handling=lenient" end
        for _ = 1, random(4) == 1 and 2 or 0 do
          local name = pick(FIELD_NAMES)
          fields[name] = pick(FIELDS[name])
        end
        client:request(method:upper(), target, fields, body)
        local response = client:read_response(method:upper())
        local what = ("%s %s %s\n%s"):format(method, target, body or "", response and response.body or "no answer")
        assert.is_truthy(response, what)
        if response.status == 500 then what = what .. table.concat(server:log_lines(), "\n") end
        assert.is_true(response.status < 500 or response.status == 503 and path == "/ready", what)
        local fault = json_schema.judge_response(document, operation, response)
        assert.is_nil(fault, what)
        statuses[response.status] = (statuses[response.status] or 0) + 1
        local ended = (response:get "connection" or ""):lower() == "close"
        if ended then
          client:close()
          client = clients.connect(port)
        end
      end)
    end
    client:close()
    for _, status in ipairs { 200, 201, 204, 400, 404, 415 } do assert.is_truthy(statuses[status], status) end
    assert.equal(200, clients.get(port, "/api/pools").status)
    assert.is_nil(table.concat(server:log_lines(), "\n"):match "[^\n]*lua_error[^\n]*")
  end))
end)
