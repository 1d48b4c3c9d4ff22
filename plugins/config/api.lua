--- The configuration through the admin API: documents, versions, templates, backups, reloads and
-- schemas, each in a file of its own.
local endpoints = {}
for _, part in ipairs {
  require "veloflux.plugins.config.documents",
  require "veloflux.plugins.config.versions",
  require "veloflux.plugins.config.templates",
  require "veloflux.plugins.config.archives",
  require "veloflux.plugins.config.reload",
  require "veloflux.plugins.config.schemas",
} do
  for _, endpoint in ipairs(part) do endpoints[#endpoints + 1] = endpoint end
end
return endpoints
