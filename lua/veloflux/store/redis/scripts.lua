--- What happens in the Redis server itself, each script whole or not at all. All keys have one hash tag, and so one
-- slot of a cluster. The first write of a script is one that a full server refuses, so that no half of it is done.
--
-- Keys, behind "{PREFIX}:":
--   meta      hash: version (the last), id (of its commit), first (the oldest that is kept), format
--   live      hash: field -> entity            versions, changes   hashes: number -> record, changes (format.lua)
--   lease:N   holder of the lease N, with a time to live                       tokens   hash: lease -> its token
--   node:N    "SEEN_MS\nJSON", lives a day longer than the node                nodes    set: their names
--   thing:BUCKET NUL KEY   a small thing       things   sorted set: BUCKET NUL KEY by the time when it is over
--   changed   the channel of new versions: "VERSION WRITER"
--   news      how many news there were, and their channel: "NUMBER WRITER TEXT"
local M = {}

local function script(text) return { text = text } end

--- KEYS meta live versions changes tokens turn; ARGV version, id, record, time_ms, channel, lease, token (or ""),
-- notice, the version that the writer knows and its id (or 0 and ""), who may hold the turn (or ""); then for each
-- entity: field, created_ms ("" keeps, "-" deletes), json. Returns "ok", "fenced" or "conflict": also when the store
-- has lost what the writer knows, and while another holds the turn.
M.commit = script [[
local version, id = ARGV[1], ARGV[2]
local stored = redis.call('HGET', KEYS[3], version)
if stored and string.sub(stored, 1, #id) == id then return 'ok' end
if ARGV[7] ~= '' and redis.call('HGET', KEYS[5], ARGV[6]) ~= ARGV[7] then return 'fenced' end
local last = redis.call('HGET', KEYS[1], 'version')
if last and tonumber(last) + 1 ~= tonumber(version) then return 'conflict' end
if ARGV[9] ~= '0' then
  local known = redis.call('HGET', KEYS[3], ARGV[9])
  if not last or known and string.sub(known, 1, #ARGV[10]) ~= ARGV[10] then return 'conflict' end
end
local turn = ARGV[11] ~= '' and redis.call('GET', KEYS[6])
if turn and turn ~= ARGV[11] then return 'conflict' end
redis.call('HSET', KEYS[3], version, ARGV[3])
local changes, n = {}, 0
local function add(text)
  changes[n + 1], changes[n + 2], changes[n + 3], changes[n + 4] = #text, ':', text, ','
  n = n + 4
end
local function change(field, created, json, before, puts, gone)
  local times, old = '', ''
  if before then
    local at = string.find(before, '\n', 1, true)
    times, old = string.sub(before, 1, at - 1), string.sub(before, at + 1)
  end
  if created ~= '-' then
    if created == '' then created = before and string.match(times, '^%d+ (%d+)') or ARGV[4] end
    local now = version .. ' ' .. created .. ' ' .. ARGV[4]
    puts[#puts + 1], puts[#puts + 2] = field, now .. '\n' .. json
    add(field) add(times) add(old) add(now) add(json)
  elseif before then
    gone[#gone + 1] = field
    add(field) add(times) add(old) add('') add('')
  end
end
for from = 12, #ARGV, 3000 do
  local stop, fields, puts, gone = math.min(from + 2999, #ARGV), {}, {}, {}
  for i = from, stop, 3 do fields[#fields + 1] = ARGV[i] end
  local before = redis.call('HMGET', KEYS[2], unpack(fields))
  for k = 1, #fields do
    local i = from + 3 * (k - 1)
    change(fields[k], ARGV[i + 1], ARGV[i + 2], before[k], puts, gone)
  end
  if #puts > 0 then redis.call('HSET', KEYS[2], unpack(puts)) end
  if #gone > 0 then redis.call('HDEL', KEYS[2], unpack(gone)) end
end
redis.call('HSET', KEYS[4], version, table.concat(changes))
redis.call('HSET', KEYS[1], 'version', version, 'id', id, 'format', '1')
redis.call('HSETNX', KEYS[1], 'first', version)
redis.call('PUBLISH', ARGV[5], ARGV[8])
return 'ok']]

--- KEYS meta versions changes; ARGV first, how many at most. Returns how many it has forgotten.
M.prune = script [[
local first = tonumber(redis.call('HGET', KEYS[1], 'first') or '0')
local stop = math.min(tonumber(ARGV[1]), tonumber(redis.call('HGET', KEYS[1], 'version') or '0'))
local n = math.min(stop - first, tonumber(ARGV[2]))
if n <= 0 then return 0 end
for version = first, first + n - 1 do
  local name = string.format('%.0f', version)
  redis.call('HDEL', KEYS[2], name)
  redis.call('HDEL', KEYS[3], name)
end
redis.call('HSET', KEYS[1], 'first', string.format('%.0f', first + n))
return n]]

--- KEYS news; ARGV channel, "WRITER TEXT". Returns its number.
M.tell = script [[
local n = redis.call('INCR', KEYS[1])
redis.call('PUBLISH', ARGV[1], string.format('%.0f', n) .. ' ' .. ARGV[2])
return n]]

--- KEYS lease tokens; ARGV name, holder, ttl_ms. Returns holder and token.
M.lease = script [[
local holder = redis.call('GET', KEYS[1])
if holder == ARGV[2] then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
elseif not holder then
  holder = ARGV[2]
  redis.call('HINCRBY', KEYS[2], ARGV[1], 1)
  redis.call('SET', KEYS[1], holder, 'PX', ARGV[3])
end
return { holder, tonumber(redis.call('HGET', KEYS[2], ARGV[1])) }]]

--- KEYS lease tokens; ARGV name, holder, token.
M.release = script [[
if redis.call('GET', KEYS[1]) ~= ARGV[2] or redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[3] then return 0 end
return redis.call('DEL', KEYS[1])]]

--- KEYS node nodes; ARGV name, json, ttl_ms and a day.
M.announce = script [[
local now = redis.call('TIME')
local seen = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000))
redis.call('SET', KEYS[1], seen .. '\n' .. ARGV[2], 'PX', ARGV[3])
return redis.call('SADD', KEYS[2], ARGV[1])]]

--- KEYS nodes; ARGV what the keys of nodes begin with. Returns name, value and what is left of its time, of each.
M.nodes = script [[
local list = {}
for _, name in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local value = redis.call('GET', ARGV[1] .. name)
  if value then
    list[#list + 1] = name
    list[#list + 1] = value
    list[#list + 1] = redis.call('PTTL', ARGV[1] .. name)
  else
    redis.call('SREM', KEYS[1], name)
  end
end
return list]]

--- KEYS thing things tokens; ARGV member, text, ttl_ms (or ""), how many to sweep, lease, token (or ""). Returns 1, or
-- 0: it is fenced.
M.put = script [[
if ARGV[6] ~= '' and redis.call('HGET', KEYS[3], ARGV[5]) ~= ARGV[6] then return 0 end
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
if ARGV[3] == '' then
  redis.call('SET', KEYS[1], ARGV[2])
  redis.call('ZADD', KEYS[2], '+inf', ARGV[1])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  redis.call('ZADD', KEYS[2], string.format('%.0f', now_ms + ARGV[3]), ARGV[1])
end
local over = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now_ms), 'LIMIT', 0, ARGV[4])
if #over > 0 then redis.call('ZREM', KEYS[2], unpack(over)) end
return 1]]

--- KEYS thing things; ARGV member, text, ttl_ms. Returns 1, or 0: there is one.
M.claim = script [[
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
if not redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3], 'NX') then return 0 end
redis.call('ZADD', KEYS[2], string.format('%.0f', now_ms + ARGV[3]), ARGV[1])
return 1]]

--- KEYS thing things; ARGV member.
M.delete = script [[
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('DEL', KEYS[1])]]

--- KEYS things; ARGV what the keys of things begin with, from and to (ranks). Returns member, text and what is left of
-- its time (-1: all), of each that is not over; and how many ranks there were.
M.things = script [[
local members, list = redis.call('ZRANGE', KEYS[1], ARGV[2], ARGV[3]), {}
for _, member in ipairs(members) do
  local text = redis.call('GET', ARGV[1] .. member)
  if text then
    list[#list + 1] = member
    list[#list + 1] = text
    list[#list + 1] = redis.call('PTTL', ARGV[1] .. member)
  end
end
return { #members, list }]]

--- KEYS meta live; ARGV field and entity of each. Fills a store without versions. Returns 1, or 0 when it has some.
M.fill = script [[
if redis.call('HEXISTS', KEYS[1], 'version') == 1 then return 0 end
for i = 1, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
return 1]]

--- KEYS meta live versions changes things; ARGV what the keys of things begin with, how many. Empties a store but for
-- leases and nodes, step by step. Returns 1 when there is more to do.
M.empty = script [[
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
local members = redis.call('ZRANGE', KEYS[5], 0, ARGV[2] - 1)
for _, member in ipairs(members) do
  redis.call('DEL', ARGV[1] .. member)
  redis.call('ZREM', KEYS[5], member)
end
return redis.call('EXISTS', KEYS[5])]]

return M
