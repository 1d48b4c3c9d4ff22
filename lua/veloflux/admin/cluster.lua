--- The cluster as the admin API shows it, and writes that wait for all of its nodes.
local await = require "veloflux.admin.await"
local cluster = require "veloflux.cluster"
local json = require "veloflux.pdk.json"
local leader = require "veloflux.cluster.leader"
local problem = require "veloflux.admin.problem"
local prometheus = require "veloflux.admin.prometheus"
local queue = require "veloflux.control.queue"
local status = require "veloflux.admin.status"
local storage = require "veloflux.control.storage"
local totals = require "veloflux.totals"

local M = {}

M.WAIT_MS = 5000 -- how long a write waits for the other nodes

local labels_of = prometheus.labels
local STATES = { "healthy", "unhealthy", "draining", "behind", "unreachable" }

--- Returns the state of a node in one word.
local function state_of(node)
  return node.is_alive and (node.state or "healthy") or "unreachable"
end

-- GET /api/cluster ----------------------------------------------------------------------------------

local function shown_node(node, leading, term)
  local state = state_of(node)
  local seen = status.time(node.seen_ms)
  return { id = node.id, uuid = node.uuid or json.null, hostname = node.hostname, address = node.address,
    last_seen = seen, lastSeen = seen,
    role = node.id == leading and "leader" or "follower", status = state,
    is_healthy = state == "healthy" or state == "draining", is_local = node.is_self == true,
    term = node.id == leading and term or json.null, version = node.release, config_version = node.version,
    lag = math.max(0, queue.stored() - (node.version or 0)), reason = node.why or json.null,
    file_digest = node.digest or json.null, started_at = node.started_ms and status.time(node.started_ms) or json.null }
end

--- Returns the algorithm that most pools use, whether any is checked, and the regions of backends.
local function pools_of(model)
  local counts, regions, seen, is_checked = {}, json.array(), {}, false
  local most = "round_robin"
  for _, pool in ipairs(model and model.pools or {}) do
    counts[pool.algorithm] = (counts[pool.algorithm] or 0) + 1
    if counts[pool.algorithm] > (counts[most] or 0) then most = pool.algorithm end
    is_checked = is_checked or pool.health_check and pool.health_check.enabled or false
    for _, backend in ipairs(pool.backends) do
      local region = rawget(backend, "region")
      if region and region ~= "" and not seen[region] then seen[region], regions[#regions + 1] = true, region end
    end
  end
  table.sort(regions)
  return most, is_checked, regions
end

local function overall(nodes)
  local alive, good = 0, 0
  for _, node in ipairs(nodes) do
    if node.is_alive then alive = alive + 1 end
    if state_of(node) == "healthy" or state_of(node) == "draining" then good = good + 1 end
  end
  if good == 0 then return "unhealthy" end
  return (good < alive or cluster.trouble()) and "degraded" or "healthy"
end

--- Returns the document of GET /api/cluster. A node without a shared store is a cluster of one.
-- @param version of this build
-- @param model or nil: none was published
function M.document(version, model)
  local node, known = totals.node(), leader.known()
  local nodes, listed = json.array(), cluster.nodes()
  local leading = cluster.is_enabled() and cluster.leader() or nil
  if not cluster.is_enabled() then leading = cluster.id() end
  for i, each in ipairs(listed) do nodes[i] = shown_node(each, leading, known and known.token) end
  local algorithm, is_checked, regions = pools_of(model)
  return { enabled = cluster.is_enabled(), is_leader = cluster.is_leader(), local_node = cluster.id() or json.null,
    id = cluster.id() or json.null, leader = leading or json.null, nodes = nodes, node_count = #nodes,
    algorithm = algorithm, health_check_enabled = is_checked, regions = regions, version = version,
    config_version = totals.number(node.version), store_version = queue.stored(),
    uptime = status.duration(totals.number(node.uptime_ms)), status = overall(listed) }
end

--- Returns what other documents say of it: the id of this node, and {enabled, is_leader}.
function M.summary()
  return cluster.id() or json.null, { enabled = cluster.is_enabled(), is_leader = cluster.is_leader() }
end

-- Health --------------------------------------------------------------------------------------------

--- Returns the component `store` of /health.
function M.store_component()
  local now = storage.status()
  local why = queue.unavailable() or now and now.error
  local is_up = why == nil and now ~= nil
  return { ok = is_up, driver = now and now.driver or json.null,
    since = now and now.since_ms and status.time(now.since_ms) or json.null,
    message = is_up and (now.warning and "takes changes; " .. now.warning or "takes changes")
      or "takes no changes: " .. (why or "not open yet") }
end

--- Returns the component `cluster` of /health.
function M.cluster_component()
  local trouble, alive, all = cluster.trouble(), 0, 0
  for _, node in ipairs(cluster.nodes()) do
    all = all + 1
    if node.is_alive then alive = alive + 1 end
  end
  local message = cluster.is_enabled() and ("%d of %d nodes live"):format(alive, all) or "a node by itself"
  local leading = cluster.is_enabled() and cluster.leader()
  if leading then message = ("%s; %s leads"):format(message, leading) end
  return { ok = trouble == nil, nodes = all, nodes_alive = alive, leader = leading or json.null,
    message = trouble and ("%s: %s"):format(cluster.id(), trouble) or message }
end

-- Metrics -------------------------------------------------------------------------------------------

--- Adds the families.
-- @param exposition of prometheus.lua
function M.add_metrics(exposition)
  local function one(name, kind, help, value) exposition:family(name, kind, help):add("", value) end
  local nodes, alive, newest = cluster.nodes(), 0, queue.stored()
  local by_state = {}
  for _, node in ipairs(nodes) do
    local state = state_of(node)
    by_state[state] = (by_state[state] or 0) + 1
    if node.is_alive then alive = alive + 1 end
  end
  one("veloflux_cluster_nodes_up", "gauge", "Nodes of the cluster that live.", alive)
  one("veloflux_cluster_nodes_total", "gauge", "Nodes of the cluster that were seen within a day.", #nodes)
  local states = exposition:family("veloflux_cluster_nodes", "gauge", "Nodes of the cluster by their state.")
  for _, state in ipairs(STATES) do states:add(labels_of { "state", state }, by_state[state] or 0) end
  local lag = exposition:family("veloflux_cluster_lag_versions", "gauge",
    "Versions of the store that a node does not serve yet.")
  for _, node in ipairs(nodes) do
    if node.is_alive then lag:add(labels_of { "node", node.id }, math.max(0, newest - (node.version or 0))) end
  end
  one("veloflux_cluster_leader", "gauge", "1 when this node leads.", cluster.is_leader() and 1 or 0)
  one("veloflux_cluster_lease_changes_total", "counter", "Times that this node became the leader or ceased to be.",
    leader.changes())
  local counts = queue.counts()
  one("veloflux_cluster_followed_total", "counter", "Publications of versions that other nodes had stored.",
    counts.followed)
  one("veloflux_cluster_rebased_total", "counter", "Changes that were made anew because another node was faster.",
    counts.rebased)
  one("veloflux_cluster_behind", "gauge", "1 while this node cannot serve what the store has.",
    queue.behind() and 1 or 0)
  one("veloflux_store_up", "gauge", "1 while the store takes changes.", M.store_component().ok and 1 or 0)
end

-- Writes that wait ----------------------------------------------------------------------------------

local function without_wait(query)
  local kept, wait, count = {}, nil, 0
  for pair in (query or ""):gmatch "[^&]+" do
    local value = pair:match "^wait=?(.*)$"
    if value and (pair == "wait" or pair:sub(1, 5) == "wait=") then
      wait, count = value, count + 1
    else
      kept[#kept + 1] = pair
    end
  end
  return table.concat(kept, "&"), wait, count
end

local function header(result, name)
  for i = 1, #(result.headers or {}), 2 do
    if result.headers[i] == name then return result.headers[i + 1] end
  end
end

--- Tells who of the nodes does not serve the version of a write yet.
local function add_laggards(result, names)
  result.status = 202
  result.headers[#result.headers + 1] = "VeloFlux-Lagging-Nodes"
  result.headers[#result.headers + 1] = table.concat(names, ", ")
end

--- Takes `?wait=cluster` from a write: its answer comes when all nodes that live serve its version, or after WAIT_MS
-- as 202 with the names of the others in VeloFlux-Lagging-Nodes.
-- @param handler of the endpoint
-- @return a handler; or nil and a problem
function M.waiting(request, handler)
  local query, wait, count = without_wait(request.query)
  if not wait then return handler end
  if wait ~= "cluster" or count > 1 then
    local detail = count > 1 and "given twice" or "expected cluster"
    return nil, problem.new("invalid", "Query parameter wait: " .. detail .. ".",
      { errors = { { pointer = "?wait", detail = detail } } })
  end
  request.query = query
  return function(asked)
    local result = handler(asked)
    local version = not result.code and tonumber(header(result, "VeloFlux-Version") or "")
    if not version or (result.status or 200) >= 300 then return result end
    local names = await.call(function(callback) cluster.wait(version, M.WAIT_MS, callback) end)
    if #names > 0 then add_laggards(result, names) end
    return result
  end
end

return M
