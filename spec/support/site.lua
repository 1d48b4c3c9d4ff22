--- A backend in Node.js for clients that people have: pages, uploads, slow answers, trailers and a WebSocket.
--
--     local site = sites.start()
--     servers.start { conf = { pools = { { name = "web", backends = { { address = site.address } } } }, ... } }
--
-- It speaks HTTP/1.1. What it answers:
--     GET /page/NAME       the text that start() was given, as HTML
--     GET /say/WORD        the word
--     GET /bytes/N         N bytes
--     POST /sum            the content's size and SHA-256, as JSON
--     POST /held/NAME      the same, but reads nothing until GET /release/NAME
--     GET /begun/NAME      a head at once, the content "over" after GET /release/NAME
--     GET /trailers        "body", then the trailer x-tail: behind
--     POST /report/NAME    prints "report CONTENT", and lets GET /gate/NAME go
--     GET /chat            as an upgrade: a WebSocket that says again what it hears, and answers a close
local node = require "support.node"

local M = {}

local SCRIPT = [[
const http = require("http"), crypto = require("crypto");
const page = process.argv[1], waiting = new Map(), open = new Set();
const released = (name) => new Promise((resolve) => open.has(name) ? resolve() : waiting.set(name, resolve));
const release = (name) => { open.add(name); if (waiting.has(name)) waiting.get(name)(); };
const content = (request) => new Promise((resolve) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => resolve(Buffer.concat(parts)));
});
const sum = async (request, response) => {
  const body = await content(request);
  response.end(JSON.stringify({ size: body.length, sum: crypto.createHash("sha256").update(body).digest("hex") }));
};
const answers = {
  page: (request, response) => { response.setHeader("content-type", "text/html; charset=utf-8"); response.end(page); },
  say: (request, response, word) => response.end(word),
  bytes: (request, response, size) => response.end(Buffer.alloc(Number(size), "b")),
  sum,
  held: async (request, response, name) => { await released(name); await sum(request, response); },
  begun: async (request, response, name) => { response.flushHeaders(); await released(name); response.end("over"); },
  release: (request, response, name) => { release(name); response.end(); },
  trailers: (request, response) => {
    response.writeHead(200, { trailer: "x-tail" });
    response.write("body");
    response.addTrailers({ "x-tail": "behind" });
    response.end();
  },
  report: async (request, response, name) => {
    console.log("report " + (await content(request)).toString());
    response.end();
    release("gate " + name);
  },
  gate: async (request, response, name) => { await released("gate " + name); response.end(); },
};
const server = http.createServer((request, response) => {
  const [name, argument] = request.url.slice(1).split("/");
  if (answers[name]) return answers[name](request, response, argument);
  response.statusCode = 404;
  response.end();
});
server.on("upgrade", (request, socket) => {
  const key = request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
    "Sec-WebSocket-Accept: " + crypto.createHash("sha1").update(key).digest("base64") + "\r\n\r\n");
  let rest = Buffer.alloc(0);
  socket.on("error", () => {});
  socket.on("data", (part) => {
    rest = Buffer.concat([rest, part]);
    while (rest.length >= 6) { // frames of clients: masked, and short or of 16 bits
      const isLong = (rest[1] & 127) === 126;
      if (isLong && rest.length < 8) return;
      const size = isLong ? rest.readUInt16BE(2) : rest[1] & 127, at = isLong ? 4 : 2;
      if (rest.length < at + 4 + size) return;
      const mask = rest.subarray(at, at + 4), data = Buffer.from(rest.subarray(at + 4, at + 4 + size));
      for (let i = 0; i < size; i++) data[i] ^= mask[i & 3];
      const head = Buffer.from(rest.subarray(0, at));
      head[1] &= 127;
      socket.write(Buffer.concat([head, data]));
      if ((head[0] & 15) === 8) socket.end();
      rest = rest.subarray(at + 4 + size);
    }
  });
});
server.listen(0, "127.0.0.1", () => console.log("ready " + server.address().port));
]]

--- Starts one. The scope ends it.
-- @param page text of /page, or nil
-- @return port, address, process
function M.start(page)
  local child, port = node.start(SCRIPT, { page or "" })
  return { port = tonumber(port), address = "127.0.0.1:" .. port, process = child }
end

return M
