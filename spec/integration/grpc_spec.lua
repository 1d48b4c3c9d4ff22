--- gRPC through the proxy, HTTP/2 on both sides: @grpc/grpc-js asks, and answers (scripts/npm.sh installs it).
local cjson = require "cjson"
local clients = require "support.client"
local h2 = require "support.h2_origin"
local loop = require "support.loop"
local node = require "support.node"
local pki = require "support.pki"
local rig = require "support.rig"
local tempdir = require "support.tempdir"

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

local SERVICE = [[
const grpc = require(process.argv[1]);
const bytes = (value) => value;
const method = (name, requestStream, responseStream) => ({ path: "/test.Echo/" + name, requestStream, responseStream,
  requestSerialize: bytes, requestDeserialize: bytes, responseSerialize: bytes, responseDeserialize: bytes });
const service = { unary: method("Unary", false, false), collect: method("Collect", true, false),
  spread: method("Spread", false, true), chat: method("Chat", true, true), fail: method("Fail", false, false),
  none: method("None", false, false), meta: method("Meta", false, false), hold: method("Hold", true, true),
  cancelled: method("Cancelled", false, false), flood: method("Flood", false, true) };
const values = (metadata) => [metadata.get("x-word")[0] || "", (metadata.get("x-raw-bin")[0] || "").toString("hex")];
const metadataOf = (word, raw) => {
  const metadata = new grpc.Metadata();
  metadata.set("x-word", word);
  metadata.set("x-raw-bin", Buffer.from(raw));
  return metadata;
};
]]

local SERVER = SERVICE .. [[
const server = new grpc.Server();
const tail = (value) => { const meta = new grpc.Metadata(); meta.set("x-tail", value); return meta; };
const implementation = {
  unary: (call, done) => done(null, Buffer.concat([Buffer.from("you said "), call.request]), tail("unary")),
  collect: (call, done) => {
    let size = 0;
    call.on("data", (part) => size += part.length);
    call.on("end", () => done(null, Buffer.from(String(size)), tail("collect")));
  },
  spread: (call) => {
    const count = Number(call.request.toString());
    for (let i = 0; i < count; i++) call.write(Buffer.from("part " + i));
    call.end(tail("spread"));
  },
  chat: (call) => {
    call.on("data", (part) => call.write(Buffer.from("re: " + part.toString())));
    call.on("end", () => call.end(tail("chat")));
  },
  fail: (call, done) => done({ code: grpc.status.OUT_OF_RANGE, details: "too far: 100 % \u00e4",
    metadata: tail("fail") }),
  meta: (call, done) => {
    call.sendMetadata(metadataOf("first", [0, 1, 255]));
    done(null, Buffer.from(values(call.metadata).join()), metadataOf("last", [254, 10, 13]));
  },
  hold: (call) => {
    call.on("cancelled", () => cancels++);
    call.on("data", (part) => call.write(part));
    call.on("error", () => {});
  },
  cancelled: (call, done) => done(null, Buffer.from(String(cancels))),
  flood: async (call) => {
    for (let i = 0; i < 100; i++)
      if (!call.write(Buffer.alloc(100000, i))) await new Promise((resolve) => call.once("drain", resolve));
    call.end();
  },
};
let cancels = 0;
const { none, ...offered } = service;
server.addService(offered, implementation);
server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => console.log("ready " + port));
]]

local CLIENT = SERVICE .. [[
const Client = grpc.makeGenericClientConstructor(service, "Echo");
const client = new Client("127.0.0.1:" + process.argv[2], grpc.credentials.createInsecure());
const out = {};
const watch = (call, name) => new Promise((resolve) => {
  const seen = out[name] = { parts: [] };
  call.on("data", (part) => seen.parts.push(part.toString()));
  call.on("error", () => {});
  call.on("status", (status) => {
    Object.assign(seen, { code: status.code, details: status.details, tail: status.metadata.get("x-tail")[0] || "" });
    resolve(seen);
  });
});
const ask = (name, method, content) => new Promise((resolve) => {
  const seen = out[name] = {};
  const call = client[method](content, (error, answer) => { seen.answer = answer ? answer.toString() : ""; });
  call.on("status", (status) => {
    Object.assign(seen, { code: status.code, details: status.details, tail: status.metadata.get("x-tail")[0] || "" });
    setImmediate(() => resolve(seen));
  });
});
const gather = () => new Promise((resolve) => {
  const seen = out.collect = {};
  const call = client.collect((error, answer) => { seen.answer = answer ? answer.toString() : ""; });
  call.on("status", (status) => { seen.code = status.code; setImmediate(() => resolve(seen)); });
  for (let i = 0; i < 200; i++) call.write(Buffer.alloc(10000, i));
  call.end();
});
const talk = async () => {
  const call = client.chat();
  const ended = watch(call, "chat");
  let said = 0;
  call.on("data", () => { if (++said < 50) call.write(Buffer.from("line " + said)); else call.end(); });
  call.write(Buffer.from("line 0"));
  await ended;
};
(async () => {
  await ask("unary", "unary", Buffer.from("hello"));
  await ask("large", "unary", Buffer.alloc(1000000, "x"));
  out.large.answer = out.large.answer.length;
  await ask("fail", "fail", Buffer.from(""));
  await ask("none", "none", Buffer.from(""));
  await gather();
  await watch(client.spread(Buffer.from("500")), "spread");
  out.spread.parts = out.spread.parts.length;
  await talk();
  const many = [];
  for (let i = 0; i < 100; i++) many.push(ask("many" + i, "unary", Buffer.from("n" + i)));
  out.many = (await Promise.all(many)).filter((seen, i) => seen.answer === "you said n" + i).length;
  for (let i = 0; i < 100; i++) delete out["many" + i];
  const late = client.chat({ deadline: Date.now() + 200 });
  await watch(late, "late");
  client.close();
  console.log(JSON.stringify(out));
})();
]]

local BY_TLS = SERVICE .. [[
const [port, ca] = process.argv.slice(2), authority = require("fs").readFileSync(ca);
const Client = grpc.makeGenericClientConstructor(service, "Echo");
const client = new Client("localhost:" + port, grpc.credentials.createSsl(authority));
const out = {};
const ask = (name, content) => new Promise((resolve, reject) => client[name](Buffer.from(content),
  (error, answer) => error ? reject(error) : resolve(answer.toString())));
const exchange = () => new Promise((resolve) => {
  const call = client.meta(Buffer.from(""), metadataOf("asked", [0, 128, 44]), (error, answer) => {
    out.asked = answer ? answer.toString() : String(error);
  });
  call.on("metadata", (metadata) => out.first = values(metadata));
  call.on("status", (status) => { out.last = values(status.metadata); setImmediate(resolve); });
});
const cancel = () => new Promise((resolve) => {
  const call = client.hold();
  call.on("data", () => call.cancel());
  call.on("error", (error) => resolve(error.code));
  call.write(Buffer.from("begun"));
});
const readSlowly = async () => {
  const call = client.flood(Buffer.from("")), sizes = [];
  const begun = new Promise((resolve) => call.once("data", (part) => {
    sizes.push(part.length);
    call.pause();
    resolve();
  }));
  await begun;
  out.meanwhile = 0;
  for (let i = 0; i < 20; i++) if (await ask("unary", "m" + i) === "you said m" + i) out.meanwhile++;
  call.on("data", (part) => { if (part.every((byte) => byte === sizes.length)) sizes.push(part.length); });
  const ended = new Promise((resolve) => call.on("status", (status) => resolve(status.code)));
  call.resume();
  out.flood = [await ended, sizes.length, sizes.every((size) => size === 100000)];
};
(async () => {
  out.unary = await ask("unary", "hello");
  await exchange();
  out.cancel = await cancel();
  while (await ask("cancelled", "") !== "1");
  await readSlowly();
  client.close();
  console.log(JSON.stringify(out));
})();
]]

local library = node.package "@grpc/grpc-js"
local say = library and describe or pending

say("gRPC from end to end", function()
  it("has unary calls and streams both ways, with status and trailers", loop.spec(function()
    local _, port = node.start(SERVER, { library })
    local server = rig.start({ "127.0.0.1:" .. port }, { pool = { protocol = "h2" } })
    local out = cjson.decode(node.run(CLIENT, { library, tostring(server.ports.http) }))
    assert.same({ "you said hello", 0, "unary" }, { out.unary.answer, out.unary.code, out.unary.tail })
    assert.equal(1000009, out.large.answer)
    assert.same({ 11, "too far: 100 % \195\164", "fail" }, { out.fail.code, out.fail.details, out.fail.tail })
    assert.equal(12, out.none.code)
    assert.same({ "2000000", 0 }, { out.collect.answer, out.collect.code })
    assert.same({ 500, 0, "spread" }, { out.spread.parts, out.spread.code, out.spread.tail })
    assert.same({ 50, 0, "chat", "re: line 49" }, { #out.chat.parts, out.chat.code, out.chat.tail, out.chat.parts[50] })
    assert.equal(100, out.many)
    assert.equal(4, out.late.code) -- DEADLINE_EXCEEDED
    server:stop()
  end))

  it("goes over TLS, with metadata both ways, cancellation, and streams that are not read", loop.spec(function()
    local _, port = node.start(SERVER, { library })
    local site = pki.self_signed(tempdir.new(), "site", { names = { "localhost" } })
    local server = rig.start({ "127.0.0.1:" .. port }, { pool = { protocol = "h2" }, conf = { listeners = {
      { name = "https", address = "127.0.0.1:0", tls = { certificates = { site } } } } } })
    local out = cjson.decode(node.run(BY_TLS, { library, tostring(server.ports.https), site.cert }))
    assert.same({ unary = "you said hello", asked = "asked,00802c", first = { "first", "0001ff" },
      last = { "last", "fe0a0d" }, cancel = 1, meanwhile = 20, flood = { 0, 100, true } }, out)
    server:stop()
  end))

  it("tells of errors of our own by status", loop.spec(function()
    local dead = h2.start(function() end)
    dead.inner:close()
    local server = rig.start({ dead }, { pool = { protocol = "h2" }, route = { path_prefix = "/test.Echo/Unary" } })
    local out = cjson.decode(node.run(SERVICE .. [[
      const Client = grpc.makeGenericClientConstructor(service, "Echo");
      const client = new Client("127.0.0.1:" + process.argv[2], grpc.credentials.createInsecure());
      const ask = (method) => new Promise((resolve) => client[method](Buffer.from(""),
        (error) => resolve([error.code, error.details])));
      (async () => {
        console.log(JSON.stringify([await ask("unary"), await ask("fail")]));
        client.close();
      })();
    ]], { library, tostring(server.ports.http) }))
    assert.same({ { 14, "No backend could be reached." }, { 12, "No route matches this host and path." } }, out)
    server:stop()
  end))
end)
