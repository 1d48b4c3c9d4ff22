--- The endpoints of the admin address: a table of methods and path patterns.
-- Plugins add theirs by the same `register` as the shipped ones. A handler is a function (request) that
-- returns a result: {status, headers, body}, {json = value, status, headers}, the same with its text as `json_text`,
-- {content = of spool.lua, status, headers}, or a problem (admin/problem.lua). It may yield. `request` has method,
-- path, query, headers (lower-case names), body, client, request_id, identity, and `params`: what the pattern's {names}
-- matched.
local problem = require "veloflux.admin.problem"

local M = {}
local Router = {}
Router.__index = Router

local ORDER = { GET = 1, HEAD = 2, POST = 3, PUT = 4, PATCH = 5, DELETE = 6, OPTIONS = 7 }

--- Makes an empty table.
function M.new() return setmetatable({ exact = {}, patterns = {}, endpoints = {}, revision = 0 }, Router) end

local function compile(path)
  local names = {}
  local pattern = path:gsub("[%^%$%(%)%%%.%[%]%*%+%-%?]", "%%%0"):gsub("{([%w_]+)}", function(name)
    names[#names + 1] = name
    return "([^/]+)"
  end)
  return "^" .. pattern .. "$", names
end

--- Adds an endpoint.
-- @param endpoint table:
--   method      "GET" (answers HEAD too), "POST", ...
--   path        "/api/pools/{name}": {name} is one segment
--   permission  what the caller has to have, such as "status:read"; or
--   open        true, or function() -> boolean: answered without authentication
--   greets      true: who shows no credentials is answered too, with `request.identity` nil
--   handler     function(request) -> result
--   max_bytes   of content, 1 MiB unless given; what cannot say who it is never sends more
--   spools      true: much content is in a file: `request.spool` {data, len} (spool.lua), and `body` is ""
--   produces    media types of good answers, of which the client has to take one; nil: the handler sees to that
--   doc         what openapi.lua says about it (see there), or nil
-- Raises when the pair of method and path is taken.
function Router:register(endpoint)
  assert(endpoint.permission or endpoint.open, "an endpoint needs a permission or to be open")
  local entry = self.exact[endpoint.path]
  if not entry then
    local pattern, names = compile(endpoint.path)
    entry = { methods = {}, pattern = pattern, names = names }
    self.exact[endpoint.path] = entry
    if #names > 0 then table.insert(self.patterns, entry) end
  end
  assert(not entry.methods[endpoint.method], endpoint.method .. " " .. endpoint.path .. " is registered already")
  entry.methods[endpoint.method] = endpoint
  table.insert(self.endpoints, endpoint)
  self.revision = self.revision + 1
end

--- Replaces the endpoints of plugins, all at once. Those that were registered come first.
-- @param endpoints list, as for `register`
function Router:set_plugins(endpoints)
  local own = M.new()
  for _, endpoint in ipairs(endpoints) do own:register(endpoint) end
  self.plugins = own
  self.revision = self.revision + 1
end

--- Returns all endpoints, those of plugins behind the others.
function Router:all()
  local all = {}
  for _, list in ipairs { self.endpoints, self.plugins and self.plugins.endpoints or {} } do
    for _, endpoint in ipairs(list) do all[#all + 1] = endpoint end
  end
  return all
end

--- Takes an endpoint away. Does nothing when there is none.
function Router:unregister(method, path)
  local entry = self.exact[path]
  local endpoint = entry and entry.methods[method]
  if not endpoint then return end
  entry.methods[method] = nil
  self.revision = self.revision + 1
  for i = #self.endpoints, 1, -1 do
    if self.endpoints[i] == endpoint then table.remove(self.endpoints, i) end
  end
  if next(entry.methods) then return end
  self.exact[path] = nil
  for i = #self.patterns, 1, -1 do
    if self.patterns[i] == entry then table.remove(self.patterns, i) end
  end
end

local function match_pattern(entry, path)
  local values = { path:match(entry.pattern) }
  if values[1] == nil then return nil end
  local params = {}
  for i, name in ipairs(entry.names) do params[name] = values[i] end
  return params
end

local function add_exact(self, path, found)
  local entry = self.exact[path]
  if entry and #entry.names == 0 then found[#found + 1] = { entry, {} } end
end

local function add_patterns(self, path, found)
  for _, candidate in ipairs(self.patterns) do
    local params = match_pattern(candidate, path)
    if params then found[#found + 1] = { candidate, params } end
  end
end

--- Finds the entries of a path, the core's before those of plugins: list of {entry, params}. Paths without names go
-- before those with some.
function Router:find_path(path)
  local found = {}
  for _, add in ipairs { add_exact, add_patterns } do
    add(self, path, found)
    if self.plugins then add(self.plugins, path, found) end
    if found[1] then return found end
  end
  return found
end

local function allowed(found)
  local methods, all = { "OPTIONS" }, {}
  for _, pair in ipairs(found) do
    for method in pairs(pair[1].methods) do all[method] = true end
  end
  for method in pairs(all) do methods[#methods + 1] = method end
  if all.GET and not all.HEAD then methods[#methods + 1] = "HEAD" end
  table.sort(methods, function(a, b) return (ORDER[a] or 99) < (ORDER[b] or 99) end)
  return table.concat(methods, ", ")
end

--- Finds the endpoint for a method and a path.
-- @return endpoint and params; or nil and a result: 404, 405 with Allow, or the answer to OPTIONS
function Router:find(method, path)
  if method == "OPTIONS" and path == "*" then
    return nil, { status = 204, headers = { "Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS" }, body = "" }
  end
  local found = self:find_path(path)
  if not found[1] then return nil, problem.new("not_found", "There is nothing at this path.") end
  for _, pair in ipairs(found) do
    local methods = pair[1].methods
    local endpoint = methods[method] or method == "HEAD" and methods.GET
    if endpoint then return endpoint, pair[2] end
  end
  local headers = { "Allow", allowed(found) }
  if method == "OPTIONS" then return nil, { status = 204, headers = headers, body = "" } end
  return nil, problem.new("method_not_allowed", "This path does not take the method " .. method .. ".",
    { headers = headers })
end

return M
