--- What there is to configure, for machines: JSON Schemas, and the OpenAPI document.
local pdk = require "veloflux.pdk"

local JSON, SCHEMA = "application/json", "application/schema+json"

local function answer(kind, text)
  return 200, text .. "\n", { ["Content-Type"] = kind, ["X-Content-Type-Options"] = "nosniff" }
end

local function openapi() return answer(JSON, pdk.schemas.openapi()) end

local function get(request)
  local kind = request.params.kind
  local text = pdk.schemas.get(kind)
  if text then return answer(SCHEMA, text) end
  return pdk.problem.new("not_found", ("There is no kind %s; the kinds are %s."):format(kind,
    table.concat(pdk.schemas.kinds(), ", ")))
end

return {
  { method = "GET", path = "/api/openapi.json", permission = "none", tag = "catalog", accept = "any", handler = openapi,
    summary = "This document.", openapi = {
      answers = { ["200"] = { "An OpenAPI 3.1 document.", { [JSON] = { type = "object" } } } } } },
  { method = "GET", path = "/api/schemas/{kind}", permission = "schemas:read", tag = "catalog", handler = get,
    summary = "The JSON Schema of a kind of objects.", response_type = { SCHEMA, JSON }, openapi = {
      answers = { ["200"] = { "A JSON Schema.", { [SCHEMA] = { type = "object" } } },
        ["404"] = { "There is no such kind." } } } },
}
