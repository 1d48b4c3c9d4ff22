--- What pdk.bulk asks for: batches of operations.
local bulk = require "veloflux.admin.bulk"
local changes = require "veloflux.control.plugins.changes"
local documents = require "veloflux.control.plugins.documents"
local seam = require "veloflux.runtime.control"
local spools = require "veloflux.spool"

local M = {}

local function may_all() return true end

--- A job asks for nobody.
local function request_of(of, plugin)
  return of.request or { identity = { name = "plugin:" .. plugin, can = may_all }, headers = {}, query = "",
    params = {} }
end

local function text_of(document)
  local content = documents.content(document)
  return type(content) == "string" and content or spools.text(content)
end

--- Adds the services.
-- @param context of admin/init.lua
function M.register(context)
  local services = seam.services
  services.bulk_submit = changes.changing(function(of, plugin, body, options)
    options.fence, options.source, options.if_versions = of.fence and of.fence(), of.source, of.if_versions
    local document, bad, how = bulk.submit(context, request_of(of, plugin), text_of(body), options)
    if how == "ended" then of.version, of.laggards = document.version, document.laggards or 0 end
    return document, bad, how
  end)
  services.bulk_get = changes.ready(function(id) return bulk.find(context, id) end)
  services.bulk_list = changes.ready(function() return bulk.list(context) end)
  services.bulk_cancel = changes.changing(function(of, id) return bulk.cancel(context, id, of.dry_run) end)
end

return M
