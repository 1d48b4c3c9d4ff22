--- Node's http2 client, over TLS and with prior knowledge: streams side by side on one session, uploads that the
-- backend does not read, slow readers, trailers, draining, WebSocket in a stream.
local cjson = require "cjson"
local loop = require "support.loop"
local node = require "support.node"
local pki = require "support.pki"
local rig = require "support.rig"
local servers = require "support.server"
local sites = require "support.site"
local tempdir = require "support.tempdir"

local CLIENT = [[
const http2 = require("http2"), crypto = require("crypto"), fs = require("fs");
const [url, ca, direct] = process.argv.slice(1);
const session = http2.connect(url, { ca: url.startsWith("https") ? fs.readFileSync(ca) : undefined,
  maxSessionMemory: 200 });
const settings = new Promise((resolve) => session.once("remoteSettings", resolve));
const sha256 = (bytes) => crypto.createHash("sha256").update(bytes).digest("hex");
const headOf = (stream) => new Promise((resolve) => stream.once("response", (head) => resolve(head[":status"])));
const textOf = (stream) => new Promise((resolve, reject) => {
  const parts = [];
  stream.on("data", (part) => parts.push(part));
  stream.on("error", reject);
  stream.on("end", () => resolve(Buffer.concat(parts).toString()));
});
const get = (path) => textOf(session.request({ ":path": path }));
const numbers = (count) => [...Array(count).keys()];
const finish = (out) => { console.log(JSON.stringify(out)); session.close(); };
process.on("unhandledRejection", (error) => { console.error(error); process.exit(1); });
]]

local PARALLEL = CLIENT .. [[
(async () => {
  const said = await Promise.all(numbers(100).map((i) => get("/say/n" + i)));
  finish({ good: said.filter((text, i) => text === "n" + i).length, alpn: session.alpnProtocol });
})();
]]

local UPLOAD = CLIENT .. [[
(async () => {
  const body = crypto.randomBytes(32 * 1024 * 1024), out = {};
  const held = session.request({ ":method": "POST", ":path": "/held/it" });
  const answer = textOf(held);
  held.end(body);
  out.others = (await Promise.all(numbers(20).map((i) => get("/say/o" + i)))).join() ===
    numbers(20).map((i) => "o" + i).join();
  out.hadFinished = held.writableFinished; // what nobody reads finds no room for 32 MiB on the way
  await get("/release/it");
  const seen = JSON.parse(await answer);
  out.size = seen.size;
  out.isSame = seen.sum === sha256(body);
  const many = numbers(10).map((i) => crypto.randomBytes(300000 + i));
  out.many = (await Promise.all(many.map(async (each) => {
    const stream = session.request({ ":method": "POST", ":path": "/sum" });
    stream.end(each);
    return JSON.parse(await textOf(stream)).sum === sha256(each);
  }))).filter((good) => good).length;
  finish(out);
})();
]]

local SLOW = CLIENT .. [[
(async () => {
  const streams = numbers(100).map((i) => session.request({ ":path": "/bytes/" + (200000 + i) }));
  const heads = await Promise.all(streams.map(headOf)); // nobody reads their content yet
  const out = { heads: heads.filter((status) => status === 200).length, other: await get("/say/hi"), good: 0 };
  for (const i of numbers(100).reverse()) {
    const text = await textOf(streams[i]);
    if (text.length === 200000 + i && /^b*$/.test(text)) out.good++;
  }
  finish(out);
})();
]]

local TRAILERS = CLIENT .. [[
(async () => {
  const stream = session.request({ ":path": "/trailers", te: "trailers" });
  let tail;
  stream.on("trailers", (fields) => tail = fields["x-tail"]);
  const text = await textOf(stream);
  finish({ text, tail });
})();
]]

local WEBSOCKET = CLIENT .. [[
(async () => {
  const out = { isOffered: (await settings).enableConnectProtocol };
  const stream = session.request({ ":method": "CONNECT", ":protocol": "websocket", ":path": "/chat",
    "sec-websocket-version": "13" }, { endStream: false });
  out.status = await headOf(stream);
  const send = (opcode, data) => {
    const mask = crypto.randomBytes(4), masked = Buffer.from(data);
    for (let i = 0; i < masked.length; i++) masked[i] ^= mask[i & 3];
    stream.write(Buffer.concat([Buffer.from([128 | opcode, 128 | masked.length]), mask, masked]));
  };
  let seen = Buffer.alloc(0);
  const ended = new Promise((resolve) => stream.on("end", resolve));
  stream.on("data", (part) => {
    const before = seen.length;
    seen = Buffer.concat([seen, part]);
    if (before < 7 && seen.length >= 7) send(8, Buffer.from([3, 232]));
  });
  send(1, Buffer.from("hello"));
  await ended;
  stream.end();
  out.seen = seen.toString("hex");
  finish(out);
})();
]]

local DRAIN = CLIENT .. [[
(async () => {
  const out = {}, stream = session.request({ ":path": "/begun/it" });
  const closed = new Promise((resolve) => session.on("close", resolve));
  session.on("goaway", (code) => {
    if (out.goaway !== undefined) return;
    out.goaway = code;
    require("http").get(direct + "/release/it").on("response", (response) => response.resume());
  });
  const text = textOf(stream);
  await headOf(stream);
  console.log("ready");
  out.text = await text;
  await closed;
  console.log("out " + JSON.stringify(out));
})();
]]

--- A server with a listener of either kind, in front of a site.
local function start()
  local certificate = pki.self_signed(tempdir.new(), "site", { names = { "localhost" } })
  local site = sites.start()
  local server = servers.start { conf = rig.conf({ site.address }, { conf = { listeners = {
    { name = "http", address = "127.0.0.1:0" },
    { name = "https", address = "127.0.0.1:0", tls = { certificates = { certificate } } } } } }) }
  return server, site, certificate
end

local say = node.is_there and describe or pending

for _, scheme in ipairs { "https", "http" } do
  say("Node's client of HTTP/2, by " .. scheme, function()
    local shared, server, certificate = loop.scope()
    setup(shared:spec(function()
      local _
      server, _, certificate = start()
    end))
    teardown(rig.closer(shared, function() return server end))

    local function run(script)
      local url = ("%s://localhost:%d"):format(scheme, server.ports[scheme])
      return cjson.decode(node.run(script, { url, certificate.cert }))
    end

    it("asks for 100 things at once on one session", loop.spec(function()
      assert.same({ good = 100, alpn = scheme == "https" and "h2" or "h2c" }, run(PARALLEL))
    end))

    it("uploads at the backend's pace, and other streams go on meanwhile", loop.spec(function()
      assert.same({ others = true, hadFinished = false, size = 32 * 1024 * 1024, isSame = true, many = 10 },
        run(UPLOAD))
    end))

    it("reads 100 streams slowly, and all arrive whole", loop.spec(function()
      assert.same({ heads = 100, other = "hi", good = 100 }, run(SLOW))
    end))

    it("sees trailers", loop.spec(function()
      assert.same({ text = "body", tail = "behind" }, run(TRAILERS))
    end))

    it("has a WebSocket in a stream, as our settings offer", loop.spec(function()
      assert.same({ isOffered = true, status = 200, seen = "810568656c6c6f880203e8" }, run(WEBSOCKET))
    end))

    it("gets GOAWAY when we drain, and what has begun is finished", loop.spec(function()
      local own, site, own_certificate = start()
      local client = node.start(DRAIN, { ("%s://localhost:%d"):format(scheme, own.ports[scheme]), own_certificate.cert,
        "http://" .. site.address })
      own:signal "sigterm"
      local line = client:wait_line(client.stdout, "^out (.*)")
      assert.same({ goaway = 0, text = "over" }, cjson.decode(line[2]))
      assert.equal(0, client:wait_exit().code)
      assert.equal(0, own.process:wait_exit().code)
    end))
  end)
end
