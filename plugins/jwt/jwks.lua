--- Keys that a server publishes (JWK Set, RFC 7517 section 5): fetched in the background, kept in the worker, fetched
-- anew when they are old or a token names one that is not there.
--
-- A set that was loaded once goes on serving while its server is away. A request waits only for the first load, and
-- for one that may bring the key that it names. However many tokens name unknown keys, the server is asked once in
-- `jwks_min_interval`.
local pdk = require "veloflux.pdk"
local crypto, json, http, log, timer = pdk.crypto, pdk.json, pdk.http, pdk.log, pdk.timer

local M = {}

local MAX_BODY_BYTES, MAX_KEYS = 256 * 1024, 100
local MAX_TRIES = 8 -- keys that one token without kid is tried with
local FIRST_PAUSE_S = 1 -- after a load that failed; doubled each time, up to the interval
local LOOK_S = 0.01 -- how often waiting requests look whether the keys are there
local REQUEST_HEADERS = { Accept = "application/jwk-set+json, application/json" }

local Set = {}
Set.__index = Set

-- By what they are made of, for as long as a configuration has one.
local sets = setmetatable({}, { __mode = "v" })

-- Reading --------------------------------------------------------------------------------------------

-- Makes a key of one member. What is not for signatures or of another kind is left out (RFC 7517 section 5).
local function read_key(jwk, known)
  if type(jwk) ~= "table" or json.is_array(jwk) then return nil end
  local text = json.canonical(jwk)
  if known[text] then return known[text], text end
  local key = crypto.key(jwk)
  if not key then return nil end
  return { kid = type(jwk.kid) == "string" and jwk.kid or nil, key = key, verifiers = {} }, text
end

--- Reads a set.
---@param body string
---@param known table<string, table> keys of the set before, by their text: the same key stays the same table
---@return table[]|nil keys {kid, key, verifiers}
---@return table<string, table>|string known keys by their text, or what is wrong
function M.read(body, known)
  local document, problem = json.decode(body)
  if problem then return nil, problem end
  local members = type(document) == "table" and document.keys
  if type(members) ~= "table" or not json.is_array(members) then return nil, "not a JWK Set: it has no list of keys" end
  if #members > MAX_KEYS then return nil, ("has more than %d keys"):format(MAX_KEYS) end
  local keys, by_text = {}, {}
  for _, jwk in ipairs(members) do
    local key, text = read_key(jwk, known)
    if key then keys[#keys + 1], by_text[text] = key, key end
  end
  return keys, by_text
end

-- Loading --------------------------------------------------------------------------------------------

local function fetch(set)
  local response, problem = http.get(set.uri, { timeout = set.timeout_s, max_body_bytes = MAX_BODY_BYTES,
    headers = REQUEST_HEADERS })
  if not response then return nil, problem end
  if response.status ~= 200 then return nil, ("the server answered %d"):format(response.status) end
  return M.read(response.body, set.by_text)
end

local function failed(set, problem)
  set.pause_s = math.min((set.pause_s or FIRST_PAUSE_S / 2) * 2, set.interval_s)
  set.next_load = os.time() + set.pause_s
  log.warn("keys were not loaded from ", set.uri, ": ", problem)
end

local function load(set)
  local ok, keys, more = pcall(fetch, set)
  if ok and keys then
    set.keys, set.by_text, set.pause_s = keys, more, nil
    set.next_load = os.time() + set.interval_s
    set.expires = os.time() + set.ttl_s
    log.event("jwt.keys_loaded", { uri = set.uri, keys = #keys })
  else
    failed(set, ok and more or keys)
  end
  set.loading_until = 0
end

--- Starts to load, unless that is under way or was tried a moment ago.
function Set:start()
  local now = os.time()
  if now < self.loading_until or now < self.next_load then return end
  self.loading_until = now + math.ceil(self.timeout_s) * 2 + 1 -- if it never ends; the clock has whole seconds
  local ok, problem = timer.after(0, load, self)
  if ok then return end
  self.loading_until = 0
  failed(self, problem)
end

-- Waits until a load that is under way has ended.
function Set:wait()
  while os.time() < self.loading_until do timer.sleep(LOOK_S) end
end

-- Looking up ------------------------------------------------------------------------------------------

-- A key goes with each of its algorithms as a verifier of its own.
local function verifier_of(key, algorithm)
  local verifier = key.verifiers[algorithm]
  if verifier == nil then
    verifier = key.key:is_for(algorithm) and { algorithm = algorithm, key = key.key }
    key.verifiers[algorithm] = verifier
  end
  return verifier
end

local function select_keys(set, header)
  local list = {}
  for i = 1, #set.keys do
    local key = set.keys[i]
    local verifier = (header.kid == nil or key.kid == header.kid) and verifier_of(key, header.alg)
    if verifier and #list < MAX_TRIES then list[#list + 1] = verifier end
  end
  return list
end

--- Returns the keys that a token may be signed with: those that its kid names, or all that go with its algorithm.
---@param header table of the token
---@param now number seconds since the epoch
---@return table[]|nil verifiers nil: no keys have been loaded
function Set:find(header, now)
  if now >= self.expires then self:start() end
  if not self.keys then self:wait() end
  if not self.keys then return nil end
  local list = select_keys(self, header)
  if #list == 0 and header.kid ~= nil then
    self:start()
    self:wait()
    list = select_keys(self, header)
  end
  return list
end

--- Returns the set of a configuration; equal ones share it.
---@param conf table
---@return table set
function M.open(conf)
  local key = table.concat({ conf.jwks_uri, conf.jwks_ttl, conf.jwks_min_interval, conf.jwks_timeout }, " ")
  local set = sets[key]
  if not set then
    set = setmetatable({ uri = conf.jwks_uri, ttl_s = conf.jwks_ttl / 1000, timeout_s = conf.jwks_timeout / 1000,
      interval_s = conf.jwks_min_interval / 1000, by_text = {}, expires = 0, next_load = 0, loading_until = 0 }, Set)
    sets[key] = set
  end
  return set
end

return M
