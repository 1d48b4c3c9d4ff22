--- Whatever the text: a model or problems, never an error, and in bounded time.
-- Seeds are fixed, so a failure repeats; FUZZ_SEEDS sets how many texts of each sort (200).
local fixture = require "unit.conf.fixture"
local compiler = require "veloflux.compiler"
local conf = require "veloflux.conf"
local mutation = require "unit.conf.mutation"

local generator, mutate = mutation.generator, mutation.mutate

local SEEDS = tonumber(os.getenv "FUZZ_SEEDS" or 200)

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

local VALID = {
  fixture.site(),
  read "conf/veloflux.yaml",
  [[
tenants: [ { name: acme, hosts: [ "*.acme.com" ] } ]
timeouts: { connect: 1s }
headers: { request: { set: { A: b }, add: { C: [ d, e ] }, remove: [ F ] } }
pools:
  - &p { name: p, shared: true, hash_on: { type: cookie, name: x }, algorithm: consistent_hash,
      sticky_sessions: { cookie: c, ttl: 1h }, via: { response: true },
      health_check: { type: http, expected_status: [ 200, "300-399" ] }, backends: [ { address: "[::1]:80" } ] }
routes:
  - { name: a, tenant: acme, pool: p, match: { headers: { X: { regex: "^a" } }, query: { q: { present: true } } } }
  - { name: b, path_regex: "^/v(\\d+)", rewrite: "/x/$1", pool: p, methods: [ GET ] }
  - { name: c, path: /c, redirect: { to: "https://x/", status: 308 } }
  - { name: d, path: /d, respond: { status: 200, body: "${NAME:-none}", type: text/plain } }
]],
}

local KEYS = { "name", "pools", "routes", "backends", "address", "host", "hosts", "path", "path_prefix", "path_regex",
  "pool", "match", "headers", "query", "timeouts", "limits", "connect", "respond", "redirect", "tenants", "tenant",
  "listeners", "admin", "auth", "include", "log", "access", "sticky_sessions", "health_check", "expected_status", "x" }
local VALUES = { "web", "1", "-1", "10s", "off", "auto", "true", "/", "/a/../b", "*", "a.b", "127.0.0.1:80", "\"\"",
  "~", "GET", "'('", "${HOME}", "${NOPE}", "32k", "http://x", "[]", "{}", "\"\\0\"", "1.5" }

--- Writes a random value that is well-formed YAML, of known keys at random places.
local function random_value(random, depth)
  local kind = depth > 5 and 1 or random(3)
  if kind == 1 then return VALUES[random(#VALUES)] end
  local parts = {}
  for i = 1, random(4) - 1 do
    local inner = random_value(random, depth + 1)
    parts[i] = kind == 2 and inner or KEYS[random(#KEYS)] .. ": " .. inner
  end
  return (kind == 2 and "[ " or "{ ") .. table.concat(parts, ", ") .. (kind == 2 and " ]" or " }")
end

local function random_conf(random)
  local lines = {}
  for i = 1, random(6) do lines[i] = KEYS[random(#KEYS)] .. ": " .. random_value(random, 0) end
  return table.concat(lines, "\n") .. "\n"
end

--- Loads and compiles; whatever happens must be a value or problems with a message.
local function try(text, what)
  local ok, model, problems = pcall(fixture.load, text, { HOME = "/root" })
  assert(ok, ("%s raised: %s\n%s"):format(what, tostring(model), text))
  if not model then
    assert(#problems > 0, what .. ": neither model nor problems")
    for _, problem in ipairs(problems) do
      assert.is_string(problem.message)
      assert.is_string(conf.format(problem))
    end
    return
  end
  local compiled_ok, compiled, problem = pcall(compiler.compile, model, {})
  assert(compiled_ok, ("%s raised: %s\n%s"):format(what, tostring(compiled), text))
  assert(compiled or problem.message, what)
end

describe("the conf loader survives", function()
  it("mutated files", function()
    for seed = 1, SEEDS * 5 do
      local random = generator(seed)
      try(mutate(VALID[random(#VALID)], random), "mutated, seed " .. seed)
    end
  end)

  it("random well-formed files", function()
    for seed = 1, SEEDS * 5 do try(random_conf(generator(seed)), "random, seed " .. seed) end
  end)

  it("random bytes", function()
    for seed = 1, SEEDS do
      local random = generator(seed)
      local bytes = {}
      for i = 1, random(400) do bytes[i] = string.char(random(256) - 1) end
      try(table.concat(bytes), "bytes, seed " .. seed)
    end
  end)

  it("every prefix of a good file", function()
    for length = 0, #VALID[3] do try(VALID[3]:sub(1, length), "prefix of " .. length) end
  end)

  it("deep, wide and long ones", function()
    for _, text in ipairs {
      ("["):rep(100000), ("{a: "):rep(100000), ("- "):rep(100000), ("a:\n"):rep(10000),
      "pools: [" .. ("{name: x},"):rep(20000) .. "]", "workers: " .. ("9"):rep(1000000),
      "routes: " .. ("*a "):rep(10000), "user: '" .. ("${X:-"):rep(2000) .. ("}"):rep(2000) .. "'",
      "user: '" .. ("${X:-a}"):rep(20000) .. "'", ("#"):rep(1000000),
      ("k: 1\n"):rep(5000),
    } do
      try(text, text:sub(1, 20))
    end
  end)
end)
