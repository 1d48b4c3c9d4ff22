--- Several nodes of the real binary that share a Redis, each behind a relay of its own.
--
--     local cluster = clusters.start { nodes = 3 }
--     cluster.nodes[1]:call("POST", "/api/routes", { ... })
--     cluster.nodes[1].relay:freeze()
local cjson = require "cjson"
local children = require "support.children"
local clients = require "support.client"
local redis_servers = require "unit.pdk.redis_server"
local relays = require "support.relay"
local servers = require "support.server"
local tempdir = require "support.tempdir"
local uv = require "luv"

local M = {}
local Node = {}
Node.__index = Node
local Cluster = {}
Cluster.__index = Cluster

local PRIVATE = tonumber("600", 8)
local KEY = ("k"):rep(32) -- what the secrets of all of them are sealed with

--- Sends a request to the admin address.
-- @return the response, with `json` when its body is that
function Node:call(method, path, body, fields)
  local all = { ["Content-Type"] = body and "application/json" or nil }
  for name, value in pairs(fields or {}) do all[name] = value end
  local response = clients.request(self.server.ports.admin, method, path, all, body and cjson.encode(body))
  local ok, decoded = pcall(cjson.decode, response.body)
  response.json = ok and decoded or nil
  return response
end

function Node:get(path) return self:call("GET", path).json end

--- Says what the data plane answers at a path: status and body.
function Node:serves(path)
  local response = clients.get(self.server.ports.http, path)
  return response.status == 200 and response.body or nil
end

--- Starts the node on its data directory. The port of its traffic may change.
function Node:start() self.server = servers.start { conf = self:conf() } end

--- Returns its conf.
function Node:conf()
  return { plugin_path = self.plugin_path, data_dir = self.folder, entities = self.entities, routes = self.routes,
    workers = self.workers, timeouts = self.timeouts,
    store = { driver = "redis", url = ("redis://127.0.0.1:%d/0"):format(self.relay.port), timeout = "1s" },
    cluster = { node_id = self.id, heartbeat = "200ms", lease = self.cluster.lease } }
end

function Node:stop() self.server:stop() end

--- Kills all processes of the node at once: none of them hears of the end of another.
function Node:kill()
  local pids = self.server.process:children()
  pids[#pids + 1] = self.server.pid
  for _, pid in ipairs(pids) do uv.kill(pid, "sigstop") end
  self.server.process:kill()
end

--- Returns the node that leads, as all of `nodes` say, once they agree.
-- @param but an id that it is not to be, or nil
function Cluster:leader(nodes, but)
  return children.eventually("a leader", function()
    local id
    for _, node in ipairs(nodes or self.nodes) do
      local leading = node:get("/api/cluster").leader
      if leading == cjson.null or leading == but or id and leading ~= id then return nil end
      id = leading
    end
    local leader = self.by_id[id]
    return leader and leader:get("/api/cluster").is_leader and leader
  end)
end

--- Awaits that nodes serve a version, or a later one.
function Cluster:await_version(version, nodes)
  for _, node in ipairs(nodes or self.nodes) do
    children.eventually(("%s to serve version %d"):format(node.id, version), function()
      return node:get("/api/cluster").config_version >= version
    end)
  end
end

--- Returns the version that all nodes serve and know of each other's commits, or nil while they differ.
function Cluster:version()
  local version
  for _, node in ipairs(self.nodes) do
    local ok, shown = pcall(node.get, node, "/api/cluster")
    if not ok or not shown then return nil end
    for _, each in ipairs(shown.nodes) do
      if each.is_local and each.config_version ~= shown.store_version then return nil end
    end
    if version and version ~= shown.store_version then return nil end
    version = shown.store_version
  end
  return version
end

--- Awaits that nodes see so many that are healthy.
function Cluster:await_nodes(count, nodes)
  for _, node in ipairs(nodes or self.nodes) do
    children.eventually(("%s to see %d nodes"):format(node.id, count), function()
      local healthy = 0
      for _, each in ipairs(node:get("/api/cluster").nodes) do
        if each.status == "healthy" then healthy = healthy + 1 end
      end
      return healthy == count
    end)
  end
end

function Cluster:start_redis()
  self.redis = redis_servers.start { port = self.redis and self.redis.port, dir = self.redis and self.redis.dir,
    args = { "--appendonly", "yes", "--appendfsync", "always" } }
end

--- Ends Redis; start_redis starts it again with what it has on its disk.
function Cluster:stop_redis()
  self.redis.process:kill()
  self.redis.process:wait_exit()
end

function Cluster:stop()
  for _, node in ipairs(self.nodes) do node:stop() end
end

--- Starts a Redis and nodes named a, b, c ...
-- @param options {nodes = how many, lease = "2s", is_parallel = true: all at once, configure = function(node): may set
-- `entities`, `routes`, `key`, `plugin_path`, `timeouts` and `workers`}
function M.start(options)
  local self = setmetatable({ nodes = {}, by_id = {}, lease = options.lease or "2s" }, Cluster)
  self:start_redis()
  for i = 1, options.nodes or 3 do
    local node = setmetatable({ id = ("abcdefgh"):sub(i, i), cluster = self, folder = tempdir.new(),
      entities = "owned" }, Node)
    node.relay = relays.start(self.redis.port)
    if options.configure then options.configure(node) end
    tempdir.write(node.folder .. "/master.key", node.key or KEY)
    assert(uv.fs_chmod(node.folder .. "/master.key", PRIVATE))
    if not options.is_parallel then node:start() end
    self.nodes[i], self.by_id[node.id] = node, node
  end
  local starts = {}
  for i, node in ipairs(options.is_parallel and self.nodes or {}) do starts[i] = function() node:start() end end
  if #starts > 0 then clients.together(unpack(starts)) end
  self:await_nodes(#self.nodes)
  return self
end

return M
