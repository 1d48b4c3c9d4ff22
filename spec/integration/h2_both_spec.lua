--- HTTP/2 on both sides, with Node's client and server: content in both directions at once, trailers, resets.
local cjson = require "cjson"
local h2 = require "support.http2"
local loop = require "support.loop"
local node = require "support.node"
local rig = require "support.rig"

local SERVER = [[
const http2 = require("http2"), crypto = require("crypto");
const server = http2.createServer({ settings: { initialWindowSize: 20000 }, maxSessionMemory: 200 });
const ends = [];
server.on("stream", (stream, headers) => {
  stream.on("error", () => {});
  stream.on("close", () => ends.push([headers[":path"], stream.rstCode]));
  const path = headers[":path"];
  if (path === "/ends") { stream.respond({}); stream.end(JSON.stringify(ends)); return; }
  if (path === "/reset") {
    stream.respond({});
    stream.write("half", () => stream.destroy(new Error("broken")));
    return;
  }
  if (path === "/hold") { stream.respond({}); stream.write("begun"); return; }
  const hash = crypto.createHash("sha1");
  stream.respond({ "content-type": "x/y" }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "x-sum": hash.digest("hex") }));
  stream.on("data", (part) => {
    hash.update(part);
    if (!stream.write(part)) { stream.pause(); stream.once("drain", () => stream.resume()); }
  });
  stream.on("end", () => stream.end());
});
server.listen(0, "127.0.0.1", () => console.log("ready " + server.address().port));
]]

local CLIENT = [[
const http2 = require("http2"), crypto = require("crypto");
const client = http2.connect("http://127.0.0.1:" + process.argv[1], { maxSessionMemory: 200 });
const out = { good: 0, bad: [] };
const sha1 = (bytes) => crypto.createHash("sha1").update(bytes).digest("hex");
const mirror = (i) => new Promise((resolve) => {
  const body = crypto.randomBytes(700000 + i);
  const request = client.request({ ":method": "POST", ":path": "/" + i, te: "trailers" }, { endStream: false });
  const parts = [];
  let trailers = {}, type = "";
  request.on("response", (headers) => type = headers["content-type"]);
  request.on("trailers", (fields) => trailers = fields);
  request.on("data", (part) => parts.push(part));
  request.on("error", (error) => out.bad.push(error.message));
  request.on("close", () => {
    const back = Buffer.concat(parts);
    if (back.equals(body) && trailers["x-sum"] === sha1(body) && type === "x/y") out.good++;
    else out.bad.push([i, back.length, trailers]);
    resolve();
  });
  request.end(body);
});
const ask = (path, onData) => new Promise((resolve) => {
  const request = client.request({ ":path": path });
  let text = "";
  request.setEncoding("utf8");
  request.on("data", (part) => { text += part; if (onData) onData(request); });
  request.on("error", () => {});
  request.on("close", () => resolve([text, request.rstCode]));
});
(async () => {
  await Promise.all([...Array(20).keys()].map(mirror));
  out.reset = await ask("/reset");
  out.hold = await ask("/hold", (request) => request.close(http2.constants.NGHTTP2_CANCEL));
  do out.ends = JSON.parse((await ask("/ends"))[0]).filter(([path]) => path === "/hold"); while (out.ends.length === 0);
  client.close();
  console.log(JSON.stringify(out));
})();
]]

local WITH_LENGTH = [[
const server = require("http2").createServer();
server.on("stream", (stream) => {
  stream.respond({ "content-length": 5 }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "x-sum": "behind" }));
  stream.end("hello");
});
server.listen(0, "127.0.0.1", () => console.log("ready " + server.address().port));
]]

local say = node.is_there and describe or pending

say("HTTP/2 on both sides", function()
  it("mirrors content as it comes, with trailers; resets pass", loop.spec(function()
    local _, port = node.start(SERVER)
    local server = rig.start({ "127.0.0.1:" .. port }, { pool = { protocol = "h2" } })
    local out = cjson.decode(node.run(CLIENT, { tostring(server.ports.http) }))
    assert.same({ 20, {} }, { out.good, out.bad })
    assert.same({ "half", 2 }, out.reset)
    assert.same({ "begun", 8 }, out.hold)
    assert.same({ { "/hold", 8 } }, out.ends)
    server:stop()
  end))

  it("passes trailers on that stand behind content of a known length", loop.spec(function()
    local _, port = node.start(WITH_LENGTH)
    local server = rig.start({ "127.0.0.1:" .. port }, { pool = { protocol = "h2" } })
    local client = h2.open(server.ports.http)
    client:send(h2.headers(1, h2.get "/", { ends = true }))
    local answer = client:answer(1)
    assert.same({ "5", "hello", "behind" }, { h2.field(answer.fields, "content-length"), answer.body,
      h2.field(answer.trailers, "x-sum") })
    client:close()
    server:stop()
  end))
end)
