--- Changes of the configuration on the real binary: what was acknowledged outlives every death of control, what the
-- file has and what the store has live side by side, and a seed is sown once.
local cjson = require "cjson"
local children = require "support.children"
local clients = require "support.client"
local loop = require "support.loop"
local servers = require "support.server"
local tempdir = require "support.tempdir"
local uv = require "luv"

local JSON = { ["Content-Type"] = "application/json" }

local function call(server, method, path, body, fields)
  local all = {}
  for _, map in ipairs { body and JSON or {}, fields or {} } do
    for name, value in pairs(map) do all[name] = value end
  end
  local response = clients.request(server.ports.admin, method, path, all, body and cjson.encode(body))
  if #response.body > 0 then response.json = cjson.decode(response.body) end
  return response
end

local function answer(name) return { name = name, path = "/" .. name, respond = { status = 200, body = name } } end

--- Asks until there is an answer: control may be dead for a moment.
local function persist(server, method, path, body)
  local response
  children.eventually("an answer to " .. path, function()
    local ok, result = pcall(call, server, method, path, body)
    response = ok and result.status ~= 503 and result or nil
    return response
  end)
  return response
end

--- Starts on a data directory of its own that outlives the server.
local function start(folder, conf)
  conf.data_dir = folder
  return servers.start { conf = conf }
end

local FILE = { routes = { { name = "site", respond = { status = 200, body = "site" } } } }

local function copy(conf)
  local result = {}
  for key, value in pairs(conf) do result[key] = value end
  return result
end

describe("changes", function()
  it("that were acknowledged outlive control, killed again and again", loop.spec(function()
    local folder = tempdir.new()
    local server = start(folder, copy(FILE))
    local n_acknowledged, is_done = 0, false
    local function writer(first, last)
      return function()
        for i = first, last do
          local response = persist(server, "POST", "/api/routes", answer("r" .. i))
          assert.is_true(response.status == 201 or response.status == 409, response.body)
          n_acknowledged = n_acknowledged + 1
        end
        is_done = n_acknowledged == 200
      end
    end
    local function killer()
      for round = 1, 5 do
        children.eventually("some changes", function() return is_done or n_acknowledged >= round * 30 end)
        if is_done then return end
        local from = #server:log_lines() + 1
        local victim = children.of(server.pid).control[1]
        assert(uv.kill(victim, "sigkill"))
        server:wait_log("control%.started", from)
      end
    end
    clients.together(writer(1, 50), writer(51, 100), writer(101, 150), writer(151, 200), killer)
    local function check()
      for i = 1, 200 do
        assert.equal("r" .. i, clients.get(server.ports.http, "/r" .. i).body)
      end
      local routes = persist(server, "GET", "/api/routes").json
      assert.equal(201, #routes)
    end
    check()
    server:stop()
    server = start(folder, copy(FILE))
    check()
    server:stop()
  end))

  it("live beside the file's entities through reloads", loop.spec(function()
    local server = servers.start { conf = copy(FILE) }
    assert.equal(201, call(server, "POST", "/api/routes", answer "api").status)
    local refused = call(server, "PUT", "/api/routes/site", { path = "/else" })
    assert.equal(409, refused.status)
    assert.equal("owned", refused.json.code)
    assert.matches("veloflux%.yaml:%d+", refused.body)
    server:write_conf { routes = { answer "file" } }
    assert.is_true(server:reload())
    assert.equal("api", clients.get(server.ports.http, "/api").body)
    assert.equal("file", clients.get(server.ports.http, "/file").body)
    assert.equal(404, clients.get(server.ports.http, "/").status)
    server:write_conf { routes = { answer "api" } }
    local ok, text = server:reload()
    assert.is_false(ok)
    assert.matches("already taken", text)
    assert.equal("api", clients.get(server.ports.http, "/api").body)
    server:stop()
  end))

  it("of what refers to the file's entities hold those", loop.spec(function()
    local server = servers.start { conf = { pools = { { name = "web" } } } }
    assert.equal(201, call(server, "POST", "/api/routes", { name = "r", pool = "web" }).status)
    server:write_conf {}
    local ok, text = server:reload()
    assert.is_false(ok)
    assert.matches('api:routes/default/r: pool: unknown pool "web"', text)
    server:stop()
  end))
end)

describe("a seed", function()
  it("is sown once, then the API owns its entities", loop.spec(function()
    local folder = tempdir.new()
    local conf = { entities = "seed", routes = { answer "one" } }
    local server = start(folder, copy(conf))
    assert.equal("one", clients.get(server.ports.http, "/one").body)
    assert.equal(200, call(server, "PUT", "/api/routes/one",
      { respond = { status = 200, body = "changed" } }).status)
    local other = copy(conf)
    other.data_dir, other.routes, other.limits = folder, { answer "two" }, { uri_bytes = "4k" }
    server:write_conf(other)
    assert.is_true(server:reload())
    assert.equal("changed", clients.get(server.ports.http, "/one").body)
    assert.equal(404, clients.get(server.ports.http, "/two").status)
    assert.equal(204, call(server, "DELETE", "/api/routes/one").status)
    server:stop()
    server = start(folder, copy(conf))
    assert.equal(404, clients.get(server.ports.http, "/one").status)
    local versions = call(server, "GET", "/api/config/versions").json
    assert.equal("seed", versions[#versions].source)
    server:stop()
  end))
end)

describe("a store that cannot be read", function()
  it("leaves what was served last; writes answer unavailable until it is back", loop.spec(function()
    local folder = tempdir.new()
    local server = start(folder, copy(FILE))
    assert.equal(201, call(server, "POST", "/api/routes", answer "api").status)
    server:stop()
    local path = folder .. "/veloflux.db"
    assert(uv.fs_rename(path, path .. ".away"))
    tempdir.write(path, ("not a database"):rep(1000))
    server = start(folder, copy(FILE))
    server:wait_log "store%.unavailable"
    assert.equal("api", clients.get(server.ports.http, "/api").body)
    assert.equal("site", clients.get(server.ports.http, "/").body)
    local refused = call(server, "POST", "/api/routes", answer "more")
    assert.equal(503, refused.status)
    assert.equal("unavailable", refused.json.code)
    assert.is_false((server:reload()))
    assert(uv.fs_rename(path .. ".away", path))
    assert.equal(201, call(server, "POST", "/api/routes", answer "more").status)
    assert.equal("more", clients.get(server.ports.http, "/more").body)
    assert.is_true((server:reload()))
    assert.equal("api", clients.get(server.ports.http, "/api").body)
    server:stop()
  end))
end)
