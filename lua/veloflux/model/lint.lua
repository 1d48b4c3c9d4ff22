--- What is allowed but hardly meant, beyond what single checks note: warnings with a code.
--
--   pool_without_backends            a route or a listener leads to a pool that has none, or none with a weight
--   http1_check_of_http2             checks by HTTP/1.1 of backends that are asked by HTTP/2
--   client_certificate_unmet         a route requires certificates that no listener asks for
--   method_misspelt                  a route is for a method that nobody knows and that looks like a known one
--   plain_secret                     a secret stands in a conf file in clear
--   admin_open                       everybody who reaches the admin address may use it
--   shared_store_without_master_key  nodes that share a store could not read each other's secrets
--
-- Others are noted where they are found: certificate_... (tls), shadowed_route (explain.lua), deprecated.
local ffi = require "ffi"
local address = require "veloflux.model.address"
local containers = require "veloflux.model.containers"
local listener_pools = require "veloflux.model.listener_pools"
local record = require "veloflux.model.record"
local slices = require "veloflux.slices"
local suggest = require "veloflux.model.suggest"

ffi.cdef [[ int vf_method_from_name(const char *name, size_t len); ]]
local C = ffi.C

local M = {}

local MANY = 4096 -- routes that take half a millisecond
local RAW = record.RAW
local HASHES = { "^%$argon2", "^%$2[aby]%$", "^%$5%$", "^%$6%$", "^{sealed:" }

-- Secrets ---------------------------------------------------------------------------------------------

local may_hold = setmetatable({}, { __mode = "k" }) -- compiled type -> whether a secret may stand in it

local find_type

--- Says whether a secret may stand in a value of a type. What plugins have a say in may hold one.
local function holds(compiled)
  if may_hold[compiled] == nil then
    may_hold[compiled] = false
    may_hold[compiled] = find_type(compiled)
  end
  return may_hold[compiled]
end

function find_type(compiled)
  if compiled.general or compiled.attr and compiled.attr.secret then return true end
  for _, pair in ipairs(compiled.fields or {}) do
    if holds(pair[2]) then return true end
  end
  for _, form in pairs(compiled.forms or {}) do
    if holds(form) then return true end
  end
  return compiled.element and holds(compiled.element) or compiled.value and holds(compiled.value) or false
end

--- Tells whether a text is a URL that has no room for a secret: neither a password nor, by http, more than a host.
local function is_bare_url(value)
  local scheme, rest = value:match "^(%a[%w+.-]*)://([^@]*)$"
  return scheme and (not scheme:find "^https?$" or rest:find "^[^/?]*/?$" ~= nil)
end

local function is_clear(value)
  if type(value) ~= "string" or value == "" or is_bare_url(value) then return false end
  for _, pattern in ipairs(HASHES) do
    if value:find(pattern) then return false end
  end
  return true
end

--- Returns the text of a place: {up = the place around it, step = a text, or a position in a list}. Few are asked for.
local function path_of(place)
  local step = type(place.step) == "number" and ("[%d]"):format(place.step) or place.step
  return (place.up and path_of(place.up) or "") .. step
end

local visit

local function visit_fields(compiled, value, place, found)
  local raw = rawget(value, RAW)
  for _, pair in ipairs(compiled.fields) do
    local name, field = pair[1], pair[2]
    local own = rawget(value, name)
    if own ~= nil and holds(field) and not (raw and raw[name]) then
      visit(field, own, { up = place, step = "." .. name, line = place.line }, found)
    end
  end
end

--- Finds secrets in clear in a value of a conf file.
function visit(compiled, value, place, found)
  local metatable = type(value) == "table" and getmetatable(value)
  if compiled.general then compiled = metatable and metatable.compiled or compiled.general end
  if compiled.forms then compiled = compiled.forms[containers.form_of(value)] end
  if not compiled or not holds(compiled) then return end
  if compiled.attr and compiled.attr.secret then
    if is_clear(value) then found[#found + 1] = { path = path_of(place), line = place.line } end
  elseif compiled.fields then
    place = { up = place, step = "", line = rawget(value, "_line") or place.line }
    visit_fields(compiled, value, place, found)
  elseif compiled.element then
    local raw = containers.raws_of(value)
    for i, own in ipairs(value) do
      slices.pause()
      if not (raw and raw[i]) then
        visit(compiled.element, own, { up = place, step = i - 1, line = place.line }, found)
      end
    end
  elseif compiled.value then
    local raw = containers.raws_of(value)
    for key, own in pairs(value) do
      if not (raw and raw[key]) then
        visit(compiled.value, own, { up = place, step = "." .. key, line = place.line }, found)
      end
    end
  end
end

local searched = setmetatable({}, { __mode = "k" }) -- root of a conf file -> what was found in it

local function plain_secrets(root, compiled, line_of)
  if searched[root] then return searched[root] end
  local warnings = {}
  for _, pair in ipairs(compiled.fields) do
    local name, field = pair[1], pair[2]
    local own, found = rawget(root, name), {}
    local is_raw = rawget(root, RAW) and rawget(root, RAW)[name]
    if own ~= nil and holds(field) and not is_raw then visit(field, own, { step = name }, found) end
    for _, place in ipairs(found) do
      local file, line = line_of(place.path, own)
      warnings[#warnings + 1] = { code = "plain_secret", file = file, line = place.line or line, path = place.path,
        message = "stands here in clear: better refer to it, as ${NAME} or {file:/path}" }
    end
  end
  searched[root] = warnings
  return warnings
end

-- Others ----------------------------------------------------------------------------------------------

local weighted = setmetatable({}, { __mode = "k" }) -- pool -> whether a backend has a weight; pools do not change

local function find_weight(pool)
  for _, backend in ipairs(pool.backends) do
    if backend.weight ~= 0 then return true end
  end
  return false
end

local function has_weight(pool)
  local known = weighted[pool]
  if known == nil then
    known = find_weight(pool)
    weighted[pool] = known
  end
  return known
end

--- Returns what comes of a pool without backends: function(pool) -> text, or nil when nothing leads there.
local function leading(model)
  local route_of, listener_of = {}, listener_pools.leading(model)
  for _, route in ipairs(model.routes) do
    local pool = route._pool
    if pool and not route_of[pool] then route_of[pool] = route end
  end
  return function(pool)
    local route, listener = route_of[pool], pool.tenant == "default" and listener_of[pool.name]
    if route then return ("the route %s leads here: requests get 503"):format(route.name) end
    if listener then return ("the listener %s leads here: connections are reset"):format(listener) end
  end
end

local function empty_pools(model, places, out)
  local outcome_of
  for i, pool in ipairs(model.pools) do
    local is_empty = not has_weight(pool)
    if is_empty then outcome_of = outcome_of or leading(model) end
    local outcome = is_empty and outcome_of(pool)
    if outcome then
      local file, line, path = places("pools", i, "backends")
      out[#out + 1] = { code = "pool_without_backends", file = file, line = line, path = path,
        message = ("has %s, and %s"):format(
          #pool.backends == 0 and "no backends" or "no backend with a weight above 0", outcome) }
    end
  end
end

local function is_http(check) return type(check) == "table" and check.enabled and check.type == "http" end

-- A backend with prior knowledge of HTTP/2 alone would be down by such a check.
local function http1_checks(model, places, out)
  for i, pool in ipairs(model.pools) do
    if pool.protocol == "h2" and is_http(pool.health_check) then
      local file, line, path = places("pools", i, "health_check")
      out[#out + 1] = { code = "http1_check_of_http2", file = file, line = line, path = path,
        message = "asks by HTTP/1.1, and the backends are said to speak HTTP/2: those that speak nothing else need "
          .. "type: tcp" }
    end
  end
end

--- Returns which listeners there are: some with TLS, and some that know authorities for clients.
local function secure_listeners(node)
  local has_tls, knows_clients = false, false
  for _, listener in ipairs(node.listeners) do
    if listener.mode == "http" and listener.tls then
      has_tls, knows_clients = true, knows_clients or listener.tls.client_auth ~= nil
    end
  end
  return has_tls, knows_clients
end

local function unmet_certificates(model, places, out)
  local has_tls, knows_clients = secure_listeners(model.node)
  for i, route in ipairs(model.routes) do
    if i % MANY == 0 then slices.look() end
    local wanted = rawget(route, "client_certificate")
    local own = type(wanted) == "table"
    if (own and wanted.mode == "require" or wanted == "require") and not (own and has_tls or knows_clients) then
      local file, line, path = places("routes", i, "client_certificate")
      out[#out + 1] = { code = "client_certificate_unmet", file = file, line = line, path = path,
        message = (has_tls and "no listener has client_auth" or "no listener has tls") .. ": all requests get 403" }
    end
  end
end

local KNOWN_METHODS = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT" }

local function misspelt_methods(model, places, out)
  for i, route in ipairs(model.routes) do
    if i % MANY == 0 then slices.look() end
    for _, name in ipairs(rawget(route, "methods") or {}) do
      local meant = C.vf_method_from_name(name, #name) < 0 and suggest.nearest(name, KNOWN_METHODS)
      if meant then
        local file, line, path = places("routes", i, "methods")
        out[#out + 1] = { code = "method_misspelt", file = file, line = line, path = path,
          message = ("%s is an extension method here, did you mean %s?"):format(name, meant) }
      end
    end
  end
end

local function is_folder(path)
  local folder = io.open(path .. "/.", "r")
  if folder then folder:close() end
  return folder ~= nil
end

local function plugin_folders(node, line_of, out)
  for i, path in ipairs(node.plugin_path or {}) do
    if not is_folder(path) then
      local file, line = line_of("plugin_path", node.plugin_path)
      out[#out + 1] = { code = "no_plugin_folder", file = file, line = line, path = ("plugin_path[%d]"):format(i - 1),
        message = ("%s is no folder, or none that can be read: no plugin is found there"):format(path) }
    end
  end
end

local function node_settings(node, line_of, out)
  plugin_folders(node, line_of, out)
  local admin = node.admin
  if type(admin.address) == "table" and not admin.auth.enabled and not address.is_loopback(admin.address) then
    local file, line = line_of("admin", admin)
    out[#out + 1] = { code = "admin_open", file = file, line = line, path = "admin.auth.enabled",
      message = ("everybody who reaches %s may change everything"):format(admin.address.text) }
  end
  if node.store.driver ~= "sqlite" and node.master_key == nil then
    local file, line = line_of("store", node.store)
    out[#out + 1] = { code = "shared_store_without_master_key", file = file, line = line, path = "master_key",
      message = "nodes that share a store need the same key: others cannot read the secrets that this one stores" }
  end
end

--- Notes what is found in `model.lint`: a list of {code, file, line, path, message}.
-- @param root the conf file's part of it, and `compiled` its type
-- @param places function(kind, position, field) -> file, line, path
-- @param line_of function(path) -> file, line: of a setting of the conf file
function M.run(model, root, compiled, places, line_of)
  local out = {}
  model.lint = out
  for _, warning in ipairs(plain_secrets(root, compiled, line_of)) do out[#out + 1] = warning end
  node_settings(model.node, line_of, out)
  empty_pools(model, places, out)
  http1_checks(model, places, out)
  unmet_certificates(model, places, out)
  misspelt_methods(model, places, out)
end

return M
