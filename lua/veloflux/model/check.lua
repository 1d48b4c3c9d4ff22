--- What cannot be seen in one entity alone: unique names, references, whose host it is.
-- `places` says where an entity stands, so that a problem names the line of the very field; it is a
-- function(kind, position, field) -> file, line, path.
local entity_checks = require "veloflux.model.entity_checks"
local hosts_of_tenants = require "veloflux.model.hosts"
local plugin = require "veloflux.model.kinds.plugin"
local secrets = require "veloflux.model.secrets"
local slices = require "veloflux.slices"
local suggest = require "veloflux.model.suggest"
local listener_pools = require "veloflux.model.listener_pools"
local annotate = require("veloflux.model").annotate
local certificate = require "veloflux.model.kinds.certificate"
local sorted = require "veloflux.sorted"
local x509 = require "veloflux.x509"

local M = {}

local MAX_SUGGESTIONS = 50 -- each compares with every name there is
local judged = setmetatable({}, { __mode = "k" }) -- templates that were searched for secrets, with which plugins

local Checker = {}
Checker.__index = Checker

function Checker:note(kind, position, field, message, ...)
  local file, line, path = self.places(kind, position, field)
  if select("#", ...) > 0 then message = message:format(...) end
  table.insert(self.problems, { file = file, line = line, path = path, message = message })
end

--- Indexes tenants by name; every entity must belong to one of them.
function Checker:tenants()
  local names = {}
  for i, tenant in ipairs(self.model.tenants) do
    local name = tenant.name
    if name and names[name] then
      self:note("tenants", i, "name", "the name %s is already taken, on line %d", name, names[name]._line or 0)
    elseif name then
      names[name] = tenant
    end
  end
  self.by_tenant = names
end

--- Indexes the entities of a kind by tenant and name.
function Checker:names(kind)
  local index, list = {}, self.model[kind]
  for i = 1, #list do
    local entity = list[i]
    slices.pause()
    local tenant, name = entity.tenant, entity.name
    local of_tenant = index[tenant]
    if not of_tenant then
      of_tenant = {}
      index[tenant] = of_tenant
    end
    if not self.by_tenant[tenant] then
      self:unknown_reference(kind, i, "tenant", "tenant", tenant, self.by_tenant)
      self.by_tenant[tenant] = { name = tenant, hosts = { "*" }, active = true, is_unknown = true } -- said once
    end
    if name and of_tenant[name] then
      local earlier = of_tenant[name]
      self:note(kind, i, "name", "the name %s is already taken, in %s:%d", name, earlier._file, earlier._line)
    elseif name then
      of_tenant[name] = entity
    end
  end
  return index
end

--- Returns the positions of what is new of a kind by tenant and name, or nil: an index has something to find.
function Checker:new_names(kind)
  local found = {}
  for _, i in ipairs(self.news.positions[kind]) do
    local entity = self.model[kind][i]
    local of_tenant = found[entity.tenant] or {}
    if not self.by_tenant[entity.tenant] or not entity.name or of_tenant[entity.name] then return nil end
    found[entity.tenant], of_tenant[entity.name] = of_tenant, i
  end
  return found
end

--- Says that nothing new of a kind has the name of something else, so that there is no need for an index of all.
function Checker:has_own_names(kind)
  local found = self.news.before and self.news:is_same "tenants" and self:new_names(kind)
  if not found then return false end
  local n_taken = 0
  for _, gone in ipairs(self.news.gone[kind]) do
    if found[gone.tenant] and found[gone.tenant][gone.name] then n_taken = n_taken + 1 end
  end
  if n_taken == #self.news.positions[kind] then return true end -- each stands in the place of one that is gone
  for i, entity in ipairs(self.model[kind]) do
    local of_tenant = found[entity.tenant]
    if of_tenant and (of_tenant[entity.name] or i) ~= i then return false end
  end
  return true
end

function Checker:unknown_reference(kind, position, field, noun, name, known)
  local nearest
  self.suggestions = (self.suggestions or 0) + 1
  if self.suggestions <= MAX_SUGGESTIONS then
    nearest = suggest.nearest(name, sorted.names(known))
  end
  self:note(kind, position, field, 'unknown %s "%s"%s', noun, name,
    nearest and (", did you mean %s?"):format(nearest) or "")
end

--- Resolves a pool's name for an entity of `tenant`: its own, or a shared one of default.
local function find_pool(pools, tenant, name)
  local own = pools[tenant] and pools[tenant][name]
  if own then return own end
  local platform = pools.default and pools.default[name]
  return platform and platform.shared and platform or nil, platform
end

--- Resolves the pool of the route at a position.
function Checker:route(pools, i)
  local route = self.model.routes[i]
  local name = route.pool
  if not name or self.by_tenant[route.tenant].is_unknown then return end
  local pool, unshared = find_pool(pools, route.tenant, name)
  annotate(self.model, "routes", i, "_pool", pool)
  if not pool and unshared then
    self:note("routes", i, "pool", "the pool %s of the default tenant is not shared", name)
  elseif not pool then
    self:unknown_reference("routes", i, "pool", "pool", name, pools[route.tenant] or {})
  end
end

--- Returns the new pools by those whose place they take, when routes that were there cannot mean others than these; or
-- nil.
function Checker:successors(pools)
  local news, of = self.news, {}
  if not news:is_same "tenants" or #news.gone.pools ~= #news.positions.pools then return nil end
  for _, gone in ipairs(news.gone.pools) do
    local by_name = pools[gone.tenant]
    local pool = by_name and by_name[gone.name]
    if not pool or pool.shared ~= gone.shared then return nil end
    of[gone] = pool
  end
  return of
end

function Checker:routes(pools)
  local successors, routes = self:successors(pools), self.model.routes
  if not successors then
    for i = 1, #routes do
      slices.pause()
      self:route(pools, i)
    end
    return
  end
  for _, i in ipairs(self.news.positions.routes) do self:route(pools, i) end
  if next(successors) == nil then return end
  for i = 1, #routes do
    local pool = rawget(routes[i], "_pool")
    local successor = pool and successors[pool]
    if successor then annotate(self.model, "routes", i, "_pool", successor) end
  end
end

--- Maps each host that a tenant owns to the tenant's name.
function Checker:owners()
  return hosts_of_tenants.owners(self.model.tenants, function(i, host, owner)
    self:note("tenants", i, "hosts", "the host %s belongs to the tenant %s", host, owner)
  end)
end

--- Returns the field that names the hosts of a route, and the hosts.
function M.hosts_of(route)
  if rawget(route, "host") then return "host", { route.host } end
  if rawget(route, "hosts") then return "hosts", route.hosts end
end

--- Checks whose hosts the route at a position names.
function Checker:hosts_of_route(owners, i)
  local route = self.model.routes[i]
  local field, hosts = M.hosts_of(route)
  local tenant = route.tenant
  if not field and tenant ~= "default" and #self.by_tenant[tenant].hosts == 0 then
    self:note("routes", i, "tenant", "the tenant %s has no hosts: the route would answer for none", tenant)
  end
  if self.by_tenant[tenant].is_unknown then hosts = nil end
  for _, host in ipairs(hosts or {}) do
    local owner = hosts_of_tenants.owner_of(owners, host:lower())
    if owner ~= tenant then
      self:note("routes", i, field, "the host %s belongs to the tenant %s", host, owner)
    end
  end
end

function Checker:hosts()
  local owners = self:owners()
  if next(owners) == nil and #self.model.tenants == 1 then return end -- everything is the default tenant's
  if self.news:is_same "tenants" then
    for _, i in ipairs(self.news.positions.routes) do self:hosts_of_route(owners, i) end
    return
  end
  for i = 1, #self.model.routes do
    slices.pause()
    self:hosts_of_route(owners, i)
  end
end

--- Shared pools are the platform's to give.
function Checker:pools()
  for _, i in ipairs(self.news.positions.pools) do
    local pool = self.model.pools[i]
    if pool.shared and pool.tenant ~= "default" then
      self:note("pools", i, "shared", "only pools of the default tenant can be shared")
    end
  end
end

--- Notes a problem of an instance of a plugin in the list of an entity.
function Checker:note_instance(kind, position, nth, instance, message, ...)
  local _, _, path = self.places(kind, position, "plugins")
  table.insert(self.problems, { file = instance._file, line = instance._line, message = message:format(...),
    path = ("%s[%d].name"):format(path, nth - 1), plugin = instance.name })
end

local REFUSALS = { pools = "service", routes = "route", consumers = "consumer" }

--- Some plugins say where they do not go.
function Checker:scopes()
  for kind, refusal in pairs(REFUSALS) do
    for _, i in ipairs(self.news.positions[kind]) do
      for nth, instance in ipairs(rawget(self.model[kind][i], "plugins") or {}) do
        if plugin.plugin_of(instance).refuses[refusal] then
          self:note_instance(kind, i, nth, instance, "the plugin %s is not for %s", instance.name, kind)
        end
      end
    end
  end
end

--- Instances of one scope are told apart by their names, wherever they stand.
function Checker:plugins()
  local taken = {}
  local function take(owner, instance)
    if entity_checks.has_failed(instance) then return nil end
    local key = owner .. "/" .. plugin.label(instance)
    local earlier = taken[key]
    taken[key] = earlier or instance
    return earlier
  end
  for _, tenant in ipairs(self.model.tenants) do
    for _, instance in ipairs(tenant.name and tenant.plugins or {}) do take(tenant.name, instance) end
  end
  for i, instance in ipairs(self.model.plugins) do
    local tenant = instance.tenant
    if tenant and not self.by_tenant[tenant] then
      self:unknown_reference("plugins", i, "tenant", "tenant", tenant, self.by_tenant)
    end
    local earlier = take(tenant or "", instance)
    if earlier then
      self:note("plugins", i, "name", "%s is already given, in %s:%d", plugin.label(instance), earlier._file,
        earlier._line)
    end
  end
end

--- Calls `visit(key, credential)` for all that leads to a consumer: its custom_id (without a credential), and each
-- credential.
local function each_lead(consumer, visit)
  if consumer.custom_id then visit(consumer.tenant .. "\0" .. consumer.custom_id) end
  for _, credential in ipairs(consumer.credentials) do
    local id = credential[plugin.plugin_of(credential).credential.id]
    visit(("%s\0%s\0%s"):format(consumer.tenant, credential.type, id), credential)
  end
end

--- Says whether the consumers that are new have no leads but those of the ones that are gone, as after a revocation:
-- then none can be another's, however many there are.
function Checker:leads_are_known()
  if not self.news.before then return false end
  local free, is_known = {}, true
  local function release(key) free[key] = true end
  local function take(key) is_known, free[key] = is_known and free[key] == true, nil end
  for _, consumer in ipairs(self.news.gone.consumers) do each_lead(consumer, release) end
  for _, i in ipairs(self.news.positions.consumers) do each_lead(self.model.consumers[i], take) end
  return is_known
end

--- A credential leads to one consumer; so does what another system calls it.
function Checker:credentials()
  if self:leads_are_known() then return end
  local taken = {}
  for i, consumer in ipairs(self.model.consumers) do
    slices.pause()
    each_lead(consumer, function(key, credential)
      local earlier = taken[key]
      taken[key] = earlier or consumer
      if not earlier then return end
      local file, line, path = self.places("consumers", i, credential and "credentials" or "custom_id")
      local what = credential and ("the %s of a credential for %s"):format(
        plugin.plugin_of(credential).credential.id, credential.type) or "the id"
      table.insert(self.problems, { file = file, line = credential and credential._line or line, path = path,
        message = ("%s is already that of %s, in %s:%d"):format(what, earlier.name, earlier._file, earlier._line) })
    end)
  end
end

--- Templates are stored as they are: secrets come in as parameters.
function Checker:templates(plugins)
  for i, template in ipairs(self.model.templates) do
    if judged[template] ~= plugins then
      local place = secrets.in_template(template, plugins)
      if place then
        self:note("templates", i, "entities", "%s is a secret: make it a parameter, or a reference like {file:/path}",
          place)
      else
        judged[template] = plugins
      end
    end
  end
end

--- Notes what is not wrong yet with a certificate.
function Checker:lint_certificate(record, file, line, path)
  local now = os.time()
  for _, found in ipairs(x509.lint(certificate.facts(record), now)) do
    table.insert(self.model.warnings, { file = file, line = line, path = path, message = found.message,
      code = found.code })
  end
end

--- Notes a certificate of a tenant that answers for none of its hosts.
function Checker:lint_owner(i, record, owners)
  if record.tenant == "default" or self.by_tenant[record.tenant].is_unknown then return end
  if #hosts_of_tenants.of_tenant(owners, certificate.facts(record).names, record.tenant) > 0 then return end
  local file, line, path = self.places("certificates", i, "tenant")
  table.insert(self.model.warnings, { file = file, line = line, path = path, code = "certificate_unused",
    message = ("none of its names is a host of the tenant %s: it is never shown"):format(record.tenant) })
end

--- Certificates of listeners are there, and none ends soon.
function Checker:certificates(known)
  local owners = hosts_of_tenants.owners(self.model.tenants)
  for i, record in ipairs(self.model.certificates) do
    if not entity_checks.has_failed(record) and record.cert and record.key and certificate.check(record) then
      self:lint_certificate(record, self.places("certificates", i, "cert"))
      self:lint_owner(i, record, owners)
    end
  end
  for i, listener in ipairs(self.model.node.listeners) do
    local tls = listener.tls
    for nth, own in ipairs(tls and tls.certificates or {}) do
      local path = ("listeners[%d].tls.certificates[%d]"):format(i - 1, nth - 1)
      local by_name = known.default or {}
      if type(own) == "string" and not by_name[own] then
        local nearest = suggest.nearest(own, sorted.names(by_name))
        table.insert(self.problems, { file = listener._file, line = listener._line, path = path,
          message = ('unknown certificate "%s"%s'):format(own,
            nearest and (", did you mean %s?"):format(nearest) or "") })
      elseif type(own) == "table" and own.cert and own.key and certificate.check(own) then
        self:lint_certificate(own, own._file, own._line, path)
      end
    end
  end
end

--- Backends are verified by somebody.
function Checker:authorities()
  for _, i in ipairs(self.news.positions.pools) do
    local tls = self.model.pools[i].tls
    if tls == true or type(tls) == "table" and tls.verify and not tls.ca then
      local found, message = x509.system()
      if not found then self:note("pools", i, "tls", "%s", message) end
    end
  end
end

--- Checks a model and resolves its references (route._pool). Appends to `problems`.
-- @param places function(kind, position, field) -> file, line, path
-- @param plugins the loader of plugins
-- @param news model/news.lua: what is not new has no problem by itself
function M.run(model, places, problems, plugins, news)
  local checker = setmetatable({ model = model, places = places, problems = problems, news = news }, Checker)
  checker:tenants()
  local pools = checker:names "pools"
  if not checker:has_own_names "routes" then checker:names "routes" end
  checker:pools()
  checker:routes(pools)
  listener_pools.run(model, pools.default or {}, problems)
  checker:hosts()
  if not checker:has_own_names "consumers" then checker:names "consumers" end
  checker:names "templates"
  checker:templates(plugins)
  checker:certificates(checker:names "certificates")
  checker:authorities()
  checker:plugins()
  checker:scopes()
  checker:credentials()
end

return M
