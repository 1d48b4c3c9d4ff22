--- Commands of `veloflux ctl` about what is configured: objects of any kind, and versions of it all. Which kinds
-- there are is the server's to say: KIND is what stands behind /api/.
local encoding = require "veloflux.pdk.encoding"
local json = require "veloflux.pdk.json"
local outcome = require "veloflux.cli.ctl.outcome"
local output = require "veloflux.cli.output"
local text = require "veloflux.cli.text"

local M = {}

local function add(command) M[#M + 1] = command end

-- Paths ---------------------------------------------------------------------------------------------

local function kind_of(ctx)
  local kind = ctx:argument(1, "KIND")
  if not kind:find "^[%w_-][%w_/.:-]*$" then ctx:usage("not a kind: " .. kind) end
  return kind
end

local function query_of(parameters)
  local parts = {}
  for i = 1, #parameters, 2 do
    parts[#parts + 1] = encoding.url_encode(parameters[i]) .. "=" .. encoding.url_encode(parameters[i + 1])
  end
  return #parts > 0 and "?" .. table.concat(parts, "&") or ""
end

--- Adds what --probation says.
local function add_probation(ctx, parameters)
  if ctx.parsed.probation then
    parameters[#parameters + 1], parameters[#parameters + 2] = "probation", ctx.parsed.probation
  end
  return parameters
end

--- Returns the path of a kind or of one object of it, with what the options say.
local function target(ctx, kind, name, more)
  local parameters = more or {}
  if ctx.parsed.tenant then
    parameters[#parameters + 1], parameters[#parameters + 2] = "tenant_id", ctx.parsed.tenant
  end
  add_probation(ctx, parameters)
  return "/api/" .. kind .. (name and "/" .. encoding.url_encode(name) or "") .. query_of(parameters)
end

-- Showing -------------------------------------------------------------------------------------------

local COLUMNS = {
  pools = { "name", "tenant_id", "algorithm", "status", "active_backends", "total_backends", "requests", "errors",
    "origin" },
  backends = { "id", "tenant_id", "pool", "address", "status", "weight", "in_flight", "requests", "errors", "origin" },
  routes = { "id", "name", "tenant_id", "host", "path", "path_prefix", "methods", "pool", "priority", "origin" },
  consumers = { "name", "tenant_id", "groups", "origin", "version" },
  tenants = { "name", "active", "hosts", "origin", "version" },
  certificates = { "name", "tenant_id", "names", "issuer", "not_after", "key_type", "origin", "version" },
  templates = { "name", "tenant_id", "description", "parameters", "origin", "version" },
}
local MAX_COLUMNS = 8
local FIRST = { id = 1, name = 2, tenant_id = 3, kind = 4 }

local function is_scalar(value) return type(value) ~= "table" and type(value) ~= "userdata" end

local function scalar_fields(rows)
  local names, seen = {}, {}
  for _, row in ipairs(rows) do
    for name, value in pairs(row) do
      if is_scalar(value) and not seen[name] then names[#names + 1], seen[name] = name, true end
    end
  end
  table.sort(names, function(a, b)
    if FIRST[a] ~= FIRST[b] then return (FIRST[a] or 99) < (FIRST[b] or 99) end
    return a < b
  end)
  return { unpack(names, 1, MAX_COLUMNS) }
end

--- Leaves out columns that say nothing: all of the default tenant, an id that is the name, nothing at all.
local function telling(columns, rows)
  local kept = {}
  for _, column in ipairs(columns) do
    local says = false
    for _, row in ipairs(rows) do
      local value = row[column]
      local is_plain = column == "tenant_id" and value == "default" or column == "id" and value == row.name
      says = says or not is_plain and value ~= nil and value ~= json.null
    end
    if says or #rows == 0 and column ~= "tenant_id" and column ~= "id" then kept[#kept + 1] = column end
  end
  return kept
end

local function list_lines(kind)
  return function(rows)
    if #rows == 0 then return { "none" } end
    return text.table(telling(COLUMNS[kind] or scalar_fields(rows), rows), rows)
  end
end

local value_text, append_diff, outcome_lines = outcome.word, outcome.append_diff, outcome.lines

--- Writes the answer to a change of one object.
local function show_change(ctx, answer, done)
  if outcome.is_dry(answer.body) then return ctx:show(answer.body) end
  local version = answer.headers["veloflux-version"]
  local line = done .. (version and (", version %s"):format(version) or "")
  if answer.status == 202 then line = line .. ", not yet in every process" end
  if not answer.body then return ctx:show(json.null, function() return { line } end) end
  local lines, key = { line }, answer.body.key
  if type(key) == "string" and key ~= "*****" then lines[2] = "key: " .. key end -- it is shown this once
  ctx:show(answer.body, function() return lines end)
end

-- Objects -------------------------------------------------------------------------------------------

add { name = "list", usage = "list KIND [FIELD=VALUE]... [-n LIMIT]", takes_all = true,
  help = "objects: pools, backends, routes, consumers, plugins, tenants, ...", run = function(ctx)
    local kind, parameters = kind_of(ctx), {}
    for i = 3, #ctx.parsed do
      local name, value = ctx.parsed[i]:match "^([^=]+)=(.*)$"
      if not name then ctx:usage("expected FIELD=VALUE, got " .. ctx.parsed[i]) end
      parameters[#parameters + 1], parameters[#parameters + 2] = name, value
    end
    if ctx.parsed.count then
      parameters[#parameters + 1], parameters[#parameters + 2] = "limit", ctx.parsed.count
    end
    local body = ctx:ask("GET", target(ctx, kind, nil, parameters)).body
    if not json.is_array(body) then ctx:refused(kind .. " is not a list") end
    ctx:show(body, list_lines(kind))
  end }

add { name = "get", usage = "get KIND NAME", arguments = 2, help = "one object", run = function(ctx)
  ctx:show(ctx:ask("GET", target(ctx, kind_of(ctx), ctx:argument(2, "NAME"))).body)
end }

add { name = "create", usage = "create KIND -f FILE", arguments = 1, help = "makes an object of a file (YAML or JSON)",
  run = function(ctx)
    local kind = kind_of(ctx)
    local answer = ctx:ask("POST", target(ctx, kind), ctx:read_file())
    show_change(ctx, answer, ("created %s %s"):format(kind, value_text(answer.body and answer.body.id)))
  end }

add { name = "set", usage = "set KIND NAME -f FILE", arguments = 2,
  help = "changes the fields that the file has, with --replace all", run = function(ctx)
    local kind, name = kind_of(ctx), ctx:argument(2, "NAME")
    local path = target(ctx, kind, name, ctx.parsed.replace and { "mode", "replace" } or nil)
    local answer = ctx:ask("PUT", path, ctx:read_file())
    show_change(ctx, answer, ("changed %s %s"):format(kind, name))
  end }

add { name = "delete", usage = "delete KIND NAME", arguments = 2, help = "deletes an object", run = function(ctx)
  local kind, name = kind_of(ctx), ctx:argument(2, "NAME")
  show_change(ctx, ctx:ask("DELETE", target(ctx, kind, name)),
    ("deleted %s %s"):format(kind, name))
end }

local BODIES = { drain = { mode = "drain" }, disable = { mode = "disable" }, undrain = {} }

add { name = "backend", usage = "backend drain|disable|undrain ID | weight ID [WEIGHT]", arguments = 3,
  help = "at run time; ID as in list backends; without WEIGHT the configured one", run = function(ctx)
    local verb, id, weight = ctx:argument(1, "drain, disable, undrain or weight"), ctx:argument(2, "ID"), ctx.parsed[4]
    local body = BODIES[verb]
    if verb == "weight" then
      body = { weight = weight and (tonumber(weight) or ctx:usage "WEIGHT is a number") or json.null }
    end
    if not body or weight and verb ~= "weight" then ctx:usage("not " .. verb) end
    local action = verb == "disable" and "drain" or verb
    local path = target(ctx, "backends/" .. encoding.url_encode(id) .. "/" .. action)
    ctx:show(ctx:ask("POST", path, body).body, function(backend) return list_lines "backends" { backend } end)
  end }

-- All of it -----------------------------------------------------------------------------------------

local function import(ctx)
  local parameters = { "mode", ctx.parsed.replace and "replace" or "merge" }
  add_probation(ctx, parameters)
  local answer = ctx:ask("POST", "/api/config/import" .. query_of(parameters), ctx:read_text(),
    { content_type = "application/yaml", raw = true })
  ctx:show(answer.body, outcome_lines)
end

add { name = "apply", usage = "apply -f FILE [--replace]",
  help = "takes lists of objects by kind, all or nothing; --replace: others go", run = function(ctx)
    import(ctx)
  end }

--- Reads NAME=VALUE arguments by the types that a template gives its parameters.
local function parameters_of(ctx, template)
  local types, given = {}, {}
  for _, parameter in ipairs(template.parameters) do types[parameter.name] = parameter.type end
  for i = 3, #ctx.parsed do
    local name, value = ctx.parsed[i]:match "^([^=]+)=(.*)$"
    if not name then ctx:usage("expected PARAMETER=VALUE, got " .. ctx.parsed[i]) end
    if types[name] and types[name] ~= "string" then
      local read, message = text.parse(value)
      if read == nil then ctx:refused(("%s: %s"):format(name, message)) end
      value = read
    end
    given[name] = value
  end
  return given
end

add { name = "instantiate", usage = "instantiate TEMPLATE [PARAMETER=VALUE]... [--replace]", takes_all = true,
  help = "makes what a template gives, all or nothing", run = function(ctx)
    local base = "/api/config/templates/" .. encoding.url_encode(ctx:argument(1, "TEMPLATE"))
    local tenant = ctx.parsed.tenant and query_of { "tenant_id", ctx.parsed.tenant } or ""
    local answer = ctx:ask("GET", base .. tenant, nil, { any = true })
    local own_tenant = tenant
    if answer.status == 404 and tenant ~= "" then
      own_tenant, answer = "", ctx:ask("GET", base, nil, { any = true }) -- the platform's, for this tenant
    end
    local template = ctx:expect(answer).body
    local parameters = own_tenant ~= "" and { "tenant_id", ctx.parsed.tenant } or {}
    local path = base .. "/apply" .. query_of(add_probation(ctx, parameters))
    local body = { parameters = parameters_of(ctx, template), tenant_id = ctx.parsed.tenant,
      mode = ctx.parsed.replace and "replace" or "create" }
    ctx:show(ctx:ask("POST", path, body).body, outcome_lines)
  end }

local function diff_lines(body)
  local lines = {}
  append_diff(lines, body.diff)
  lines[#lines + 1] = body.summary
  return lines
end

add { name = "diff", usage = "diff -f FILE | [FROM [TO]]", arguments = 2,
  help = "what apply would do; or between versions, running and file", run = function(ctx)
    if ctx.parsed.file then
      ctx.parsed.dry_run = true
      return import(ctx)
    end
    local path = "/api/config/diff" .. query_of { "from", ctx.parsed[2] or "running", "to", ctx.parsed[3]
      or ctx.parsed[2] and "running" or "file" }
    ctx:show(ctx:ask("GET", path).body, diff_lines)
  end }

add { name = "export", usage = "export [-o json] [--masked]", help = "everything as a document that apply takes",
  run = function(ctx)
    local format = ctx.parsed.output == "json" and "json" or "yaml"
    local path = "/api/config/export" .. query_of { "format", format,
      "secrets", ctx.parsed.masked and "masked" or "sealed" }
    local answer = ctx:ask("GET", path, nil, { accept = "application/" .. format })
    output.write(answer.text)
  end }

local function probation_line(probation)
  local line = "probation: " .. probation.state
  if probation.state == "watching" then line = line .. " until " .. probation["until"] end
  return line .. (type(probation.reason) == "string" and ", " .. probation.reason or "")
end

for _, verb in ipairs { { "confirm", "ends the probation of a version: it stays" },
  { "reject", "ends the probation of a version: it is taken back" } } do
  add { name = verb[1], usage = verb[1] .. " VERSION", arguments = 1, help = verb[2], run = function(ctx)
    local path = ("/api/config/versions/%s/%s"):format(encoding.url_encode(ctx:argument(1, "VERSION")), verb[1])
    ctx:show(ctx:ask("POST", path).body, function(body)
      return { probation_line(body.probation) }
    end)
  end }
end

local VERSIONS = { "version", "time", "author", "source", "summary", "reason" }

add { name = "versions", usage = "versions [VERSION] [-n LIMIT]", arguments = 1,
  help = "who changed what when; of one version every field", run = function(ctx)
    local number = ctx.parsed[2]
    if number then
      return ctx:show(ctx:ask("GET", "/api/config/versions/" .. encoding.url_encode(number)).body, function(body)
        local lines = text.table(VERSIONS, { body })
        append_diff(lines, body.diff)
        if body.probation then lines[#lines + 1] = probation_line(body.probation) end
        return lines
      end)
    end
    local path = "/api/config/versions" .. query_of { "limit", ctx.parsed.count or "20" }
    ctx:show(ctx:ask("GET", path).body, function(rows) return text.table(VERSIONS, rows) end)
  end }

local BACKUPS = { "backup_id", "status", "created_at", "scheduled_at", "version", "size", "origin", "encrypted_with" }

--- The passphrase is no argument: others on the machine may see those.
local function passphrase() return os.getenv "VFX_PASSPHRASE" end

local BACKUP_VERBS = {
  list = function(ctx)
    ctx:show(ctx:ask("GET", "/api/backups").body, function(rows) return text.table(BACKUPS, rows) end)
  end,
  make = function(ctx)
    ctx:show(ctx:ask("POST", "/api/backups", { passphrase = passphrase() }).body, function(made)
      return text.table(BACKUPS, { made })
    end)
  end,
  delete = function(ctx)
    local id = ctx:argument(2, "ID")
    show_change(ctx, ctx:ask("DELETE", "/api/backups/" .. encoding.url_encode(id)), "deleted " .. id)
  end,
  restore = function(ctx)
    local path = "/api/backup/restore" .. query_of(add_probation(ctx, {}))
    local body = { backup_id = ctx:argument(2, "ID"), passphrase = passphrase() }
    ctx:show(ctx:ask("POST", path, body).body, outcome_lines)
  end,
}

add { name = "backups", usage = "backups [list | make | delete ID | restore ID]", arguments = 2,
  help = "what the node keeps; a passphrase is in VFX_PASSPHRASE", run = function(ctx)
    local verb = ctx.parsed[2] or "list"
    local takes_id = verb == "delete" or verb == "restore"
    if not BACKUP_VERBS[verb] or ctx.parsed[3] and not takes_id then ctx:usage("not " .. verb) end
    BACKUP_VERBS[verb](ctx)
  end }

local KEYS = { "id", "active", "origin", "until_version", "rotated_at", "needed_by" }

local KEY_VERBS = {
  list = function(ctx) ctx:show(ctx:ask("GET", "/api/keys").body, function(rows) return text.table(KEYS, rows) end) end,
  rotate = function(ctx)
    ctx:show(ctx:ask("POST", "/api/keys/rotate").body, function(body)
      local lines = text.table(KEYS, body.keys)
      lines[#lines + 1] = ("sealed anew: %d, version %d"):format(body.resealed, body.version)
      return lines
    end)
  end,
  retire = function(ctx)
    local id = ctx:argument(2, "ID")
    show_change(ctx, ctx:ask("DELETE", "/api/keys/" .. encoding.url_encode(id)), "retired " .. id)
  end,
}

add { name = "keys", usage = "keys [list | rotate | retire ID]", arguments = 2,
  help = "keys of secrets at rest; rotate: another one is used, retire: forget one", run = function(ctx)
    local verb = ctx.parsed[2] or "list"
    if not KEY_VERBS[verb] or ctx.parsed[3] and verb ~= "retire" then ctx:usage("not " .. verb) end
    KEY_VERBS[verb](ctx)
  end }

add { name = "rollback", usage = "rollback VERSION [--dry-run] [--reason TEXT]", arguments = 1,
  help = "brings back what a version had, as a new one", run = function(ctx)
    local path = ("/api/config/versions/%s/rollback"):format(encoding.url_encode(ctx:argument(1, "VERSION")))
    path = path .. query_of(add_probation(ctx, {}))
    ctx:show(ctx:ask("POST", path).body, outcome_lines)
  end }

return M
