--- The UUID of a node, and its name: made once, kept in the data directory, shared by the processes.
local fixture = require "unit.pdk.area_fixture"
local identity = require "veloflux.cluster.identity"
local tempdir = require "support.tempdir"
local loop = require "support.loop"
local uuids = require "veloflux.node_uuid"

local function node(folder, id) return { data_dir = folder, cluster = { node_id = id or "" } } end

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return text
end

describe("the UUID of a node", function()
  it("is of version 4", function()
    local seen = {}
    for _ = 1, 200 do
      local uuid = uuids.make()
      assert.is_true(uuids.is_valid(uuid), uuid)
      assert.is_nil(seen[uuid])
      seen[uuid] = true
    end
    for _, text in ipairs { "", "x", "12345678-1234-1234-8234-123456789abc", "12345678-1234-4234-c234-123456789abc",
      "12345678-1234-4234-8234-123456789ABC", "12345678-1234-4234-8234-123456789abc " } do
      assert.is_false(uuids.is_valid(text), text)
    end
    assert.is_false(uuids.is_valid(nil))
  end)

  it("is made once and kept; the name begins with the machine's and ends with its first digits", loop.spec(function()
    local folder = tempdir.new()
    local id = identity.of(node(folder))
    local uuid = identity.uuid(node(folder))
    assert.is_true(uuids.is_valid(uuid), uuid)
    assert.equal(uuid .. "\n", read(folder .. "/node-uuid"))
    assert.equal(uuid:sub(1, 8), id:sub(-8))
    assert.same({ uuid, id }, { identity.uuid(node(folder)), identity.of(node(folder)) })
    assert.equal("edge", identity.of(node(folder, "edge")))
    assert.is_not.equal(uuid, identity.uuid(node(tempdir.new())))
  end))

  it("is not replaced when the file has something else", loop.spec(function()
    local folder = tempdir.new()
    tempdir.write(folder .. "/node-uuid", "mine\n")
    assert.same({ nil, folder .. "/node-uuid: not the UUID of a node" }, { identity.uuid(node(folder)) })
    tempdir.write(folder .. "/node-id", "an old one, no name\n")
    assert.is_nil((identity.of(node(folder))))
    tempdir.write(folder .. "/node-id", "host-12345678\n")
    assert.equal("host-12345678", identity.of(node(folder)))
    assert.is_nil((identity.uuid(node(folder .. "/nowhere"))))
  end))

  it("is the same for all processes, before and after control has said it", function()
    local first = uuids.of(fixture.state)
    assert.is_true(uuids.is_valid(first))
    assert.equal(first, uuids.of(fixture.state))
    local kept = uuids.make()
    uuids.publish(fixture.state, kept)
    assert.equal(kept, uuids.of(fixture.state))
  end)
end)
