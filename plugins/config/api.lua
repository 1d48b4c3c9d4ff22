--- The configuration through the admin API: documents, versions, templates and backups, each in a file of its own.
local endpoints = {}
for _, part in ipairs {
  require "veloflux.plugins.config.documents",
  require "veloflux.plugins.config.versions",
  require "veloflux.plugins.config.templates",
  require "veloflux.plugins.config.archives",
} do
  for _, endpoint in ipairs(part) do endpoints[#endpoints + 1] = endpoint end
end
return endpoints
