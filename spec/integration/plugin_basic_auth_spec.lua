--- basic-auth: names and passwords, and what it costs to guess them.
local library = require "support.library" -- luacheck: ignore 211
local crypto = require "veloflux.pdk.crypto"
local children = require "support.children"
local clients = require "support.client"
local loop = require "support.loop"
local plugins = require "support.plugins"
local tempdir = require "support.tempdir"

local function basic(name, password) return "Basic " .. crypto.base64_encode(name .. ":" .. password) end

local function user(name, password)
  return { name = "person-" .. name:gsub("[^%w]", "_"),
    credentials = { { type = "basic-auth", username = name, password = password } } }
end

local function spec_of(options, run)
  return loop.spec(function()
    local conf = { workers = 1, consumers = options.consumers or { user("ana", "open: sesame"), user("zoë", "ü") } }
    local rig = plugins.start({}, { plugins = { { name = "basic-auth", config = options.config } }, conf = conf })
    local function ask(authorization, more)
      local fields = more or {}
      fields.Authorization = authorization
      return clients.get(rig.port, "/", fields)
    end
    run(ask, rig)
    rig.server:stop()
  end)
end

describe("basic-auth", function()
  it("lets those pass who know the password", spec_of({}, function(ask)
    local answer = ask(basic("ana", "open: sesame"))
    assert.equal(200, answer.status)
    assert.equal("person-ana", plugins.field(answer, "X-Consumer-Username"))
    assert.equal("ana", plugins.field(answer, "X-Credential-Identifier"))
    assert.equal(basic("ana", "open: sesame"), plugins.field(answer, "Authorization"))
    assert.equal(200, ask(basic("zoë", "ü")).status)
    assert.equal(200, ask((basic("ana", "open: sesame"):gsub("^Basic ", "bAsIc   "):gsub("=+$", ""))).status)
  end))

  it("takes Proxy-Authorization first, and hides both", spec_of({ config = { hide_credentials = true } },
    function(ask)
      local good = basic("ana", "open: sesame")
      local answer = ask("Bearer x", { ["Proxy-Authorization"] = good })
      assert.equal(200, answer.status)
      assert.is_nil(plugins.field(answer, "Authorization"))
      assert.is_nil(plugins.field(answer, "Proxy-Authorization"))
      assert.equal(200, ask(good, { ["Proxy-Authorization"] = "Negotiate x" }).status)
      assert.equal(401, ask(good, { ["Proxy-Authorization"] = basic("ana", "wrong") }).status)
    end))

  it("refuses all others", spec_of({ config = { realm = "the lab" } }, function(ask, rig)
    local good = basic("ana", "open: sesame")
    for _, authorization in ipairs { "", "Basic", "Basic ", "Basic !", "Basic\t" .. good:sub(7), "Basic" .. good:sub(7),
      "Bearer " .. good:sub(7), good .. "=", good .. " x", "Basic " .. crypto.base64_encode "ana",
      basic("", "open: sesame"), basic("ana", ""), basic("ana", "Open: sesame"), basic("ana", "open: sesame\0"),
      basic("ana\0", "open: sesame"), basic("default\0ana", "x"), basic("eve", "open: sesame"),
      basic("ana", ("x"):rep(9000)), basic("\255", "\254"), basic("ana\r\nX-Consumer-ID", "a") } do
      local answer = ask(authorization)
      assert.equal(401, answer.status, authorization)
      assert.matches('"message":"Unauthorized"', answer.body, 1, true)
      assert.equal('Basic realm="the lab", charset="UTF-8"', answer:get "www-authenticate")
    end
    assert.equal(401, clients.get(rig.port, "/").status)
    assert.equal(401, clients.get(rig.port, "/", { { "Authorization", good }, { "Authorization", good } }).status)
    assert.equal(0, #rig.origin.requests)
  end))
end)

-- CPU time of a process in ticks, all its threads together.
local function ticks_of(pid)
  local fields = tempdir.read(("/proc/%d/stat"):format(pid)):match "%) (.*)$"
  local user_ticks, system_ticks = fields:match "^%S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ %S+ (%d+) (%d+)"
  return user_ticks + system_ticks
end

describe("passwords that are hashes", function()
  local hashed = assert(crypto.password_hash "right")
  local CONSUMERS = { user("ana", hashed), user("ben", "plain") }

  it("cost the same whether a name is known or not", spec_of({ consumers = CONSUMERS }, function(ask, rig)
    local worker = children.of(rig.server.pid).worker[1][1]
    assert.equal(200, ask(basic("ana", "right")).status)
    local cost = { ana = 0, ben = 0, eve = 0 }
    for i = 1, 10 do -- by turns: what slows the machine down meanwhile slows down all of them
      for _, name in ipairs { "ana", "ben", "eve" } do
        local before = ticks_of(worker)
        assert.equal(401, ask(basic(name, "wrong" .. i)).status)
        cost[name] = cost[name] + ticks_of(worker) - before
      end
    end
    local known, plain, unknown = cost.ana, cost.ben, cost.eve
    assert.is_true(plain * 2 >= known and known * 2 >= plain, ("%d, a quick one %d"):format(known, plain))
    assert.is_true(unknown * 2 >= known and known * 2 >= unknown, ("%d, unknown %d"):format(known, unknown))
    local before = ticks_of(worker)
    for _ = 1, 10 do
      assert.equal(200, ask(basic("ana", "right")).status)
      assert.equal(200, ask(basic("ben", "plain")).status)
    end
    assert.is_true((ticks_of(worker) - before) * 2 < known) -- what was right once is remembered
  end))

  it("are forgotten when they change", spec_of({ consumers = CONSUMERS }, function(ask, rig)
    assert.equal(200, ask(basic("ana", "right")).status)
    rig.conf.consumers = { user("ana", assert(crypto.password_hash "new")), user("ben", "plain") }
    rig.server:write_conf(rig.conf)
    assert.is_true((rig.server:reload()))
    assert.equal(401, ask(basic("ana", "right")).status)
    assert.equal(200, ask(basic("ana", "new")).status)
  end))

  it("are compared for so many at once, others are told to come again", spec_of({ consumers = CONSUMERS,
    config = { anonymous = "person-ben" } }, function(ask, rig)
    local list, statuses, retries = {}, {}, {}
    for i = 1, 200 do list[i] = clients.connect(rig.port) end
    for i, client in ipairs(list) do
      client:request("GET", "/", { Authorization = basic(i % 2 == 0 and "ana" or "eve", "wrong" .. i) })
    end
    for _, client in ipairs(list) do
      local answer = client:read_response()
      statuses[answer.status] = (statuses[answer.status] or 0) + 1
      retries[answer:get "retry-after" or "none"] = true
    end
    assert.is_true((statuses[200] or 0) >= 64) -- as the consumer for anonymous requests
    assert.is_true((statuses[503] or 0) > 0)
    assert.is_true(retries["1"])
    assert.equal(200, statuses[200] + statuses[503])
    assert.equal(200, ask(basic("ana", "right")).status)
  end))
end)
