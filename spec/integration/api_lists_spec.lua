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

--- Runs a check of the list `path` over its field `name`, again when the field's values have moved meanwhile by
--- themselves (as a backend's uptime does): what was seen across such a step says nothing.
-- @param check function(values of the items in their order) -> whether it holds
local function holds(path, name, check)
  local function values()
    local found = {}
    for i, item in ipairs(is(request("GET", path), 200)) do found[i] = item[name] == nil and "none" or item[name] end
    return found
  end
  local before = values()
  for _ = 1, 50 do
    local is_right = check(before)
    local after = values()
    if pcall(assert.same, before, after) then return assert.is_true(is_right, path .. " " .. name) end
    before = after
  end
  error(path .. " " .. name .. " never stood still")
end

--- Says whether a filter by the first item's value finds some, all with it.
local function is_filtered(path, name, values)
  local value = values[1]
  local is_integer = type(value) == "number" and value % 1 == 0
  local is_word = type(value) == "string" and value ~= "none" and value:find "^[%w_.-]+$"
  if not is_integer and not is_word then return true end
  local some = is(request("GET", ("%s?%s=%s"):format(path, name, is_integer and ("%d"):format(value) or value)), 200)
  for _, item in ipairs(some) do assert.equal(value, item[name], path) end
  return #some >= 1 and #some <= #values
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
          holds(path, name, function(values) return #values == pages_of(("%s?limit=2&sort=-%s"):format(path, name)) end)
          holds(path, name, function(values) return is_filtered(path, name, values) end)
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
