--- Templates: objects like others, and what one gives with parameters, made as one transaction.
local pdk = require "veloflux.pdk"
local endpoint = require "veloflux.plugins.config.endpoint"

local JSON = "application/json"
local MODES = { create = true, replace = true }
local FIELDS = { parameters = true, tenant_id = true, mode = true, reason = true }
local MAX_TEXT = 1000

local function invalid(name, detail)
  return pdk.problem.new("invalid", ("%s: %s"):format(name, detail),
    { errors = { { pointer = "/" .. name, detail = detail } } })
end

--- Judges {parameters, tenant_id, mode, reason}. Returns nil, or a problem.
local function judge(body, is_lenient)
  for name, value in pairs(body) do
    if value == pdk.json.null and FIELDS[name] or is_lenient and not FIELDS[name] then body[name] = nil end
  end
  for name in pairs(body) do
    if not FIELDS[name] then return invalid(name, "unknown field, expected parameters, tenant_id, mode or reason") end
  end
  local given = body.parameters
  if given ~= nil and (type(given) ~= "table" or pdk.json.is_array(given)) then
    return invalid("parameters", "expected a map from names to values")
  end
  if body.mode ~= nil and not MODES[body.mode] then return invalid("mode", "expected create or replace") end
  for _, name in ipairs { "tenant_id", "reason" } do
    local value = body[name]
    if value ~= nil and (type(value) ~= "string" or #value > MAX_TEXT) then
      return invalid(name, "expected a short text")
    end
  end
end

local function apply(request)
  local body = request.body
  local bad = judge(body, request.prefers "handling=lenient")
  if bad then return bad end
  return endpoint.changed("applied", pdk.templates.apply(request.params.id, body.parameters, {
    template_tenant = request.query.tenant_id, tenant = body.tenant_id, replace = body.mode == "replace",
    reason = body.reason }))
end

local TEXT, ANSWER = { type = "string" }, { [JSON] = { type = "object" } }

local function described()
  return {
    is_of_tenant = true,
    parameters = { { "dry_run", { type = "boolean" }, "Only say what would change." } },
    body = { [JSON] = { type = "object", additionalProperties = false, properties = {
      parameters = { type = "object", additionalProperties = true },
      tenant_id = TEXT, reason = TEXT, mode = { type = "string", enum = { "create", "replace" } } } } },
    answers = { ["200"] = { "What was made.", ANSWER },
      ["202"] = { "The same; it is not live in all processes yet.", ANSWER },
      ["404"] = { "There is no such template." } },
  }
end

return {
  { kind = "templates", path = "/api/config/templates" },
  { kind = "templates", path = "/api/templates" },
  endpoint.new("POST", "templates/{id}/apply", "write", "Makes what the template gives with these parameters, all or "
    .. "nothing. `tenant_id` in the body says whose it is, else the template's tenant; with `mode` replace what there "
    .. "is by the same names is replaced. Faults point into `/parameters` or into the rendered `/entities`.", apply, {
      tag = "templates", request = "object", request_optional = true, dry_run = true, timeout = "1h",
      query = { tenant_id = { type = "string", description = "The tenant whose the template is." } },
      openapi = described() }),
}
