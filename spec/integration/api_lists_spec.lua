--- What all lists of the admin API have in common, one table over those of its own OpenAPI document: the whole without
-- `limit`, pages, sorting and filters by the fields that the document names, and what is refused.
local apis = require "support.api"
local loop = require "support.loop"
local servers = require "support.server"

local server

local request = apis.requester(function() return server.ports.admin end)
local is, problem = apis.is, apis.problem

local PATHS = { ["{pool_name}"] = "web", ["{consumer}"] = "ann" }

--- The lists of the document: path -> set of its parameters.
local function lists()
  local found = {}
  for path, operations in pairs(is(request("GET", "/api/openapi.json"), 200).paths) do
    local answer = operations.get and operations.get.responses["200"]
    local content = answer and answer.content and answer.content["application/json"]
    if content and content.schema.type == "array" then
      local names = {}
      for _, parameter in ipairs(operations.get.parameters or {}) do
        if parameter["in"] == "query" then names[parameter.name] = true end
      end
      found[path:gsub("{[%w_]+}", PATHS)] = names
    end
  end
  return found
end

local function fill()
  local backends = { { address = "127.0.0.1:1" }, { address = "127.0.0.1:2" } }
  for _, name in ipairs { "web", "more", "most" } do
    is(request("POST", "/api/pools", { name = name, backends = backends }), 201)
    is(request("POST", "/api/routes", { name = name, path = "/" .. name, pool = name }), 201)
    is(request("POST", "/api/consumers", { name = name }), 201)
    is(request("POST", "/api/plugins", { name = "cors", pool = name }), 201)
    is(request("POST", "/api/tenants", { name = name }), 201)
    is(request("POST", "/api/templates", { name = name, entities = { pools = { { name = "made" } } } }), 201)
    is(request("POST", "/api/apikeys", { name = name }), 201)
    is(request("POST", "/api/backups"), 201)
    is(request("POST", "/api/keys/rotate"), 200)
    local batch = { operations = { { action = "test", kind = "pools", data = { name = "x" } } } }
    is(request("POST", "/api/bulk", batch), 200)
  end
  is(request("POST", "/api/consumers", { name = "ann" }), 201)
  for i = 1, 3 do is(request("POST", "/api/consumers/ann/credentials", { type = "key-auth", key = "k" .. i }), 201) end
end

local function pages_of(path)
  local pages, seen = 0, 0
  local next_path = path
  while next_path do
    local page = request("GET", next_path)
    seen = seen + #is(page, 200)
    assert.is_true(#page.json <= 2, next_path)
    next_path, pages = (page:get "link" or ""):match '^<(.-)>; rel="next"$', pages + 1
    assert.is_true(pages < 100, path)
  end
  return seen
end

describe("every list", function()
  it("is whole, comes in pages, is sorted and filtered, and takes nothing else", loop.spec(function()
    server = servers.start { conf = {} }
    fill()
    local count = 0
    for path, names in pairs(lists()) do
      count = count + 1
      for _, name in ipairs { "limit", "cursor", "page", "sort" } do
        assert.is_true(names[name], path .. " " .. name)
      end
      local whole = request("GET", path)
      is(whole, 200)
      assert.equal(tostring(#whole.json), whole:get "x-total-count", path)
      assert.equal(#whole.json, pages_of(path .. "?limit=2"), path)
      for name in pairs(names) do
        if not ({ limit = 1, cursor = 1, page = 1, sort = 1, tenant_id = 1 })[name] then
          assert.equal(#whole.json, pages_of(("%s?limit=2&sort=-%s"):format(path, name)), path .. " by " .. name)
          local value = whole.json[1] and whole.json[1][name]
          if type(value) == "string" and value:find "^[%w_.-]+$" or type(value) == "number" and value % 1 == 0 then
            local text = type(value) == "number" and ("%d"):format(value) or value
            local some = is(request("GET", ("%s?%s=%s"):format(path, name, text)), 200)
            assert.is_true(#some >= 1 and #some <= #whole.json, path .. " " .. name)
            for _, item in ipairs(some) do assert.equal(value, item[name], path) end
          end
        end
      end
      for _, query in ipairs { "limit=0", "limit=501", "limit=x", "limit=1&limit=2", "cursor=x&limit=1", "sort=colour",
        "colour=red" } do
        problem(request("GET", path .. "?" .. query), 400, "invalid")
      end
    end
    assert.is_true(count >= 18, tostring(count))
    server:stop()
  end))
end)
