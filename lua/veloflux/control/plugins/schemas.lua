--- What pdk.schemas asks for: the JSON Schemas of the kinds, and the OpenAPI document.
local openapi = require "veloflux.admin.openapi"
local resources = require "veloflux.admin.resources"
local schemas = require "veloflux.admin.schemas"
local seam = require "veloflux.runtime.control"

local M = {}

--- Adds the services.
-- @param router of the admin API
-- @param version of this build
function M.register(router, version)
  local document, revision
  function seam.services.schema_kinds()
    local names = {}
    for i, resource in ipairs(resources.all()) do names[i] = resource.name end
    table.sort(names)
    return names
  end
  function seam.services.schema(kind)
    local resource = resources.find(kind)
    return resource and schemas.text(resource)
  end
  function seam.services.openapi()
    if revision ~= router.revision then document, revision = openapi.text(router, version), router.revision end
    return document
  end
end

return M
