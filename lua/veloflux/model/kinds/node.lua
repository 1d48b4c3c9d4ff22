--- The settings of this node: listeners, processes, admin, log, paths. They are never stored.
local s = require "veloflux.model.schema"
local common = require "veloflux.model.kinds.common"
local guard = require "veloflux.model.kinds.guard"
local passing = require "veloflux.model.kinds.passing"
local redis_url = require "veloflux.redis.url"
local store_address = require "veloflux.store.redis.address"
local traffic = require "veloflux.model.kinds.traffic"

local MAX_WORKERS = 64 -- as the state area has blocks for

local listener = s.record {
  located = true,
  description = "An address on which requests or connections arrive.",
  custom_validator = passing.check,
  fields = common.join({
    { name = s.string { required = true, match = "^[%w][%w._-]*$", len_max = 64,
      expects = "a name of letters, digits, dots, dashes and underscores",
      description = "Unique; `admin` is taken.", custom_validator = function(name)
        return name ~= "admin" or nil, "admin is the name of the admin address"
      end } },
    { address = s.address { required = true, listen = true,
      description = "IP:PORT, [v6]:PORT or :PORT (every IPv4 address); port 0 takes a free one." } },
    { proxy_protocol = s.boolean { default = false,
      description = "Every connection begins with a PROXY header, version 1 or 2, of 4 KiB "
        .. "at most." } },
    { tls = require("veloflux.model.kinds.tls").listener },
    { redirect_https = s.integer { default = "off", off = true, between = { 1, 65535 }, unit = "port",
      description = "Send plain requests to https on this port, by 301 or, where content would be lost, 308. What a "
        .. "trusted proxy has received by https is served." } },
  }, passing.FIELDS, traffic.fields "listener"),
}

local auth = s.record {
  default = {},
  description = "Who may use the admin address.",
  fields = {
    { enabled = s.boolean { default = true, description = "Ask for a user name and password." } },
    { username = s.string { default = "admin", len_min = 1, len_max = 256, match = "^[^:%c]+$",
      expects = "a user name without colons", description = "The user name." } },
    { password = s.string { default = "", secret = true, len_max = 1024,
      description = "The password; empty: one is made at the first start, kept hashed and shown once." } },
  },
}

local probation = s.record {
  default = {},
  description = "What changes by the API have to keep to for a while.",
  fields = common.join({
    { default = s.duration { default = "off", min = guard.DURATION.min, max = guard.DURATION.max, off = true,
      description = "How long each is watched, unless it says `probation` itself." } },
  }, guard.FIELDS),
}

local websocket = s.record {
  default = {},
  description = "Channels: live data over WebSocket.",
  fields = {
    { max_clients = s.integer { default = 1000, between = { 0, 3000 },
      description = "Clients at once; more are answered 503. Each takes three descriptors of the control process." } },
    { ping = s.duration { default = "30s", min = "1s", max = "10m",
      description = "A client that says nothing for so long is pinged, and cut off after as long again." } },
    { queue = s.size { default = "256k", min = "4k", max = "16m",
      description = "Frames that wait for one client. Beyond, the oldest are dropped and a frame says so." } },
    { anonymous = s.boolean { default = false, description = "Who brings no credentials may follow the channels of "
      .. "the permission `user`. On an address that other machines reach it needs `admin.insecure`." } },
  },
}

local cors = s.record {
  default = {},
  description = "Pages of other sites that may use the admin API.",
  fields = {
    { origins = s.list { default = {}, unique = true, elements = s.string { match = "^https?://[%w._%[%]:-]+$",
      expects = "an origin such as https://dash.example.com" }, description = "Such as https://dash.example.com." } },
    { max_age = s.duration { default = "10m", min = "0s", max = "24h",
      description = "How long browsers remember that they may." } },
  },
}

local rate_limit = s.shape { default = "off", description = "Requests of one client to the admin address.",
  scalar = s.string { one_of = { "off" }, expects = "off or a map" },
  map = s.record { fields = {
    { requests = s.integer { required = true, min = 1, max = 1000000, description = "So many, ..." } },
    { per = s.duration { default = "1s", min = "100ms", max = "1h", description = "... in this time." } },
    { burst = s.integer { min = 1, max = 1000000, description = "At once; as many as `requests` when left out." } },
  } } }

local admin = s.record {
  default = {},
  description = "The address for people and tools.",
  fields = {
    { address = s.address { default = "127.0.0.1:8080", listen = true, words = { "off" },
      description = "Where it listens; off: nowhere." } },
    { auth = auth },
    { insecure = s.boolean { default = false,
      description = "Allow authentication to be off on an address that other machines reach." } },
    { probation = probation },
    { metrics_open = s.boolean { default = true, description = "Answer /metrics without authentication." } },
    { websocket = websocket },
    { cors = cors },
    { rate_limit = rate_limit },
  },
}

local log = s.record {
  default = {},
  description = "What is logged, and how.",
  fields = {
    { level = s.string { default = "info", one_of = { "debug", "info", "warn", "error" },
      description = "The lowest level that is written to standard error." } },
    { format = s.string { default = "auto", one_of = { "auto", "text", "json" },
      description = "auto: text on a terminal, else JSON." } },
    { access = s.shape { default = {}, description = "One line for each exchange.",
      scalar = s.string { one_of = { "off" }, expects = "off or a map" },
      map = s.record { fields = {
        { path = s.path { default = "stdout", words = { "stdout", "off" }, len_min = 1,
          description = "stdout, off or a file." } },
        { format = s.string { default = "auto", one_of = { "auto", "text", "json", "combined" },
          description = "auto: text on a terminal, else JSON; combined: as Apache and nginx write it." } },
        { query = s.boolean { default = false, description = "Log the values of query parameters as they are." } },
      } } } },
  },
}

local function check_url(text)
  local where, problem = store_address.parse(text)
  return where ~= nil, problem
end

local redis_address = s.string { custom_validator = function(text)
  local target, problem = redis_url.parse_address(text, 1)
  return target ~= nil, problem
end, expects = "HOST:PORT" }

local sentinel = s.record {
  description = "Sentinels that know which Redis is the master, instead of url.",
  fields = {
    { master = s.string { required = true, match = "^[%w._-]+$", expects = "the name of a master",
      description = "What they call it." } },
    { addresses = s.list { required = true, elements = redis_address, len_min = 1, len_max = 16,
      description = "HOST:PORT of each; without a port 26379." } },
    { username = s.string { default = "", description = "The ACL user of the Sentinels themselves; empty: none." } },
    { password = s.string { default = "", secret = true, len_max = 1024,
      description = "Their password; empty: none." } },
  },
}

local REDIS_ONLY = { "url", "sentinel", "cluster", "username", "password", "db", "tls", "prefix", "timeout" }

--- What goes with which driver.
local function check_store(record)
  if record.driver == "sqlite" then
    for _, name in ipairs(REDIS_ONLY) do
      if rawget(record, name) ~= nil then return nil, "goes with driver: redis only", name end
    end
    return true
  elseif rawget(record, "path") ~= nil then
    return nil, "goes with driver: sqlite only", "path"
  elseif not record.url and not record.sentinel and not record.cluster then
    return nil, "driver redis needs one of url, sentinel or cluster"
  elseif record.cluster and record.db ~= 0 then
    return nil, "has no meaning in a cluster, which has database 0 only", "db"
  end
  return true
end

local function is_passphrase(text) return text == "" or #text >= 8 or nil, "expected at least 8 bytes" end

local history = s.record {
  default = {},
  description = "How much of the history is kept. Older versions are forgotten; what is on probation is not.",
  fields = {
    { versions = s.integer { default = 100000, between = { 1, 1000000000 }, off = true,
      description = "So many versions; off: all." } },
    { age = s.duration { default = "off", min = "1m", off = true,
      description = "Those younger than this; off: all." } },
  },
}

local function is_time(text)
  local hours, minutes = text:match "^(%d%d):(%d%d)$"
  return text == "" or hours and tonumber(hours) < 24 and tonumber(minutes) < 60 or nil,
    "expected a time of the day like 03:00"
end

local backups = s.record {
  default = {},
  description = "Backups that this node makes by itself, or of nodes that share a store, the one that leads.",
  fields = {
    { every = s.duration { default = "off", min = "1s", off = true, description = "One in so much time." } },
    { at = s.string { default = "", custom_validator = is_time, expects = "a time of the day like 03:00",
      description = "One each day at this time, UTC." } },
    { keep = s.integer { default = 7, between = { 1, 10000 },
      description = "So many of the schedule; older ones are deleted." } },
    { path = s.path { default = "", description = "The folder; empty: `backups` in data_dir." } },
    { passphrase = s.string { default = "", secret = true, len_max = 1024, custom_validator = is_passphrase,
      description = "What they are encrypted with; empty: the node's master key." } },
  },
  entity_checks = { { mutually_exclusive = { "every", "at" } } },
}

local store = s.record {
  default = {},
  description = "Where versions of the model are kept: in a file of this node, or in a Redis that nodes share.",
  fields = {
    { driver = s.string { default = "sqlite", one_of = { "sqlite", "redis" },
      description = "sqlite: a file in data_dir; redis: a server." } },
    { path = s.string { default = "veloflux.db", len_min = 1, description = "The file, relative to data_dir." } },
    { url = s.string { secret = true, custom_validator = check_url, len_max = 4096, expects = "the URL of a Redis",
      description = "`redis://USER:PASSWORD@HOST:PORT/DB`, with TLS `rediss://...`, `unix:///PATH?db=DB`, "
        .. "`redis+sentinel://HOST:PORT,HOST:PORT/MASTER/DB` or `redis+cluster://HOST:PORT,HOST:PORT`." } },
    { sentinel = sentinel },
    { cluster = s.list { elements = redis_address, len_min = 1, len_max = 64,
      description = "HOST:PORT of some nodes of a Redis Cluster, instead of url." } },
    { username = s.string { default = "",
      description = "The ACL user; empty: the default user, or that of the url." } },
    { password = s.string { default = "", secret = true, len_max = 1024,
      description = "Its password; empty: none, or that of the url." } },
    { db = s.integer { default = 0, between = { 0, 2147483647 }, description = "The number of the database." } },
    { tls = require("veloflux.model.kinds.tls").store },
    { history = history },
    { prefix = s.string { default = "veloflux", match = "^[%w._:-]+$", len_max = 64,
      expects = "letters, digits, dots, colons, dashes and underscores",
      description = "All keys begin with {PREFIX}: - the braces keep them in one slot of a cluster." } },
    { timeout = s.duration { default = "3s", min = "100ms", max = "60s",
      description = "How long Redis may take for an answer; then it counts as away." } },
  },
  entity_checks = { { mutually_exclusive = { "url", "sentinel", "cluster" } } },
  custom_validator = check_store,
}

local cluster = s.record {
  default = {},
  description = "This node among others that share its store.",
  fields = {
    { node_id = s.string { default = "", len_max = 128, match = "^[%w._-]*$",
      expects = "a name of letters, digits, dots, dashes and underscores",
      description = "What others know it by; empty: the machine's name and eight digits, kept as data_dir/node-id." } },
    { heartbeat = s.duration { default = "1s", min = "100ms", max = "1m",
      description = "How often it says that it lives." } },
    { lease = s.duration { default = "3s", min = "500ms", max = "10m",
      description = "A node that is silent for so long counts as gone, and the leader loses its office; at least two "
        .. "heartbeats." } },
  },
}

local plugin_limits = s.record {
  default = {},
  description = "What plugins may use, so that a bad one harms only its own requests.",
  fields = {
    { cpu = s.duration { default = "100ms", min = "1ms", max = "10s", off = true,
      description = "How long one call of a handler may run, not counting the times when it waits." } },
    { memory = s.size { default = "128m", min = "16m", off = true,
      description = "Memory of the Lua state of a process." } },
    { body = s.size { default = "1m", off = true,
      description = "Bytes of bodies that an exchange keeps for plugins. A larger one passes by them." } },
    { trip = s.record { default = {}, description = "When an instance that fails is left out for a while.", fields = {
      { errors = s.integer { default = 50, between = { 1, 1000000 }, off = true,
        description = "So many errors ..." } },
      { window = s.duration { default = "10s", min = "1s", max = "1h", description = "... in this time ..." } },
      { pause = s.duration { default = "30s", min = "1s", max = "1h",
        description = "... and it is left out for this one." } },
    } } },
  },
}

local function is_key(text)
  return #text >= 16 or nil, "expected at least 16 bytes"
end

local master_key = s.shape {
  description = "What secrets at rest are sealed with, and what sticky cookies are signed with: the same on every node "
    .. "that shares a store. A text is the key itself, which VFX_MASTER_KEY in the environment wins over; a map says "
    .. "where keys are: 32 bytes, or lines of 64 hexadecimal digits or of their Base64, of which the first is in use "
    .. "and the others open what they have sealed. Without it a key is made and kept in data_dir/master.key.",
  expects = "a key, or a map with file, env or command",
  scalar = s.string { secret = true, custom_validator = is_key, len_max = 1024, expects = "a key" },
  map = s.record {
    entity_checks = { { only_one_of = { "file", "env", "command" } } },
    fields = {
      { file = s.path { len_min = 1, description = "A file that nobody else may read (mode 0600)." } },
      { env = s.string { match = "^[%a_][%w_]*$", expects = "the name of a variable",
        description = "A variable of the environment." } },
      { command = s.shape { description = "A command whose output is that: a list of arguments, or a text for the "
        .. "shell. It runs at the start, at reloads and before a rotation; its standard error is dropped.",
        scalar = s.string { len_min = 1, expects = "a command" },
        list = s.list { len_min = 1, len_max = 64, elements = s.string { expects = "an argument" } } } },
      { timeout = s.duration { default = "10s", min = "100ms", max = "1m", description = "How long it may take." } },
    },
  },
}

-- The entities, which stand beside them in a conf file, are added by conf/grammar.lua.
return s.record {
  description = "The settings of this node.",
  default = {},
  fields = common.join({
    { data_dir = s.path { len_min = 1, default_text = "../data",
      description = "The folder of lock, last model, keys and, later, the store." } },
    { user = s.string { default = "",
      description = "Run everything but the supervisor as this user, when started as root." } },
    { group = s.string { default = "", description = "Its group; empty: the user's own." } },
    { pid_file = s.path { default = "", description = "A file for the process number; empty: none." } },
    { workers = s.integer { default = "auto", words = { "auto" }, between = { 1, MAX_WORKERS },
      description = "Worker processes; auto: one per core." } },
    { listeners = s.list { default = {}, elements = listener, len_max = 63,
      description = "The addresses on which requests arrive." } },
    { admin = admin },
    { store = store },
    { backups = backups },
    { cluster = cluster },
    { log = log },
    { master_key = master_key },
    { plugin_path = s.list { default = {}, elements = s.path { len_min = 1 }, len_max = 32,
      description = "Folders of plugins, in front of the shipped ones: FOLDER/NAME/handler.lua." } },
    { plugin_limits = plugin_limits },
    { trusted_proxies = s.list { default = {}, elements = s.network { exact = true },
      description = "Networks whose X-Forwarded and request id fields are believed." } },
  }, traffic.fields "global"),
}
