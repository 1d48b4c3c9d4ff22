--- What every endpoint of the admin API has to do, one table over all operations of its own OpenAPI document on the
-- real binary: a good request is answered as declared; strangers, readers, wrong methods, media types, parameters,
-- paths and bodies are refused. An operation without a case fails.
local cjson = require "cjson"
local clients = require "support.client"
local json_schema = require "support.json_schema"
local loop = require "support.loop"
local pki = require "support.pki"
local servers = require "support.server"
local tempdir = require "support.tempdir"

local JSON, MERGE, PROBLEM = "application/json", "application/merge-patch+json", "application/problem+json"
local ADMIN = { Authorization = "Basic " .. "YWRtaW46Y29ycmVjdCBob3JzZQ==" } -- admin:correct horse
local server, port, document, reader

-- Cases -------------------------------------------------------------------------------------------------------

-- What has to be there: how it is made (409: it is), and what it is called in paths.
local THINGS = {
  pool = { "/api/pools", { name = "base", backends = { { address = "127.0.0.1:1" } } } },
  spare = { "/api/pools", { name = "spare" } },
  backend = { "/api/pools/base/backends", { address = "127.0.0.1:1" } },
  route = { "/api/routes", { name = "site", host = "site.example.com", pool = "base" } },
  consumer = { "/api/consumers", { name = "ana" } },
  credential = { "/api/consumers/ana/credentials", { type = "key-auth", key = "of-ana" } },
  plugin = { "/api/plugins", { name = "cors" } },
  tenant = { "/api/tenants", { name = "acme", hosts = { "acme.example.com" } } },
  template = { "/api/templates", { name = "plan", entities = { pools = { { name = "made" } } } } },
  key = { "/api/apikeys", { name = "ci" } },
}

-- Made anew before each good request, in this order.
local RENEW = { "consumer", "credential", "pool", "spare", "backend", "route", "plugin", "tenant", "template", "key" }

-- Path parameters of the things, by the beginning of the path.
local IDS = {
  { "/api/backends/{pool_name}", { pool_name = "base", id = "127.0.0.1:1" } },
  { "/api/backends", { id = "127.0.0.1:1" } },
  { "/api/pools/{pool_name}", { pool_name = "base" } },
  { "/api/pools", { id = "base" } }, { "/api/routes", { id = "site" } },
  { "/api/consumers/{consumer}", { consumer = "ana" } }, { "/api/consumers", { id = "ana" } },
  { "/api/plugins", { id = "global:cors" } }, { "/api/tenants", { id = "acme" } },
  { "/api/templates", { id = "plan" } }, { "/api/config/templates", { id = "plan" } },
  { "/api/apikeys", { name = "ci" } }, { "/api/schemas", { kind = "pools" } },
  { "/api/config/versions", { version = "1" } },
}

local function only(values) return { operations = { values } } end

-- METHOD PATH -> {status = of a good request (200), body = of it, params = of its path, and what is special:
--   media        type of the body, when that is no JSON
--   is_document  the body is a whole document, in JSON or YAML
--   takes_any    any query is taken
--   any_accept   it is answered whatever Accept says
--   after        a good request ends the node
--   is_hidden    by a pattern that takes the last part of the path for an id
--   is_harmless  it changes nothing, whatever it is asked
local ANY = { takes_any = true, any_accept = true } -- probes and browsers ask as they like
local NEGOTIATES_NOT = { any_accept = true }
local CASES = {
  ["GET /"] = ANY, ["GET /health"] = ANY, ["GET /api/health"] = ANY, ["GET /ready"] = ANY, ["GET /metrics"] = ANY,
  ["GET /api/metrics/prometheus"] = NEGOTIATES_NOT, ["GET /api/metrics"] = NEGOTIATES_NOT,
  ["GET /api/metrics/realtime"] = NEGOTIATES_NOT, ["GET /api/version"] = NEGOTIATES_NOT,
  ["GET /api/status"] = NEGOTIATES_NOT, ["GET /api/status/health"] = NEGOTIATES_NOT,
  ["GET /api/system/info"] = NEGOTIATES_NOT, ["GET /api/cluster"] = {},
  ["GET /assets/status.css"] = ANY, ["GET /assets/status.js"] = ANY, ["GET /api/openapi.json"] = NEGOTIATES_NOT,
  ["GET /api/schemas/{kind}"] = {}, ["GET /api/listeners"] = {},
  ["GET /api/plugins/available"] = {}, ["GET /api/jobs"] = {},
  ["GET /api/debug/pools"] = NEGOTIATES_NOT, ["GET /api/debug/backends"] = NEGOTIATES_NOT,
  ["GET /api/debug/routes"] = NEGOTIATES_NOT, ["GET /api/debug/performance"] = NEGOTIATES_NOT,
  ["GET /api/debug/log-level"] = NEGOTIATES_NOT, ["DELETE /api/debug/log-level"] = NEGOTIATES_NOT,
  ["PUT /api/debug/log-level"] = { body = { level = "info" }, any_accept = true },
  ["PATCH /api/debug/log-level"] = { body = { level = "info" }, media = MERGE, any_accept = true },
  ["POST /api/debug/explain"] = { body = { url = "http://site.example.com/" }, any_accept = true, is_harmless = true },
  ["POST /api/reload"] = {}, ["POST /api/system/drain"] = { after = true, body = { confirm = true } },
  ["GET /api/config"] = {}, ["GET /api/config/export"] = {}, ["GET /api/config/diff"] = {},
  ["GET /api/config/versions"] = {}, ["GET /api/config/versions/{version}"] = {},
  ["POST /api/config/versions/{version}/rollback"] = { body = { reason = "spec" } },
  ["POST /api/config/versions/{version}/confirm"] = { status = 409, body = {} },
  ["POST /api/config/versions/{version}/reject"] = { status = 409, body = {} },
  ["POST /api/config/import"] = { body = '{"pools":[]}', is_document = true },
  ["POST /api/config/validate"] = { body = '{"pools":[]}', is_document = true, is_harmless = true },
  ["POST /api/config/templates/{id}/apply"] = { body = { mode = "replace" } },
  ["POST /api/bulk"] = { body = only { action = "test", kind = "pools", data = { name = "x" } } },
  ["POST /api/bulk/pools"] = { body = only { action = "test", data = { name = "x" } } },
  ["POST /api/bulk/routes"] = { body = only { action = "test", data = { name = "x", pool = "base" } } },
  ["POST /api/bulk/backends"] = { body = only { action = "test", pool = "base", data = { address = "127.0.0.1:9" } } },
  ["GET /api/bulk/operations"] = {},
  ["GET /api/bulk/operations/{id}"] = { status = 404, params = { id = ("0"):rep(32) } },
  ["DELETE /api/bulk/operations/{id}"] = { status = 404, params = { id = ("0"):rep(32) } },
  ["GET /api/backup/create"] = {}, ["POST /api/backup/create"] = { body = { passphrase = "of eight and more" } },
  ["POST /api/backup/restore"] = { status = 400, body = { data = "AAAA" } },
  ["GET /api/backups"] = {}, ["POST /api/backups"] = { status = 201, body = {} },
  ["GET /api/backups/{id}"] = { status = 404, params = { id = "none" } },
  ["DELETE /api/backups/{id}"] = { status = 404, params = { id = "none" } },
  ["GET /api/keys"] = {}, ["POST /api/keys/rotate"] = { body = {} },
  ["DELETE /api/keys/{id}"] = { status = 404, params = { id = "00" } },
  ["GET /api/apikeys"] = {}, ["POST /api/apikeys"] = { status = 201, body = { name = "other" } },
  ["GET /api/apikeys/{name}"] = {}, ["DELETE /api/apikeys/{name}"] = { status = 204 },
  ["POST /api/backends/{id}/drain"] = { body = { mode = "drain" }, is_hidden = true },
  ["POST /api/backends/{id}/undrain"] = { body = {}, is_hidden = true },
  ["POST /api/backends/{id}/weight"] = { body = { weight = 3 }, is_hidden = true },
  ["POST /api/pools/{id}/drain"] = { body = { mode = "drain" } }, ["POST /api/pools/{id}/undrain"] = { body = {} },
  ["POST /api/ws/control"] = { body = { type = "status", action = "resume" } },
  ["POST /api/ws/force-update"] = { body = { type = "status" } },
}
for _, channel in ipairs { "status", "backends", "metrics", "health", "control", "force-update" } do
  CASES["GET /api/ws/" .. channel] = { status = 426, takes_any = true, any_accept = true }
end

-- Resources: the usual verbs. Their details are in api_contract_spec.lua.
local NEW = {
  ["/api/pools"] = { name = "new" }, ["/api/backends"] = { pool = "base", address = "127.0.0.1:77" },
  ["/api/pools/{pool_name}/backends"] = { address = "127.0.0.1:78" },
  ["/api/routes"] = { name = "new", host = "new.example.com", pool = "base" }, ["/api/consumers"] = { name = "new" },
  ["/api/consumers/{consumer}/credentials"] = { type = "key-auth", key = "new" },
  ["/api/plugins"] = { name = "cors", as = "new" }, ["/api/tenants"] = { name = "new" },
  ["/api/templates"] = { name = "new", entities = { pools = { { name = "made" } } } },
  ["/api/config/templates"] = { name = "newer", entities = { pools = { { name = "made" } } } },
}
local CHANGE = { ["/api/pools/{id}"] = { algorithm = "random" }, ["/api/routes/{id}"] = { priority = 3 },
  ["/api/backends/{id}"] = { weight = 5 }, ["/api/backends/{pool_name}/{id}"] = { weight = 6 },
  ["/api/consumers/{id}"] = { groups = { "gold" } }, ["/api/plugins/{id}"] = { enabled = false },
  ["/api/tenants/{id}"] = { active = true }, ["/api/templates/{id}"] = { description = "x" },
  ["/api/config/templates/{id}"] = { description = "y" }, ["/api/certificates/{id}"] = {} }

local function add_resources()
  for collection, body in pairs(NEW) do
    CASES["GET " .. collection] = {}
    CASES["POST " .. collection] = { status = 201, body = body }
  end
  for single, change in pairs(CHANGE) do
    CASES["GET " .. single] = {}
    CASES["PUT " .. single] = { body = change }
    CASES["PATCH " .. single] = { body = change, media = MERGE }
    CASES["DELETE " .. single] = { status = 204 }
  end
  CASES["DELETE /api/pools/{id}"].params = { id = "spare" }
  CASES["GET /api/consumers/{consumer}/credentials/{id}"] = {}
  CASES["DELETE /api/consumers/{consumer}/credentials/{id}"] = { status = 204 }
end

-- Requests ----------------------------------------------------------------------------------------------------

local function with(...)
  local all = {}
  for i = 1, select("#", ...) do
    for name, value in pairs((select(i, ...)) or {}) do all[name] = value end
  end
  return all
end

local function encode(body)
  if type(body) ~= "table" then return body end
  return next(body) == nil and "{}" or cjson.encode(body)
end

local function request(method, path, body, fields)
  local response = clients.request(port, method, path, with({ Accept = JSON }, fields), encode(body))
  if #response.body > 0 and (response:get "content-type" or ""):find "json" then
    response.json = cjson.decode(response.body)
  end
  return response
end

local function escape(text)
  return (text:gsub("[^%w._~-]", function(c) return ("%%%02X"):format(c:byte()) end))
end

local credential_id, certificate

--- Makes what is not there any more.
local function renew()
  for _, name in ipairs(RENEW) do
    local made = request("POST", THINGS[name][1], THINGS[name][2], with(ADMIN, { ["Content-Type"] = JSON }))
    assert.is_true(made.status == 201 or made.status == 409 or made.status == 400, name .. ": " .. made.body)
  end
  request("POST", "/api/certificates", with(certificate, { name = "cert" }), with(ADMIN, { ["Content-Type"] = JSON }))
  local list = request("GET", "/api/consumers/ana/credentials", nil, ADMIN).json
  credential_id = list[1].credential_id
end

local function params_of(path, case)
  for _, row in ipairs(IDS) do
    if path:sub(1, #row[1]) == row[1] then return with({ id = credential_id }, row[2], case.params) end
  end
  return case.params or {}
end

local function target(path, params)
  return (path:gsub("{([%w_]+)}", function(name) return escape(assert(params[name], path .. " " .. name)) end))
end

local function fields_of(case, more)
  return with(ADMIN, case.body and { ["Content-Type"] = case.media or JSON }, more)
end

-- What all of them do -----------------------------------------------------------------------------------------

local faults

local function note(what, text, ...) faults[#faults + 1] = what .. ": " .. text:format(...) end

--- Expects a problem document.
local function refuses(what, why, response, status)
  if response.status ~= status then
    return note(what, "%s is answered with %d: %s", why, response.status, response.body:sub(1, 150))
  end
  if (response:get "content-type") ~= PROBLEM then note(what, "%s is no problem document", why) end
end

local CHECKS = {}

function CHECKS.is_answered_as_declared(what, method, path, operation, case)
  renew()
  local response = request(method, target(path, params_of(path, case)), case.body, fields_of(case))
  if response.status ~= (case.status or 200) then
    return note(what, "a good request is answered with %d: %s", response.status, response.body:sub(1, 300))
  end
  local fault = json_schema.judge_response(document, operation, response)
  if fault then note(what, "%s", fault) end
end

function CHECKS.only_says_what_would_be_in_a_dry_run(what, method, path, operation, case)
  if method == "GET" or case.is_harmless then return end
  renew()
  local function version() return request("GET", "/api/config", nil, ADMIN).json.version end
  local before = version()
  local response = request(method, target(path, params_of(path, case)) .. "?dry_run=true", case.body, fields_of(case))
  local wanted = (case.status or 200) < 400 and 200 or case.status
  if response.status ~= wanted then
    return note(what, "a dry run is answered with %d: %s", response.status, response.body:sub(1, 300))
  end
  local fault = json_schema.judge_response(document, operation, response)
  if fault then note(what, "%s", fault) end
  if wanted == 200 and response.json.dry_run ~= true then note(what, "a dry run does not say so") end
  if version() ~= before then note(what, "a dry run makes a version") end
  refuses(what, "an odd dry run", request(method, target(path, params_of(path, case)) .. "?dry_run=perhaps", case.body,
    fields_of(case)), 400)
end

function CHECKS.wants_credentials(what, method, path, operation, case)
  if not operation["x-permission"] or path == "/metrics" or path == "/" then return end
  local response = request(method, target(path, params_of(path, case)), case.body, with(fields_of(case),
    { Authorization = "Basic YTpi" }))
  if response.status ~= 401 and response.status ~= 429 then note(what, "a stranger gets %d", response.status) end
end

function CHECKS.wants_permission(what, method, path, operation, case)
  if not operation["x-permission"] or method == "GET" then return end
  refuses(what, "a reader", request(method, target(path, params_of(path, case)), case.body,
    with(fields_of(case), { Authorization = "Bearer " .. reader })), 403)
end

function CHECKS.knows_its_parameters(what, method, path, _, case)
  if case.takes_any then return end
  refuses(what, "an unknown parameter", request(method, target(path, params_of(path, case)) .. "?colour=red", case.body,
    fields_of(case)), 400)
  refuses(what, "a broken query", request(method, target(path, params_of(path, case)) .. "?a=%zz", case.body,
    fields_of(case)), 400)
end

function CHECKS.negotiates(what, method, path, _, case)
  if case.any_accept then return end
  refuses(what, "Accept: image/png", request(method, target(path, params_of(path, case)), case.body,
    fields_of(case, { Accept = "image/png" })), 406)
end

function CHECKS.knows_its_paths(what, method, path, _, case)
  if not path:find "{" then return end
  local params = {}
  for name in path:gmatch "{([%w_]+)}" do params[name] = "no-such-thing" end
  refuses(what, "something unknown", request(method, target(path, params), case.body, fields_of(case)), 404)
end

function CHECKS.knows_its_methods(what, _, path, _, case)
  if case.is_hidden then return end
  local wrong
  for _, method in ipairs { "PATCH", "DELETE", "PUT", "POST" } do
    if not document.paths[path][method:lower()] then wrong = wrong or method end
  end
  if not wrong then return end
  local response = request(wrong, target(path, params_of(path, case)), nil, ADMIN)
  refuses(what, wrong, response, 405)
  if response.status == 405 and not response:get "allow" then note(what, "405 has no Allow") end
end

local BROKEN = { ["a list"] = "[]", ["no JSON"] = '{"a":', ["a name twice"] = '{"a":1,"a":1}',
  ["no UTF-8"] = '{"a":"\255"}',
  ["deep nesting"] = ('{"a":'):rep(200) .. "1" .. ("}"):rep(200) }

function CHECKS.judges_bodies(what, method, path, operation, case)
  if not operation.requestBody then return end
  local at = target(path, params_of(path, case))
  local function send(body, more) return request(method, at, body, fields_of(case, more)) end
  refuses(what, "another media type", send(encode(case.body), { ["Content-Type"] = "text/plain" }), 415)
  refuses(what, "a coded body", send(encode(case.body), { ["Content-Encoding"] = "gzip" }), 415)
  if case.is_document then return end
  for why, body in pairs(BROKEN) do refuses(what, why, send(body), 400) end
  if operation.requestBody.required then refuses(what, "no body", send "", 400) end
  refuses(what, "an unknown field", send(with(case.body, { no_such_field = 1 })), 400)
end

function CHECKS.takes_types(what, method, path, operation, case)
  if not operation.requestBody or case.is_document then return end
  local schema = assert(operation.requestBody.content[case.media or JSON], what).schema
  if schema["$ref"] then schema = document.components.schemas[schema["$ref"]:match "[^/]+$"] end
  for name, field in pairs(schema.properties or {}) do
    local wrong = { { 1 } } -- a list of lists is no field's type
    if not field.readOnly and field.type and field.type ~= "array" and type(field.type) == "string" then
      refuses(what, "a wrong type of " .. name, request(method, target(path, params_of(path, case)),
        with(case.body, { [name] = wrong }), fields_of(case)), 400)
    end
  end
end

function CHECKS.has_a_limit(what, method, path, operation, case)
  if not operation.requestBody then return end
  local client = clients.connect(port)
  client:request(method, target(path, params_of(path, case)), fields_of(case, { ["Content-Length"] = 2 ^ 40 }))
  local response = client:read_response(method)
  client:close()
  local status = response and response.status
  if status ~= 413 then note(what, "a terabyte is answered with %s", status) end
end

-- The spec ----------------------------------------------------------------------------------------------------

local function sorted_operations()
  local list = {}
  for path, operations in pairs(document.paths) do
    for method, operation in pairs(operations) do
      list[#list + 1] = { what = method:upper() .. " " .. path, method = method:upper(), path = path,
        operation = operation }
    end
  end
  table.sort(list, function(a, b) return a.what < b.what end)
  return list
end

local function start()
  local folder = tempdir.new()
  local site = pki.self_signed(folder, "site")
  certificate = { cert = pki.read(site.cert), key = pki.read(site.key) }
  NEW["/api/certificates"] = with(certificate, { name = "new" })
  IDS[#IDS + 1] = { "/api/certificates", { id = "cert" } }
  add_resources()
  server = servers.start { conf = { admin = { address = "127.0.0.1:0",
    auth = { password = "correct horse" } } } }
  port = server.ports.admin
  document = request("GET", "/api/openapi.json").json
  reader = request("POST", "/api/apikeys", { name = "reader" }, with(ADMIN, { ["Content-Type"] = JSON })).json.key
  faults = {}
end

describe("every endpoint", function()
  for name, check in pairs(CHECKS) do
    it(name:gsub("_", " "), loop.spec(function()
      start()
      renew()
      for _, one in ipairs(sorted_operations()) do
        local case = CASES[one.what]
        if not case then
          note(one.what, "has no case")
        elseif not (case.after and name == "is_answered_as_declared") then
          check(one.what, one.method, one.path, one.operation, case)
        end
      end
      assert.equal("", table.concat(faults, "\n"))
      server:stop()
    end))
  end
end)
