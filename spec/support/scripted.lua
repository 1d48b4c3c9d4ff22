--- A server with a plugin that runs what a request says: the content is Lua with `pdk` and `conf` in reach, what it
-- returns comes back. For specs of the plugin API in the real binary, with several workers.
--
--     local server = scripted.start { workers = 2 }
--     local first, second = server:workers()                   -- a connection to each
--     assert.same({ 1 }, first:run [[ return pdk.shared:incr("n", 1, 0) ]])
local cjson = require "cjson"
local children = require "support.children"
local clients = require "support.client"
local servers = require "support.server"

local M = {}

local HANDLER = [[
local pdk = require "veloflux.pdk"
local Plugin = { PRIORITY = 1000, VERSION = "1.0.0" }

local function plain(value)
  if value == nil then return pdk.json.null end
  if type(value) == "table" then
    local copy = {}
    for key, inner in pairs(value) do copy[key] = plain(inner) end
    return copy
  end
  if type(value) == "number" and (value ~= value or value == math.huge) then return tostring(value) end
  if type(value) == "function" or type(value) == "userdata" then return tostring(value) end
  return value
end

function Plugin:access(conf)
  if pdk.request.get_header "x-pid" then return pdk.response.exit(200, tostring(
    pdk.node.get_memory_stats().workers_lua_vms[1].pid)) end
  local fn = assert(load("local pdk, conf = ... " .. pdk.request.get_raw_body(), "=script"))
  local function pack(...) return { n = select("#", ...), ... } end
  local results = pack(pcall(fn, pdk, conf))
  local list = pdk.json.array {}
  for i = 1, results.n do list[i] = plain(results[i]) end
  return pdk.response.exit(200, pdk.json.encode(list))
end
return Plugin
]]

local SCHEMA = [[ return { value = { type = "string", referenceable = true, len_min = 0 } } ]]

local Connection = {}
Connection.__index = Connection

local function without_null(value)
  if value == cjson.null then return nil end
  return value
end

--- Sends a script. Raises what it raises.
-- @return a list of what it returned; nil is nil
function Connection:run(script)
  self.client:request("POST", self.path, nil, script)
  local response, fault = self.client:read_response "POST"
  if not response then error("the script got no answer: " .. tostring(fault), 2) end
  if response.status ~= 200 then error(("status %d: %s"):format(response.status, response.body), 2) end
  local list = cjson.decode(response.body)
  if list[1] ~= true then error(tostring(list[2]), 2) end
  local results = {}
  for i = 2, #list do results[i - 1] = without_null(list[i]) end
  return results
end

--- Sends a script without waiting for what it returns: `answer` does.
function Connection:begin(script) self.client:request("POST", self.path, nil, script) end

--- Returns what the script returned that was begun.
function Connection:answer()
  local response, fault = self.client:read_response "POST"
  if not response then return nil, fault end
  return cjson.decode(response.body)
end

function Connection:close() self.client:close() end

--- Closes with RST: the client has gone for sure.
function Connection:reset() self.client:reset() end

local Scripted = {}

--- Opens a connection.
-- @param path "/NAME" of the plugin that runs; of the first when left out
-- @return connection: run, begin, answer, close; pid of its worker
function Scripted:connect(path)
  local connection = M.connect(self.ports.http, path or self.path)
  table.insert(self.connections, connection)
  return connection
end

--- Closes all connections, so that nothing has to be drained, and stops as servers do.
function Scripted:stop()
  for _, connection in ipairs(self.connections) do connection:close() end
  servers.methods.stop(self)
end

--- Opens a connection to each of two workers.
-- @param other a connection whose worker is the first, or nil
function Scripted:workers(path, other)
  local first = other or self:connect(path)
  local second = children.eventually("a connection to the other worker", function()
    local connection = self:connect(path)
    if connection.pid ~= first.pid then return connection end
    connection:close()
  end)
  return first, second
end

--- Returns /metrics as text.
function Scripted:metrics() return clients.get(self.ports.admin, "/metrics").body end

--- Opens a connection to a server whose plugins run scripts.
-- @param port of its listener
-- @param path "/NAME" of the plugin
-- @return connection: run, begin, answer, close; pid of its worker
function M.connect(port, path)
  local client = clients.connect(port)
  client:request("GET", path, { ["X-Pid"] = "1" })
  local pid = tonumber(assert(client:read_response()).body)
  return setmetatable({ client = client, path = path, pid = pid }, Connection)
end

--- Returns the files of a plugin that runs scripts, by their names in its folder.
function M.plugin() return { handler = HANDLER, schema = SCHEMA } end

--- Starts the server.
-- @param options table or nil: workers (1), plugins (names, each at /NAME; { "script" }), config (of the plugins),
--   conf (fields of the conf), files, env
-- @return server (support.server), with connect and workers
function M.start(options)
  options = options or {}
  local names, files, routes = options.plugins or { "script" }, {}, {}
  for name, text in pairs(options.files or {}) do files[name] = text end
  for i, name in ipairs(names) do
    files[("plugins/%s/handler.lua"):format(name)] = HANDLER
    files[("plugins/%s/schema.lua"):format(name)] = SCHEMA
    routes[i] = { name = name, path_prefix = "/" .. name, respond = { body = "no script" },
      plugins = { { name = name, config = options.config } } }
  end
  local conf = { plugin_path = { "plugins" }, workers = options.workers or 1, routes = routes }
  for key, value in pairs(options.conf or {}) do conf[key] = value end
  local server = servers.start { conf = conf, files = files, env = options.env }
  server.path, server.connections = "/" .. names[1], {}
  return setmetatable(server, { __index = function(_, name) return Scripted[name] or servers.methods[name] end })
end

return M
