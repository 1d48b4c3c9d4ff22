--- Chromium in front of the real binary: a page over HTTP/2, many requests of it at once, an upload, a WebSocket.
local cjson = require "cjson"
local chromium = require "support.chromium"
local loop = require "support.loop"
local node = require "support.node"
local pki = require "support.pki"
local rig = require "support.rig"
local servers = require "support.server"
local sites = require "support.site"
local tempdir = require "support.tempdir"

-- Its load event, and with it the end of the run, waits for /gate/NAME, which the report opens.
local PAGE = [[<!doctype html><title>page</title><script>
const out = {}, name = location.pathname.split("/")[2];
const gate = document.createElement("script");
gate.src = "/gate/" + name;
document.head.append(gate);
const hex = (buffer) => [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const hop = (type) => [...new Set(performance.getEntriesByType(type).map((entry) => entry.nextHopProtocol))].join();
const fetches = async () => {
  const said = await Promise.all([...Array(50).keys()].map(async (i) => (await fetch("/say/n" + i)).text()));
  out.good = said.filter((text, i) => text === "n" + i).length;
};
const upload = async () => {
  const body = new Uint8Array(1024 * 1024);
  for (let at = 0; at < body.length; at += 65536) crypto.getRandomValues(body.subarray(at, at + 65536));
  const seen = await (await fetch("/sum", { method: "POST", body })).json();
  out.upload = seen.size === body.length && seen.sum === hex(await crypto.subtle.digest("SHA-256", body));
};
const chat = (scheme, host) => new Promise((resolve) => {
  const socket = new WebSocket(scheme + "://" + host + "/chat"), heard = [];
  const lines = ["hello", "x".repeat(5000), "bye"];
  socket.onopen = () => lines.forEach((line) => socket.send(line));
  socket.onmessage = ({ data }) => { if (heard.push(data) === lines.length) socket.close(1000, "done"); };
  socket.onclose = ({ code, wasClean }) => resolve([heard.join() === lines.join(), code, wasClean]);
});
(async () => {
  try {
    await fetches();
    await upload();
    out.chat = await chat("wss", location.host);
    out.page = hop("navigation");
    out.resources = hop("resource");
  } catch (error) {
    out.error = String(error);
  }
  await fetch("/report/" + name, { method: "POST", body: JSON.stringify(out) });
})();
</script>]]

local say = chromium.is_there and node.is_there and describe or pending

say("Chromium (pending without the packages that scripts/deps.sh clients installs)", function()
  local shared, server, site, certificate = loop.scope()
  setup(shared:spec(function()
    certificate = pki.self_signed(tempdir.new(), "site", { names = { "localhost" } })
    site = sites.start(PAGE)
    local function listener(name, alpn)
      return { name = name, address = "127.0.0.1:0", tls = { certificates = { certificate }, alpn = alpn } }
    end
    server = servers.start { conf = rig.conf({ site.address }, { conf = { listeners = { listener "h2",
      listener("h1", { "http/1.1" }) }, log = { level = "info", format = "text", access = { path = "stdout",
      format = "combined" } } } }) }
  end))
  teardown(rig.closer(shared, function() return server end))

  --- Awaits the access log line of a WebSocket.
  local function expect_chat(version)
    local line = server.process:wait_line(server.process.stdout, '/chat HTTP/' .. version)
    assert.is_truthy(line[1])
  end

  --- Loads the page. Returns what it reported.
  local function visit(listener)
    local from = #site.process.stdout + 1
    local url = ("https://localhost:%d/page/%s"):format(server.ports[listener], listener)
    local code, _, log = chromium.load(url, certificate.cert)
    assert.equal(0, code, log)
    for i = from, #site.process.stdout do
      local report = site.process.stdout[i]:match "^report (.*)"
      if report then return cjson.decode(report) end
    end
    error("the page has reported nothing:\n" .. log)
  end

  it("speaks HTTP/2: a page, 50 requests at once, 1 MiB up, a WebSocket", loop.spec(function()
    assert.same({ page = "h2", resources = "h2", good = 50, upload = true, chat = { true, 1000, true } }, visit "h2")
    expect_chat "2.0" -- in a stream (RFC 8441)
  end))

  it("does the same by HTTP/1.1", loop.spec(function()
    assert.same({ page = "http/1.1", resources = "http/1.1", good = 50, upload = true,
      chat = { true, 1000, true } }, visit "h1")
    expect_chat "1.1"
  end))
end)
