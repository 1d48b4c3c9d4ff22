local fixture = require "unit.conf.fixture"
local keys = require "veloflux.keys"
local last_model = require "veloflux.last_model"
local model = require "veloflux.model"
local uv = require "luv"

describe("the last model", function()
  local folder
  before_each(function() folder = fixture.folder {} end)
  after_each(function() fixture.remove(folder) end)

  local function write(text)
    local file = assert(io.open(last_model.path(folder), "wb"))
    file:write(text)
    file:close()
  end

  local function read()
    local file = assert(io.open(last_model.path(folder), "rb"))
    local text = file:read "*a"
    file:close()
    return text
  end

  local TEXT = [[
tenants: [ { name: acme, hosts: [ a.example.com ], active: false } ]
listeners: [ { name: http, address: "[::1]:8000", timeouts: { total: 90s } } ]
workers: 2
admin: { auth: { password: "${PW}" } }
trusted_proxies: [ 10.0.0.0/8 ]
log: { access: { path: logs/a.log } }
headers: { response: { set: { X-A: "${PW} $${PW}" }, add: { L: [ "1", "2" ] } } }
pools:
  - { name: p, shared: true, sticky_sessions: true, via: false, backends: [ { address: app.internal:1, weight: 3 } ],
      health_check: { expected_status: [ 200, "300-399" ] }, max_connections: 7, limits: { body_bytes: off } }
routes:
  - { name: a, tenant: acme, pool: p, match: { headers: { X: { present: false }, Y: "é \"q\" \\ \t" } } }
  - { name: b, path_regex: "^/v(\\d+)", rewrite: "/x/$1", pool: p, methods: [ GET ], priority: -2 }
  - { name: c, path: /c, redirect: { to: "https://x/$path", status: 308 } }
  - { name: d, path: /d, respond: { status: 200, body: "line\nline" } }
]]

  it("comes back as it was, secrets by reference", function()
    local saved = fixture.model("data_dir: " .. folder .. "\n" .. TEXT, { PW = "hunter2" })
    assert(last_model.save(saved, 41))
    local stat = uv.fs_stat(last_model.path(folder))
    assert.equal(tonumber("600", 8), stat.mode % 512)
    assert.truthy(read():find('"password":"${PW}"', 1, true))
    local loaded, version = last_model.load(folder, { PW = "hunter2" })
    assert.equal(41, version)
    assert.equal(41, last_model.version(folder))
    assert.equal("no changes", model.describe_diff(model.diff(saved, loaded)))
    assert.equal(last_model.encode(saved), last_model.encode(loaded))
    assert.equal("hunter2", loaded.node.admin.auth.password)
    assert.equal("hunter2 ${PW}", loaded.node.headers.response.set["X-A"])
    assert.equal("/etc/veloflux/logs/a.log", loaded.node.log.access.path)
  end)

  it("seals secrets that the conf has in plain text", function()
    local saved = fixture.model("data_dir: " .. folder
      .. "\nmaster_key: sixteen bytes ok\nadmin: { auth: { password: 'hunter2 \"${X:-}$${' } }\n")
    assert(last_model.save(saved, 1))
    assert.is_nil(read():find("hunter2", 1, true))
    assert.is_nil(read():find("sixteen", 1, true))
    local loaded = assert(last_model.load(folder, {}))
    assert.equal("sixteen bytes ok", loaded.node.master_key)
    assert(last_model.save(loaded, 2))
    assert.equal("sixteen bytes ok", last_model.load(folder, {}).node.master_key)
    os.remove(folder .. "/master.key")
    keys.reset()
    local _, problems = last_model.load(folder, {})
    assert.equal("is sealed with another key", problems[1].message)
  end)

  it("says whose its entities are, whatever the store is", function()
    local text = "data_dir: " .. folder .. "\nstore: { driver: redis, url: 'redis://localhost' }\n"
    for version, entities in ipairs { "owned", "seed" } do
      assert(last_model.save(fixture.model(text .. "entities: " .. entities .. "\n"), version))
      assert.equal(entities, last_model.load(folder, {}).node.entities)
    end
  end)

  it("replaces the one before, and leaves nothing else in the folder", function()
    for version = 1, 3 do
      assert(last_model.save(fixture.model("data_dir: " .. folder), version))
    end
    assert.equal(3, (select(2, last_model.load(folder, {}))))
    local entries, count = uv.fs_scandir(folder), 0
    while uv.fs_scandir_next(entries) do count = count + 1 end
    assert.equal(2, count) -- and master.key
  end)

  it("is refused when it is absent, damaged or cut", function()
    local function message()
      local loaded, problems = last_model.load(folder, {})
      assert.is_nil(loaded)
      return problems[1].message
    end
    assert.equal("No such file or directory", message())
    assert.is_nil(last_model.version(folder))
    assert(last_model.save(fixture.model("data_dir: " .. folder .. "\nworkers: 3\n"), 5))
    local good = read()
    write((good:gsub('"workers":"?3"?', '"workers":4')))
    assert.equal("is damaged: its checksum is wrong", message())
    write(good:sub(1, -10))
    assert.equal("is damaged: its checksum is wrong", message())
    write(good)
    assert.equal(3, last_model.load(folder, {}).node.workers)
  end)

  describe("with entities of the store", function()
    local saved
    before_each(function() saved = fixture.model("data_dir: " .. folder .. "\nworkers: 3\n") end)

    local function entity(name, text)
      return { kind = "routes", key = "default/" .. name, json = text, version = 1, created_ms = 10, updated_ms = 20 }
    end

    local function set(...)
      local routes = {}
      for _, one in ipairs { ... } do routes[one.key] = one end
      return { routes = routes }
    end

    local function stored()
      local _, version, kinds = assert(last_model.read(folder, {}))
      local texts = {}
      for key, row in pairs(kinds.routes or {}) do texts[key] = row.json end
      return version, texts
    end

    local function read_changes()
      local file = io.open(folder .. "/last-model.changes", "rb")
      local text = file and file:read "*a"
      if file then file:close() end
      return text
    end

    it("appends what a version changes and comes back with it", function()
      local a, b = entity("a", '{"x":1}'), entity("b", "{}")
      assert(last_model.save(saved, 1, set(a, b)))
      local whole = read()
      assert.is_nil(read_changes())
      assert(last_model.save(saved, 2, set(entity("a", '{"x":2}'), b)))
      assert(last_model.save(saved, 3, set(entity("c", "{}"), b)))
      assert.equal(whole, read())
      assert.equal(tonumber("600", 8), uv.fs_stat(folder .. "/last-model.changes").mode % 512)
      assert.equal(3, last_model.version(folder))
      local version, texts = stored()
      assert.equal(3, version)
      assert.same({ ["default/b"] = "{}", ["default/c"] = "{}" }, texts)
    end)

    it("takes what is whole of a file that was cut off, and nothing that continues another", function()
      local a = entity("a", "1")
      assert(last_model.save(saved, 1, set(a)))
      assert(last_model.save(saved, 2, set(entity("a", "2"))))
      assert(last_model.save(saved, 3, set(entity("a", "3"))))
      local text = read_changes()
      local function with(changed)
        local file = assert(io.open(folder .. "/last-model.changes", "wb"))
        file:write(changed)
        file:close()
        local version, texts = stored()
        assert.equal(version, last_model.version(folder))
        return version, texts["default/a"]
      end
      assert.same({ 2, "2" }, { with(text:sub(1, -5)) })
      assert.same({ 1, "1" }, { with((text:gsub('"version":1}', '"version":9}', 1))) })
      assert.same({ 1, "1" }, { with "" })
      local broken = text:gsub('"json":"2"', '"json":"7"')
      assert.same({ 1, "1" }, { with(broken) })
      assert.same({ 3, "3" }, { with(text) })
    end)

    it("is written as a whole when the conf says something else, or the file is gone", function()
      assert(last_model.save(saved, 1, set(entity("a", "1"))))
      assert(last_model.save(saved, 2, set(entity("a", "2"))))
      local other = fixture.model("data_dir: " .. folder .. "\nworkers: 4\n")
      assert(last_model.save(other, 3, set(entity("a", "3"))))
      assert.is_nil(read_changes())
      assert.same({ 3, { ["default/a"] = "3" } }, { stored() })
      os.remove(last_model.path(folder))
      assert(last_model.save(other, 4, set(entity("a", "4"))))
      assert.same({ 4, { ["default/a"] = "4" } }, { stored() })
    end)

    it("is written as a whole again once the changes are many", function()
      assert(last_model.save(saved, 1, set(entity("a", "1"))))
      local big = ("x"):rep(100 * 1024)
      for version = 2, 3 do assert(last_model.save(saved, version, set(entity("a", big .. version)))) end
      assert.truthy(read_changes())
      assert(last_model.save(saved, 4, set(entity("a", big .. 4))))
      assert.is_nil(read_changes())
      assert.same({ 4, { ["default/a"] = big .. 4 } }, { stored() })
    end)
  end)

  it("says when it cannot be written", function()
    local ok, problem = last_model.save(fixture.model "data_dir: /proc/nope", 1)
    assert.is_nil(ok)
    assert.is_truthy(problem:find("^/proc/nope: cannot be created"))
    assert(os.remove(folder .. "/last-model.json") or true)
    uv.fs_mkdir(folder .. "/last-model.json", tonumber("700", 8))
    ok, problem = last_model.save(fixture.model("data_dir: " .. folder), 1)
    assert.is_nil(ok)
    assert.equal(folder .. "/last-model.json: cannot be written (error 21)", problem)
  end)
end)
