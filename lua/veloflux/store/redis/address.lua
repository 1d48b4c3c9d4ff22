--- Where the Redis of a store is: one server, the master that Sentinels know, or the nodes of a cluster.
--
--     redis://[USER:PASSWORD@]HOST[:PORT][/DB]          rediss:// the same with TLS     unix:///PATH[?db=DB]
--     redis+sentinel://[USER:PASSWORD@]HOST[:PORT],HOST[:PORT].../MASTER[/DB]
--     redis+cluster://[USER:PASSWORD@]HOST[:PORT],HOST[:PORT]...
--
-- All come to the same: { kind = "server", "sentinel" or "cluster", targets = list of { host, port, label } or
-- { path, label }, master, username, password, db, label, tls = { verify, ca, name } or nil }. The label is for
-- messages: it has no password.
local urls = require "veloflux.redis.url"

local M = {}

local REDIS_PORT, SENTINEL_PORT = 6379, 26379

local function with_label(target)
  target.label = target.path and "unix:" .. target.path or target.host .. ":" .. target.port
  return target
end
M.with_label = with_label

--- Reads a list of HOST[:PORT].
local function targets_of(addresses, default_port)
  local targets = {}
  for i, text in ipairs(addresses) do
    local target, err = urls.parse_address(text, default_port)
    if not target then return nil, ("%s: %s"):format(text, err) end
    targets[i] = with_label(target)
  end
  return targets
end

local function label_of(where)
  local labels = {}
  for i, target in ipairs(where.targets) do labels[i] = target.label end
  local list = table.concat(labels, ",")
  return where.kind == "sentinel" and ("%s of Sentinel %s"):format(where.master, list) or list
end

local function complete(where)
  where.db = where.db or 0
  where.label = label_of(where)
  return where
end

local function split(text)
  local list = {}
  for part in text:gmatch "[^,]+" do list[#list + 1] = part end
  return list
end

local function parse_many(kind, rest)
  local authority, path = rest:match "^([^/?#]*)/?([^?#]*)"
  local user, hosts = urls.parse_user(authority)
  if not user then return nil, hosts end
  local targets, err = targets_of(split(hosts), kind == "sentinel" and SENTINEL_PORT or REDIS_PORT)
  if not targets then return nil, err end
  if #targets == 0 then return nil, "it names no host" end
  local where = { kind = kind, targets = targets, username = user.username, password = user.password }
  if kind == "cluster" then return complete(where) end
  local master, db = path:match "^([^/]+)/?(.*)$"
  if not master then return nil, "it names no master: redis+sentinel://HOST,HOST/MASTER" end
  where.master, where.db = master, urls.parse_database(db)
  if not where.db then return nil, "its db is no number" end
  return complete(where)
end

--- Takes a URL apart.
-- @return where, or nil and what is wrong with it, without the URL itself
function M.parse(text)
  local scheme, rest = text:match "^([%a+]+)://(.*)$"
  if scheme == "redis+sentinel" then return parse_many("sentinel", rest) end
  if scheme == "redis+cluster" then return parse_many("cluster", rest) end
  local target, err = urls.parse(text)
  if not target then
    if scheme then return nil, err end
    return nil, "it is not of the form redis://HOST:PORT/DB, unix:///PATH, redis+sentinel://... or redis+cluster://..."
  end
  local place = with_label { host = target.host, port = target.port, path = target.path }
  return complete { tls = target.tls and { verify = true }, kind = "server", targets = { place },
    username = target.username, password = target.password, db = target.db }
end

local function given(text) return text ~= "" and text or nil end

local function of_lists(settings)
  local sentinel, cluster = settings.sentinel, settings.cluster
  if sentinel then
    local targets, err = targets_of(sentinel.addresses, SENTINEL_PORT)
    if not targets then return nil, "sentinel.addresses: " .. err end
    return { kind = "sentinel", targets = targets, master = sentinel.master,
      sentinel_username = given(sentinel.username), sentinel_password = given(sentinel.password) }
  end
  local targets, err = targets_of(cluster, REDIS_PORT)
  if not targets then return nil, "cluster: " .. err end
  return { kind = "cluster", targets = targets }
end

--- Reads the settings of a store: url, or sentinel { master, addresses, username, password }, or cluster (a list);
-- then username, password, db and tls (true, or verify, ca, name).
-- @return where, or nil and what is wrong
function M.of(settings)
  local where, err
  if settings.url then
    where, err = M.parse(settings.url)
    if not where then return nil, "url: " .. err end
  else
    where, err = of_lists(settings)
    if not where then return nil, err end
  end
  where.username = where.username or given(settings.username)
  where.password = where.password or given(settings.password)
  if where.kind ~= "cluster" and settings.db and settings.db ~= 0 then where.db = settings.db end
  local tls = settings.tls
  if tls == true then where.tls = { verify = true } elseif tls then where.tls = tls end
  return complete(where)
end

return M
