--- What compiler/tables.lua makes of consumers, and what runtime/consumers.lua finds of it.
local ffi = require "ffi"
local callbacks = require "support.callbacks"
local source = require "veloflux.compiler.table_source"
local tables = require "veloflux.compiler.tables"
local consumers = require "veloflux.runtime.consumers"
local tempdir = require "support.tempdir"
local loop = require "support.loop"

ffi.cdef [[
typedef void (*vf_table_offer)(uint32_t kind, uint64_t sequence, int generation_fd, int delta_fd);
int vf_stage_publish(struct vf_stage *stage, vf_table_offer offer);
int vf_table_change(uint32_t kind, struct vf_table_text key, const struct vf_table_text *value, vf_table_offer offer);
void vf_table_set_close(void);
]]
local C = callbacks.outside(ffi.C)

local NOTHING, DELTA, GENERATION = 0, 1, 2
local TYPES = {
  ["key-auth"] = { id = "key", hashed = true },
  ["basic-auth"] = { id = "username", hashed = false, password = "password" },
}

local function kind_of(credential) return TYPES[credential.type] end

local offered = {}
local offer = callbacks.new("vf_table_offer", function(kind, sequence)
  offered[#offered + 1] = { kind, tonumber(sequence) }
end)

local function model_of(list)
  return { consumers = list, node = { master_key = ("k"):rep(32) } }
end

local function stage(model)
  return assert(tables.stage(model, { kind_of = kind_of,
    chain_of = function(consumer) return consumer.chain end }))
end

-- Publishes a model. Returns how each table was changed.
local function publish(list)
  local staged = stage(model_of(list))
  local ways = {}
  for _, name in ipairs { "consumers", "credentials" } do
    ways[#ways + 1] = staged[name].stage.way
    assert(C.vf_stage_publish(staged[name].stage, offer) == 0)
  end
  return ways
end

local function change(kind, key, value)
  local text = value and ffi.new("struct vf_table_text", value, #value)
  return C.vf_table_change(kind, ffi.new("struct vf_table_text", key, #key), text, offer)
end

local function ana()
  return { name = "ana", tenant = "default", custom_id = "7", groups = { "gold" }, chain = "0f",
    credentials = { { type = "key-auth", key = "secret" },
      { type = "basic-auth", username = "ana", password = "pass", tags = { "a", "b" } } } }
end

describe("the tables of consumers", function()
  before_each(function()
    C.vf_table_set_close()
    offered = {}
  end)

  it("are not there without consumers", function()
    assert.same({ NOTHING, NOTHING }, publish(nil))
    assert.same({ NOTHING, NOTHING }, publish {})
    assert.is_nil(consumers.find_consumer("default", "ana"))
    assert.same({}, offered)
  end)

  it("answer who somebody is", function()
    assert.same({ GENERATION, GENERATION }, publish { ana(), { name = "ben", tenant = "acme" } })
    assert.same({ { 0, 1 }, { 1, 1 } }, offered)
    local consumer, credential = consumers.identify("key-auth", "default", "secret")
    assert.same({ id = "ana", username = "ana", name = "ana", tenant = "default", custom_id = "7",
      groups = { "gold" }, chain = "0f" }, consumer)
    assert.same({ consumer = "ana" }, credential)
    assert.same({ id = "ben", username = "ben", name = "ben", tenant = "acme", groups = {} },
      consumers.find_consumer("acme", "ben"))
    assert.is_nil(consumers.find_consumer("default", "ben"))
    assert.is_nil(consumers.identify("key-auth", "acme", "secret"))
    assert.is_nil(consumers.identify("jwt", "default", "secret")) -- a type without any
    local _, kind = consumers.find_credential("basic-auth", "default", "nobody")
    assert.same({ hashed = false, password = "password" }, kind)
    local basic = consumers.find_credential("basic-auth", "default", "ana")
    assert.same({ "a", "b" }, basic.tags)
    assert.matches("^%$hmac%-sha256%$%x+%$%x+$", basic.password)
  end)

  it("name a chain as the worker does", function()
    assert.equal("00000001fffffffe", tables.chain_key(0x1fffffffeULL))
  end)

  it("do not change when the consumers do not", function()
    publish { ana() }
    assert.same({ NOTHING, NOTHING }, publish { ana() })
    assert.equal(2, #offered)
  end)

  it("change by little when little changes, and what was kept is not believed any more", function()
    publish { ana() }
    assert.is_table(consumers.identify("key-auth", "default", "secret"))
    local changed = ana()
    changed.groups = { "silver" }
    table.remove(changed.credentials, 1)
    assert.same({ DELTA, DELTA }, publish { changed })
    assert.is_nil(consumers.identify("key-auth", "default", "secret"))
    assert.same({ "silver" }, consumers.find_consumer("default", "ana").groups)
    assert.equal(2, #offered)
    assert.same({ DELTA, DELTA }, publish {})
    assert.is_nil(consumers.find_consumer("default", "ana"))
  end)

  it("are not looked into again for who came just before, until they change", function()
    publish { ana() }
    local consumer, credential = consumers.identify("key-auth", "default", "secret")
    local again, same = consumers.identify("key-auth", "default", "secret")
    assert.is_true(rawequal(consumer, again) and rawequal(credential, same))
    assert.is_nil(consumers.identify("key-auth", "acme", "secret"))
    assert.is_nil(consumers.identify("basic-auth", "default", "secret"))
    local changed = ana()
    changed.groups = { "silver" }
    assert.same({ DELTA, NOTHING }, publish { changed }) -- the credential stays
    assert.same({ "silver" }, consumers.identify("key-auth", "default", "secret").groups)
    assert.same({ DELTA, DELTA }, publish {})
    assert.is_nil(consumers.identify("key-auth", "default", "secret"))
  end)

  it("are remembered within bounds", function()
    local list, kept = {}, consumers.KEPT
    consumers.KEPT = 10
    for i = 1, 50 do
      list[i] = { name = "n" .. i, tenant = "default", credentials = { { type = "key-auth", key = "key" .. i } } }
    end
    publish(list)
    for _ = 1, 2 do
      for i = 1, 50 do assert.equal("n" .. i, consumers.identify("key-auth", "default", "key" .. i).name) end
    end
    consumers.KEPT = kept
  end)

  it("are compared again when something was changed meanwhile", function()
    publish { ana() }
    local staged = stage(model_of { ana() }).consumers.stage
    assert.equal(NOTHING, staged.way)
    assert.equal(0, change(0, tables.consumer_key("default", "zoe"), '{"name":"zoe"}'))
    assert.equal("zoe", consumers.find_consumer("default", "zoe").name)
    assert.equal(0, C.vf_stage_publish(staged, offer))
    assert.is_nil(consumers.find_consumer("default", "zoe"))
  end)

  it("get a new generation when the delta is half full, with nothing lost", function()
    assert.equal(0, change(1, "nobody", nil)) -- no table yet: nothing to delete
    assert.equal(0, change(1, "first", '"1"'))
    assert.same({ { 1, 1 } }, offered)
    local value = '"' .. ("v"):rep(100000) .. '"'
    for i = 1, 30 do assert.equal(0, change(1, "k\0t\0" .. i, value)) end
    assert.equal(0, change(1, "first", nil))
    assert.same({ { 1, 1 }, { 1, 22 } }, offered)
    assert.equal(0, change(1, tables.type_entry("k", {})))
    for i = 1, 30 do assert.equal(100000, #consumers.find_credential("k", "t", tostring(i))) end
    assert.equal(0, C.vf_table_find(1, "first", 5, ffi.new "struct vf_table_text"))
  end)

  -- What a list makes, for stages of what differs.
  local function source_of(list)
    return source.of(model_of(list), { kind_of = kind_of, chain_of = function(consumer) return consumer.chain end,
      salt_key = assert(tables.salt_key(model_of(list).node)) })
  end

  -- Changes the tables from one list to another by what differs. Returns the stages.
  local function stage_some(before, after, types)
    local differences = assert(source.differences(before, after))
    return tables.stage_some(differences, before.options, after.options, types)
  end

  local function publish_stages(staged)
    for _, name in ipairs { "consumers", "credentials" } do
      assert.equal(0, C.vf_stage_publish(staged[name].stage, offer), name)
    end
  end

  -- A random list of consumers like `list` but in some places; keys go from one to another, too.
  local function altered(list)
    local random, result, keys = math.random, {}, {}
    for i = 1, 40 do keys[i] = ("k"):rep(i * 9) end
    for i = #keys, 2, -1 do
      local other = random(i)
      keys[i], keys[other] = keys[other], keys[i]
    end
    local is_taken = {}
    for _, one in ipairs(list) do
      for _, credential in ipairs(one.credentials) do is_taken[credential.key or credential.username] = true end
    end
    local function lead()
      for i = #keys, 1, -1 do
        local key = table.remove(keys, i)
        if not is_taken[key] then return key end
      end
    end
    local function make(name)
      local key = lead()
      return { name = name, tenant = random(2) == 1 and "default" or "acme", groups = { "g" .. random(3) },
        chain = random(3) == 1 and "0" .. random(9) or nil,
        credentials = { key and random(4) > 1 and { type = "key-auth", key = key, note = random(3) }
          or key and { type = "basic-auth", username = key, password = "p" .. random(9) } or nil } }
    end
    for i = 1, 12 do
      local old
      for _, one in ipairs(list) do old = one.name == "n" .. i and one or old end
      if random(4) == 1 then old = random(2) == 1 and make("n" .. i) or nil end
      result[#result + 1] = old
    end
    if #result > 2 and random(3) == 1 then -- what one had another gets
      local from, to = table.remove(result, 1), table.remove(result)
      result[#result + 1] = { name = from.name, tenant = to.tenant, groups = {}, credentials = to.credentials }
      result[#result + 1] = { name = to.name, tenant = from.tenant, groups = {}, credentials = from.credentials }
    end
    return result
  end

  it("come by what differs to say just what all of it anew would make them say", function()
    math.randomseed(20261127)
    local before, list, n_some = nil, {}, 0
    for round = 1, 300 do
      list = altered(list)
      local after = source_of(list)
      local staged = before and stage_some(before, after, before.types)
      if staged then n_some = n_some + 1 else staged = stage(model_of(list)) end
      after.types = staged.types
      publish_stages(staged)
      local whole = stage(model_of(list))
      assert.equal(NOTHING, whole.consumers.stage.way, "round " .. round)
      assert.equal(0, tonumber(whole.credentials.stage.puts), "round " .. round)
      local is_used = {}
      for _, one in ipairs(list) do
        for _, credential in ipairs(one.credentials) do is_used[credential.type] = true end
      end
      local n_stale = 0 -- types without a credential are the one thing that may stay behind
      for kind in pairs(after.types) do n_stale = n_stale + (is_used[kind] and 0 or 1) end
      assert.equal(n_stale, tonumber(whole.credentials.stage.deletes), "round " .. round)
      before = after
    end
    assert.is_true(n_some > 250, n_some)
  end)

  it("come by what differs to a new generation when the delta is half full", function()
    local list = { ana() }
    local before = source_of(list)
    local staged = stage(model_of(list))
    publish_stages(staged)
    local types, generations = staged.types, #offered
    for round = 1, 50 do
      local changed = { ana(), { name = "round" .. round, tenant = "default", credentials = {
        { type = "key-auth", key = "key" .. round, note = ("v"):rep(60000) .. round } } } }
      local after = source_of(changed)
      publish_stages(assert(stage_some(before, after, types)))
      assert.equal("round" .. round, consumers.identify("key-auth", "default", "key" .. round).name)
      assert.is_nil(consumers.identify("key-auth", "default", "key" .. round - 1))
      assert.equal("ana", consumers.identify("key-auth", "default", "secret").name)
      before = after
    end
    publish_stages(assert(stage_some(before, source_of { ana() }, types)))
    assert.same({ NOTHING, NOTHING }, publish { ana() })
    assert.is_true(#offered > generations)
  end)

  it("are not changed by what differs when somebody else has changed them meanwhile", function()
    local before, staged = source_of { ana() }, stage(model_of { ana() })
    publish_stages(staged)
    local some = assert(stage_some(before, source_of {}, staged.types))
    assert.equal(DELTA, some.credentials.stage.way)
    assert.equal(0, change(1, "k\0t\0else", '"1"'))
    assert.equal(-11, C.vf_stage_publish(some.credentials.stage, offer)) -- EAGAIN
    assert.is_table(consumers.identify("key-auth", "default", "secret"))
  end)

  it("are staged whole where what differs does not tell what types say", function()
    local function of(credentials)
      return source_of { { name = "ana", tenant = "default", credentials = credentials } }
    end
    local argon = "$argon2id$v=19$m=64,t=1,p=1$" .. ("A"):rep(22) .. "$" .. ("A"):rep(43)
    local key, login = { type = "key-auth", key = "k" }, { type = "basic-auth", username = "u", password = "p" }
    local hashed = { type = "basic-auth", username = "u", password = argon }
    local both = stage(model_of { { name = "ana", tenant = "default", credentials = { key, login } } }).types
    assert.is_table(stage_some(of { key }, of { key, login }, both))
    assert.is_nil(stage_some(of { key }, of { key, login }, stage(model_of { { name = "ana", tenant = "default",
      credentials = { key } } }).types)) -- the first of its type
    assert.is_nil(stage_some(of { key, login }, of { key, hashed }, both))
    assert.is_nil(stage_some(of { key, hashed }, of { key, login }, both))
  end)

  it("keep no more decoded entries than they may", function()
    local kept, list = consumers.KEPT, {}
    consumers.KEPT = 8
    for i = 1, 50 do list[i] = { name = "c" .. i, tenant = "default" } end
    publish(list)
    for _ = 1, 2 do
      for i = 1, 50 do assert.equal("c" .. i, consumers.find_consumer("default", "c" .. i).name) end
    end
    local same = consumers.find_consumer("default", "c50")
    assert.equal(same, consumers.find_consumer("default", "c50"))
    consumers.KEPT = kept
  end)

  it("know a hash that costs as much as the dearest one and that nobody has", function()
    local function user(name, password)
      return { name = name, tenant = "default", credentials = { { type = "basic-auth", username = name,
        password = password } } }
    end
    local function decoy_of(list)
      C.vf_table_set_close()
      publish(list)
      local _, kind = consumers.find_credential("basic-auth", "default", "nobody")
      return kind.decoy
    end
    local nothing = ("A"):rep(22) .. "$" .. ("A"):rep(43)
    assert.is_nil(decoy_of { user("a", "plain"), user("b", "$argon2id$broken") })
    assert.equal("$argon2id$v=19$m=64,t=3,p=1$" .. nothing, decoy_of { user("a", "plain"),
      user("b", "$argon2id$v=19$m=32,t=2,p=1$c2FsdHNhbHQ$aGFzaA"),
      user("c", "$argon2id$v=19$m=64,t=3,p=1$c2FsdHNhbHQ$aGFzaA"),
      user("d", "$argon2id$v=19$m=96,t=1,p=1$c2FsdHNhbHQ$aGFzaA") })
    local crypto = require "veloflux.pdk.crypto"
    local decoy = decoy_of { user("a", assert(crypto.password_hash "right")) }
    for _, password in ipairs { "right", "", "A" } do assert.is_false(crypto.password_verify(decoy, password)) end
  end)

  it("name what is too large", function()
    local big = ana()
    big.credentials[2].tags = { ("x"):rep(1024 * 1024) }
    local staged, message = tables.stage(model_of { big }, { kind_of = kind_of })
    assert.is_nil(staged)
    assert.equal("the entry of basic-auth/default/ana is too large", message)
  end)

  it("salt passwords with the master key, each of its own", loop.spec(function()
    local function password_of(node, username, password)
      local key = tables.salt_key(node)
      local consumer = { name = "ana", tenant = "default" }
      local _, value = tables.credential_entry(consumer,
        { type = "basic-auth", username = username, password = password }, TYPES["basic-auth"], key)
      return value:match '"password":"([^"]+)"'
    end
    local node = { data_dir = tempdir.new() }
    local hash = password_of(node, "ana", "same")
    assert.equal(hash, password_of(node, "ana", "same"))
    assert.not_equal(hash, password_of(node, "ben", "same"))
    assert.not_equal(hash, password_of({ data_dir = tempdir.new() }, "ana", "same"))
    assert.equal("$argon2id$v=19$x", password_of(node, "ana", "$argon2id$v=19$x"))
    assert.matches("^%$hmac", password_of(node, "ana", "$a$b"))
    local ok, message = pcall(password_of, node, "ana", "$2y$10$abc")
    assert.is_false(ok)
    assert.equal("the password of basic-auth/default/ana is a hash of the kind 2y: only argon2id is known", message)
    assert.equal("$argon2id$v=19$m=262144,t=4,p=16$x", password_of(node, "ana", "$argon2id$v=19$m=262144,t=4,p=16$x"))
    for _, costs in ipairs { "m=262145,t=1,p=1", "m=8192,t=129,p=1", "m=256,t=1,p=17" } do
      ok, message = pcall(password_of, node, "ana", "$argon2id$" .. costs .. "$x")
      assert.is_false(ok)
      assert.matches("^the password of basic%-auth/default/ana is a hash that takes more than 256 MiB", message)
    end
  end))
end)

describe("the metrics of tables", function()
  it("say how large they are and how much has changed", function()
    local prometheus = require "veloflux.admin.prometheus"
    local parse = require "unit.admin.exposition"
    local function figures()
      local exposition = prometheus.new()
      require("veloflux.admin.metrics.tables").add(exposition)
      local written = exposition:text()
      local found = written ~= "" and parse.parse(written) or {}
      return function(name) return parse.value(found, "veloflux_table_" .. name, { table = "consumers" }) end
    end
    C.vf_table_set_close()
    assert.is_nil(figures() "entries")
    publish { ana(), { name = "ben", tenant = "default" } }
    local of = figures()
    assert.same({ 2, 1, 0 }, { of "entries", of "sequence", of "delta_bytes" })
    publish { ana() }
    of = figures()
    assert.same({ 1, 2, 24 }, { of "entries", of "sequence", of "delta_bytes" })
    assert.is_true(of "bytes" > 100 and of "delta_room_bytes" > 4000000)
  end)
end)

describe("passwords", function()
  local passwords = require "veloflux.runtime.passwords"

  it("are compared with what the table has of them", function()
    local _, value = tables.credential_entry({ name = "ana", tenant = "default" },
      { type = "basic-auth", username = "ana", password = "right" }, TYPES["basic-auth"], ("s"):rep(32))
    local stored = value:match '"password":"([^"]+)"'
    assert.is_true(passwords.verify(stored, "right"))
    for _, wrong in ipairs { "", "Right", "right ", stored } do assert.is_false(passwords.verify(stored, wrong)) end
    for _, password in ipairs { "", "right", ("\0"):rep(32) } do assert.is_false(passwords.verify(nil, password)) end
  end)

  it("of an unknown kind are never right", function()
    for _, stored in ipairs { "", "right", "$2y$10$x", "$hmac-sha256$zz$", "$hmac-sha256$" } do
      assert.same({ nil, "the hash is of an unknown kind" }, { passwords.verify(stored, stored) })
    end
  end)

  it("are compared in compiled code when they are held in the quick form", function()
    local stored = "$hmac-sha256$" .. ("0a"):rep(16) .. "$" .. ("0"):rep(64)
    require("support.traces").assert_compiles(function() passwords.verify(stored, "wrong") end)
  end)
end)
