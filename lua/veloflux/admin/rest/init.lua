--- Serves the resources that resources/ declares: lists, single objects, and changes as transactions.
local await = require "veloflux.admin.await"
local bodies = require "veloflux.admin.body"
local intake = require "veloflux.admin.rest.intake"
local problem = require "veloflux.admin.problem"
local queue = require "veloflux.control.queue"
local read = require "veloflux.admin.rest.read"
local resources = require "veloflux.admin.resources"
local targets = require "veloflux.admin.rest.targets"
local write = require "veloflux.admin.rest.write"

local M = {
  show = read.show, paths = read.paths, find = targets.find, prepare = intake.prepare, context_of = write.context_of,
}

local function not_acceptable()
  return problem.new("not_acceptable", "This is answered as application/json.")
end

local function takes_json(request) return bodies.accepts(request, "application/json") end

--- Waits for the first configuration, if that is on its way. Returns false when there is none. Yields.
function M.is_ready()
  if queue.world() then return true end
  await.call(function(callback)
    queue.enqueue(function(done)
      callback()
      done()
    end)
  end)
  return queue.world() ~= nil
end

local HANDLERS = { PUT = write.change, PATCH = write.change, DELETE = write.change }

--- Returns a handler that waits for the first configuration, and answers those who take JSON.
-- @param handler function(context, request) -> result
function M.post(context, handler)
  return function(request)
    if not takes_json(request) then return not_acceptable() end
    if not M.is_ready() then return problem.new("unavailable", "There is no configuration yet.") end
    return handler(context, request)
  end
end

local function add(router, resource, context, method, path, handler, what)
  local is_read = method == "GET"
  local function serve(request)
    if not M.is_ready() then return problem.new("unavailable", "There is no configuration yet.") end
    if not takes_json(request) then return not_acceptable() end
    return handler(resource, context, request)
  end
  router:register { method = method, path = path, handler = serve,
    permission = resource.permission .. (is_read and ":read" or ":write"), takes_probation = not is_read,
    is_of_tenant = true,
    doc = { resource = resource, what = what } }
end

local function add_all(router, resource, forms, context)
  for _, form in ipairs(forms) do
    if form.collection then
      add(router, resource, context, "GET", form.collection, read.list, "list")
      add(router, resource, context, "POST", form.collection, write.create, "create")
    end
    if form.single then
      add(router, resource, context, "GET", form.single, read.get, "get")
      for _, method in ipairs { "PUT", "PATCH", "DELETE" } do
        if resource.methods[method] then
          add(router, resource, context, method, form.single, HANDLERS[method], method:lower())
        end
      end
    end
  end
end

--- Returns the endpoints of a resource at a path as a list.
function M.endpoints_at(path, resource, context)
  local endpoints = {}
  add_all({ register = function(_, endpoint) endpoints[#endpoints + 1] = endpoint end }, resource,
    { { collection = path, single = path .. "/{id}" } }, context)
  return endpoints
end

--- Registers the endpoints of all resources.
-- @param context table: transactions() -> control/transactions.lua
function M.register(router, context)
  for _, resource in ipairs(resources.ALL) do add_all(router, resource, resource.forms, context) end
end

return M
