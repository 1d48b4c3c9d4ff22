--- What there is to configure, for machines: the JSON Schema of each kind of objects, and the OpenAPI document of all
-- that the admin API serves, endpoints and kinds of plugins included.
--
-- May be called in control only: in the functions of api.lua and jobs.lua. All functions wait.
local control = require "veloflux.runtime.control"

---@class pdk.schemas
local M = {}

--- Returns the names of the kinds, sorted: "backends", "consumers", ..., and those that plugins store.
---@async
---@return string[]
function M.kinds()
  control.current "schemas.kinds"
  return control.call "schema_kinds"
end

--- Returns the schema of the objects of a kind (JSON Schema 2020-12), as the admin API takes and shows them.
---@async
---@param kind string
---@return string? text JSON; nil: there is no such kind
function M.get(kind)
  control.current "schemas.get"
  if type(kind) ~= "string" then error("schemas.get: expected the name of a kind", 2) end
  return control.call("schema", kind)
end

--- Returns the OpenAPI 3.1 document of the admin API as it is now.
---@async
---@return string text JSON
function M.openapi()
  control.current "schemas.openapi"
  return control.call "openapi"
end

return M
