--- Whose requests are counted together: a key for what the configuration limits by, at the place where it
-- stands. Two instances, two routes and two tenants never count into one another.
local pdk = require "veloflux.pdk"

local M = {}

local client, request = pdk.client, pdk.request
local LONGEST = 64 -- of what clients choose; longer texts are counted by their hash

-- Plugins may authenticate consumers and credentials of their own, with whatever as id.
local function as_text(id)
  if type(id) == "string" or id == nil then return id end
  return tostring(id)
end

local function consumer_id()
  local consumer = client.get_consumer()
  return consumer and as_text(consumer.id or consumer.name)
end

local function credential_id()
  local credential = client.get_credential()
  return credential and as_text(credential.id or client.get_credential_identifier()) or nil
end

local WHO = {
  consumer = function() return consumer_id() or credential_id() end,
  credential = credential_id,
  ip = function() return nil end,
  header = function(conf) return request.get_header(conf.header_name) end,
  path = function(conf) return request.get_path() == conf.path and conf.path or nil end,
  service = function()
    local service = pdk.router.get_service()
    return service and service.name
  end,
  route = function()
    local route = pdk.router.get_route()
    return route and route.name
  end,
  tenant = function() return client.tenant() end,
}

--- Where in a tenant the configuration stands.
local PLACES = {
  pool = function()
    local service = pdk.router.get_service()
    return service and service.name or ""
  end,
  route = function()
    local route = pdk.router.get_route()
    return route and route.name or ""
  end,
  consumer = function() return consumer_id() or "" end,
}

--- Names are unique in a tenant; addresses, header fields and paths mean the same in all.
local IS_TENANTS = { consumer = true, credential = true, service = true, route = true }

local function hash_of(text) return pdk.encoding.hex_encode(pdk.crypto.hash("sha256", text)) end

--- Returns the key. It is made at once, of pieces that are there: it is needed for each request.
function M.key(conf)
  local kind, who = conf.limit_by, WHO[conf.limit_by](conf)
  if not who then kind, who = "ip", client.get_forwarded_ip() or "" end
  local tenant = client.tenant()
  local whose, of = "", ""
  if IS_TENANTS[kind] then whose, of = tenant, "/" end
  if #whose + #of + #who > LONGEST then whose, of, who = "", "", hash_of(whose .. of .. who) end
  local scope, place, slash = pdk.plugin.get_scope() or "global", "", ""
  if scope == "global" then
    tenant = ""
  elseif scope ~= "tenant" then
    place, slash = PLACES[scope](), "/"
  end
  return pdk.plugin.get_name() .. "|" .. scope .. "|" .. tenant .. slash .. place .. "|" .. kind .. "|" .. whose ..
    of .. who
end

return M
