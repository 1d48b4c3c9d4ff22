--- The admin API of a server that a spec has started.
--
--     local api = apis.of(server)
--     local pool = api.is(api.post("/api/pools", { name = "web" }), 201)
--     api.problem(api.get "/api/pools/none", 404, "not_found")
local cjson = require "cjson"
local assert = require "luassert"
local clients = require "support.client"

local M = {}

local JSON, MERGE = "application/json", "application/merge-patch+json"

--- Returns request(method, path, body, fields) for a server that is started later: bodies are JSON, a table or text as
-- it is; of `fields` a value that is false takes a usual one away.
-- @param port_of function: the admin port at that time
-- @param usual fields of every request, or nil: none
-- @param merges true: PATCH has merge patches
function M.requester(port_of, usual, merges)
  return function(method, path, body, fields)
    local all = {}
    if body then all["Content-Type"] = method == "PATCH" and merges and MERGE or JSON end
    for _, given in ipairs { usual or {}, fields or {} } do
      for name, value in pairs(given) do all[name] = value or nil end
    end
    if type(body) == "table" then body = next(body) == nil and "{}" or cjson.encode(body) end
    local response = clients.request(port_of(), method, path, all, body)
    if (response:get "content-type" or ""):find "json" and #response.body > 0 then
      response.json = cjson.decode(response.body)
    end
    return response
  end
end

--- Asserts the status of an answer. Returns its JSON.
function M.is(response, status)
  assert.equal(status, response.status, response.body:sub(1, 2000))
  return response.json
end

--- Asserts that an answer is a problem document. Returns it.
-- @param pointer of its first error, or nil: any
function M.problem(response, status, code, pointer)
  local found = M.is(response, status)
  assert.equal("application/problem+json", response:get "content-type")
  assert.equal(code, found.code, response.body:sub(1, 2000))
  if pointer then assert.equal(pointer, found.errors[1].pointer) end
  return found
end

--- Returns the functions for a server: request(method, path, body, fields), get(path, fields), post(path, body,
-- fields), put, patch, delete, and `is` and `problem`.
function M.of(server)
  local port = server.ports.admin
  local request = M.requester(function() return port end, { Accept = JSON }, true)
  local api = { request = request, is = M.is, problem = M.problem }
  function api.get(path, fields) return request("GET", path, nil, fields) end
  for _, method in ipairs { "POST", "PUT", "PATCH", "DELETE" } do
    api[method:lower()] = function(path, body, fields) return request(method, path, body, fields) end
  end
  return api
end

return M
