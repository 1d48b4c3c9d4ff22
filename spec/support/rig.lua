--- The usual arrangement: one pool of origins behind one route, and answers that say what an origin saw.
local cjson = require "cjson"
local origins = require "support.origin"
local servers = require "support.server"

local M = {}

local function merged(base, extra)
  for key, value in pairs(extra or {}) do base[key] = value end
  return base
end

--- A conf with pool "web" over origins and route "site" for everything.
-- @param used list of origins or addresses
-- @param options table or nil: pool, route, conf (fields added to each)
function M.conf(used, options)
  options = options or {}
  local backends = {}
  for i, origin in ipairs(used) do backends[i] = { address = type(origin) == "string" and origin or origin.address } end
  return merged({
    pools = { merged({ name = "web", backends = backends }, options.pool) },
    routes = { merged({ name = "site", path_prefix = "/", pool = "web" }, options.route) },
  }, options.conf)
end

--- Starts the binary on conf(used, options).
-- @return server (support.server), and the conf
function M.start(used, options)
  local conf = M.conf(used, options)
  return servers.start { conf = conf }, conf
end

--- An origin that answers 200 with its name.
function M.named(name)
  return origins.start(function(conn, request)
    conn:write(origins.response(200, nil, request.origin.name, request.method))
  end, { name = name })
end

--- What the echo handler of support.origin says about a request.
-- @param response of an origin without handler
-- @return table as there; get(name) returns the values of a field joined by ", ", or nil
function M.seen(response)
  if response.status ~= 200 then error(("status %d: %s"):format(response.status, response.body), 2) end
  local seen = cjson.decode(response.body)
  function seen.get(name)
    local values = {}
    for _, field in ipairs(seen.fields) do
      if field[1]:lower() == name:lower() then values[#values + 1] = field[2] end
    end
    return #values > 0 and table.concat(values, ", ") or nil
  end
  return seen
end

--- The reason code of a problem document.
function M.code(response)
  return cjson.decode(response.body).code
end

--- A function for busted's teardown: stops the server that specs of a scope shared, which must end well, and closes the
-- scope.
-- @param scope from loop.scope()
-- @param get function that returns the server
function M.closer(scope, get)
  return function()
    local ok, failure = pcall(scope.run, scope, function() get():stop() end)
    scope:close()
    if not ok then error(failure, 0) end
  end
end

--- The process number of the one worker.
function M.worker(server)
  for _, pid in ipairs(server.process:children()) do
    local file = io.open(("/proc/%d/cmdline"):format(pid), "rb")
    local line = file and file:read "*a" or ""
    if file then file:close() end
    if line:find("--role=worker", 1, true) then return pid end
  end
  error("there is no worker", 2)
end

return M
