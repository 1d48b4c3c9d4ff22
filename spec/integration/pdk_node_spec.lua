--- pdk.node in the real binary: the node's UUID.
local children = require "support.children"
local clients = require "support.client"
local cjson = require "cjson"
local loop = require "support.loop"
local scripted = require "support.scripted"
local tempdir = require "support.tempdir"
local uv = require "luv"

local GET = [[ return pdk.node.get_id() ]]

describe("pdk.node.get_id", function()
  it("is the UUID that the cluster shows, the same in all workers and after a restart, another in each instance",
    loop.spec(function()
      local folder, uuid = tempdir.new(), nil
      for _ = 1, 2 do
        local server = scripted.start { workers = 2, conf = { data_dir = folder } }
        local first, second = server:workers()
        local shown = cjson.decode(clients.get(server.ports.admin, "/api/cluster").body).nodes[1]
        assert.matches("^%x+%-%x%x%x%x%-4%x%x%x%-[89ab]%x%x%x%-%x+$", shown.uuid)
        assert.equal(shown.uuid:sub(1, 8), shown.id:sub(-8))
        assert.same({ { shown.uuid }, { shown.uuid } }, { first:run(GET), second:run(GET) })
        assert.equal(uuid or shown.uuid, shown.uuid)
        uuid = shown.uuid
        server:stop()
      end
      local other = scripted.start {}
      local connection = other:connect()
      assert.is_not.equal(uuid, connection:run(GET)[1])
      other:stop()
    end))

  it("outlives control", loop.spec(function()
    local server = scripted.start { workers = 1 }
    local before = server:connect()
    local uuid = before:run(GET)[1]
    uv.kill(children.of(server.pid).control[1], "sigkill")
    server:wait_log "control%.exited"
    uv.kill(before.pid, "sigkill")
    children.eventually("a new worker", function()
      local ok, connection = pcall(server.connect, server)
      return ok and connection:run(GET)[1] == uuid
    end)
    server:stop()
  end))
end)
