--- Credentials by the admin API: each change of one is what the traffic finds with the answer, whosever it was before.
local apis = require "support.api"
local clients = require "support.client"
local loop = require "support.loop"
local servers = require "support.server"

local server

local request = apis.requester(function() return server.ports.admin end)
local is, problem = apis.is, apis.problem

local function path_of(name) return "/api/consumers/" .. name .. "/credentials" end

local function give(name, key) return request("POST", path_of(name), { type = "key-auth", key = key }) end

local function status_with(key)
  return clients.get(server.ports.http, "/", { apikey = key }).status
end

describe("a credential", function()
  it("is its consumer's from the answer on, and nobody's when it is gone", loop.spec(function()
    server = servers.start { conf = { routes = { { name = "all", respond = { status = 204 }, plugins = {
      { name = "key-auth" }, { name = "acl", config = { allow = { "gold" } } } } } } } }
    for i = 1, 30 do
      is(request("POST", "/api/consumers", { name = "other" .. i }), 201)
      is(give("other" .. i, "key-of-" .. i), 201)
    end
    is(request("POST", "/api/consumers", { name = "ana", groups = { "gold" } }), 201)
    is(request("POST", "/api/consumers", { name = "bo" }), 201)
    local credential = is(give("ana", "first"), 201)
    assert.equal(204, status_with "first")
    problem(give("bo", "first"), 400, "invalid") -- it leads to ana
    assert.equal(204, status_with "first")
    is(request("DELETE", path_of "ana" .. "/" .. credential.id), 204)
    assert.equal(401, status_with "first")
    is(give("bo", "first"), 201)
    assert.equal(403, status_with "first") -- now it is bo's, who is in no group
    is(request("PATCH", "/api/consumers/bo", { groups = { "gold" } }), 200)
    assert.equal(204, status_with "first")
    is(request("DELETE", "/api/consumers/bo"), 204)
    assert.equal(401, status_with "first")
    for i = 1, 30 do assert.equal(403, status_with("key-of-" .. i)) end
    server:stop()
  end))

  it("goes from one consumer to another in one batch", loop.spec(function()
    server = servers.start { conf = { routes = { { name = "all", respond = { status = 204 }, plugins = {
      { name = "key-auth" }, { name = "acl", config = { allow = { "gold" } } } } } } } }
    is(request("POST", "/api/consumers", { name = "ana", groups = { "gold" } }), 201)
    is(request("POST", "/api/consumers", { name = "bo" }), 201)
    local mine, its = is(give("ana", "one"), 201), is(give("bo", "two"), 201)
    local function operation(action, name, data, id)
      return { action = action, kind = "credentials", consumer = name, id = id, data = data }
    end
    is(request("POST", "/api/bulk", { operations = { operation("delete", "ana", nil, mine.id),
      operation("delete", "bo", nil, its.id), operation("add", "ana", { type = "key-auth", key = "two" }),
      operation("add", "bo", { type = "key-auth", key = "one" }) } }), 200)
    assert.equal(403, status_with "one")
    assert.equal(204, status_with "two")
    problem(request("POST", "/api/bulk", { operations = {
      operation("add", "bo", { type = "key-auth", key = "three" }),
      operation("add", "ana", { type = "key-auth", key = "three" }) } }), 409, "rolled_back")
    assert.equal(401, status_with "three")
    server:stop()
  end))
end)
