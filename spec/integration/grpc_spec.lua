--- gRPC: what its clients are told by the proxy itself.
local clients = require "support.client"
local h2 = require "support.h2_origin"
local loop = require "support.loop"
local rig = require "support.rig"

describe("an error of our own to a gRPC request", function()
  it("is 200 with status and message of gRPC, whoever speaks", loop.spec(function()
    local origin = h2.start(function(call) call:reset(7) end)
    local server = rig.start({ origin }, { pool = { protocol = "h2" }, conf = { routes = {
      { name = "shut", path_prefix = "/shut", respond = { status = 403, body = "no" } },
      { name = "site", path_prefix = "/api", pool = "web" } } } })
    local function ask(path)
      local fields = { ["Content-Type"] = "application/grpc+proto" }
      return clients.request(server.ports.http, "POST", path, fields, "\0\0\0\0\0")
    end
    for path, expected in pairs { ["/none"] = "12", ["/api"] = "14", ["/shut"] = "7" } do
      local response = ask(path)
      assert.same({ 200, expected, "application/grpc", "" }, { response.status, response:get "grpc-status",
        response:get "content-type", response.body })
      assert.is_truthy(response:get "grpc-message")
    end
    assert.equal("No route matches this host and path.", ask("/none"):get "grpc-message")
    local web = { ["Content-Type"] = "application/grpc-web" }
    local plain = clients.request(server.ports.http, "POST", "/none", web, "x")
    assert.same({ 404, "no_route" }, { plain.status, rig.code(plain) })
    server:stop()
  end))
end)
