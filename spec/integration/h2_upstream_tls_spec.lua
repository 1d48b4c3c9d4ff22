--- HTTP/2 to backends by TLS: what ALPN comes to, with Node's servers.
local cjson = require "cjson"
local clients = require "support.client"
local loop = require "support.loop"
local node = require "support.node"
local pki = require "support.pki"
local rig = require "support.rig"
local servers = require "support.server"
local tempdir = require "support.tempdir"

local SERVER = [[
const [cert, key, protocol] = process.argv.slice(1);
const fs = require("fs");
const options = { cert: fs.readFileSync(cert), key: fs.readFileSync(key), allowHTTP1: protocol === "both" };
let connections = 0;
const answer = (request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ version: request.httpVersion, scheme: request.headers[":scheme"] || "", connections,
      body: Buffer.concat(parts).toString(), upgrade: request.headers.upgrade || "" }));
  });
};
const server = protocol === "h1" ? require("https").createServer(options, answer)
  : require("http2").createSecureServer(options, answer);
server.on("secureConnection", () => connections++);
server.listen(0, "127.0.0.1", () => console.log("ready " + server.address().port));
]]

local say = node.is_there and describe or pending

say("a pool with TLS whose backends", function()
  local shared, front = loop.scope()

  setup(shared:spec(function()
    local dir = tempdir.new()
    local authority = pki.authority(dir, "authority")
    local site = pki.issue(dir, "site", authority, { names = { "127.0.0.1" } })
    local pools, routes = {}, {}
    local function pool(name, protocol, spoken)
      local _, port = node.start(SERVER, { site.cert, site.key, spoken })
      pools[#pools + 1] = { name = name, protocol = protocol, tls = { ca = authority.cert },
        backends = { { address = "127.0.0.1:" .. port } } }
      routes[#routes + 1] = { name = name, path_prefix = "/" .. name, pool = name }
    end
    pool("both", "auto", "both")
    pool("h1", "auto", "h1")
    pool("h2", "h2", "h2")
    pool("never", "h2", "h1")
    pool("plain", "h1", "both")
    front = servers.start { conf = { pools = pools, routes = routes } }
  end))
  teardown(rig.closer(shared, function() return front end))

  local function ask(path, fields)
    local response = clients.request(front.ports.http, "POST", path, fields, "body")
    assert.equal(200, response.status)
    return cjson.decode(response.body)
  end

  it("speak HTTP/2 are asked by HTTP/2", loop.spec(function()
    for _, path in ipairs { "/both", "/h2" } do
      for _ = 1, 3 do
        local seen = ask(path)
        assert.same({ "2.0", "https", "body", 1 }, { seen.version, seen.scheme, seen.body, seen.connections })
      end
    end
  end))

  it("do not are asked by HTTP/1.1, requests at the same time too", loop.spec(function()
    local asks = {}
    for i = 1, 8 do
      asks[i] = function()
        local seen = ask "/h1"
        assert.same({ "1.1", "body" }, { seen.version, seen.body })
      end
    end
    clients.together(unpack(asks))
    local before = ask("/h1").connections
    assert.equal(before, ask("/h1").connections)
  end))

  it("may but shall not are asked by HTTP/1.1", loop.spec(function()
    assert.equal("1.1", ask("/plain").version)
  end))

  it("are to upgrade are asked by HTTP/1.1, as that cannot be asked of HTTP/2", loop.spec(function()
    local response = clients.request(front.ports.http, "GET", "/both", { Upgrade = "other", Connection = "upgrade" })
    local seen = cjson.decode(response.body)
    assert.same({ "1.1", "other" }, { seen.version, seen.upgrade })
  end))

  it("must but do not are unreachable", loop.spec(function()
    local response = clients.get(front.ports.http, "/never")
    assert.same({ 502, "backend_unreachable" }, { response.status, rig.code(response) })
  end))
end)
