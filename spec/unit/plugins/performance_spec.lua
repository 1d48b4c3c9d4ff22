--- The rules of docs/plugins/performance.md: what LuaJIT compiles, what it does not, and what allocates. Each
-- `it` is one line of that page.
local exchanges = require "support.exchanges"
local traces = require "support.traces"
local pdk = require "veloflux.pdk"

local kept -- luacheck: ignore 231
-- (what the code under test makes, so that it is not optimised away)

--- Fails unless `run` leaves the compiler: as a stitched trace, or one that was given up.
local function assert_interpreted(run)
  local _, complaints = traces.watch(run)
  assert.is_true(#complaints > 0, "it compiles")
end

--- Returns the bytes that a call of `run` allocates, once it is compiled: the least of some rounds, as traces take
-- memory of their own when they are made.
local function bytes_of(run)
  setfenv(run, _G)
  local least = math.huge
  collectgarbage()
  collectgarbage "stop"
  for _ = 1, 20 do
    local before = collectgarbage "count"
    for _ = 1, 1000 do run() end
    least = math.min(least, (collectgarbage "count" - before) * 1024 / 1000)
  end
  collectgarbage "restart"
  return least
end

local function open(options)
  exchanges.open(options or { fields = { ["User-Agent"] = "curl/8.0", Accept = "*/*", ["X-Name"] = "ana" },
    answer = { ["Content-Type"] = "text/plain" } })
end

local NUMBERS = { 1, 2, 3 }
local NAMED = { a = 1, b = 2, c = 3 }
local TEXT = "hello world"

--- Lua's own library.
local COMPILES = {
  ["loops with ipairs"] = function() for _, value in ipairs(NUMBERS) do kept = value end end,
  ["loops with pairs"] = function() for _, value in pairs(NAMED) do kept = value end end,
  ["next, which tells whether a table is empty"] = function() kept = next(NAMED) end,
  ["pcall and xpcall"] = function()
    kept = pcall(tostring, 1)
    kept = xpcall(tostring, print, 1)
  end,
  ["string.format"] = function() kept = ("%s-%d-%.2f"):format(TEXT, 5, 1.5) end,
  ["joining with .. and table.concat"] = function() kept = TEXT .. "!" .. table.concat({ "a", TEXT }) end,
  ["find of a plain text"] = function() kept = TEXT:find("wor", 1, true) end,
  ["sub, byte, char"] = function() kept = TEXT:sub(2, 3) .. string.char(TEXT:byte(1)) end,
  ["lower, upper, rep, reverse"] = function() kept = TEXT:lower() .. TEXT:upper() .. ("x"):rep(3) .. TEXT:reverse() end,
  ["tostring, tonumber, type"] = function() kept = type(tostring(tonumber "12")) end,
  ["table.insert and table.remove at the end"] = function()
    local list = { 1 }
    table.insert(list, 2)
    kept = table.remove(list)
  end,
  ["setmetatable"] = function() kept = setmetatable({}, NAMED) end,
  ["math and bit"] = function() kept = math.floor(math.random() * 9) + bit.band(12, 10) end,
}

local INTERPRETED = {
  ["string.match"] = function() kept = TEXT:match "^h" end,
  ["string.gmatch"] = function() for word in TEXT:gmatch "%a+" do kept = word end end,
  ["string.gsub"] = function() kept = TEXT:gsub("l", "L") end,
  ["string.find with a pattern"] = function() kept = TEXT:find "w%a" end,
  ["a function made in the handler"] = function()
    local n = 1
    kept = function() return n end
  end,
  ["coroutines"] = function() kept = coroutine.wrap(tostring)(1) end,
  ["table.sort"] = function() table.sort(NUMBERS) end,
  ["unpack"] = function() kept = unpack(NUMBERS) end,
  ["table.insert in front"] = function() table.insert({ 1 }, 1, 2) end,
  ["os.time, os.date, os.clock"] = function() kept = os.time() end,
  ["load"] = function() kept = load "return 1" end,
}

--- The plugin API.
local API = {
  ["request.get_header"] = function() kept = pdk.request.get_header "x-name" end,
  ["request.get_headers"] = function() kept = pdk.request.get_headers() end,
  ["request.get_method, get_path, get_host"] = function()
    kept = pdk.request.get_method() .. pdk.request.get_path() .. pdk.request.get_host()
  end,
  ["request.get_query_arg"] = function() kept = pdk.request.get_query_arg "page" end,
  ["client.get_ip, get_forwarded_ip"] = function() kept = pdk.client.get_ip() .. pdk.client.get_forwarded_ip() end,
  ["service.request.set_header"] = function() pdk.service.request.set_header("X-User", "ana") end,
  ["response.set_header"] = function() pdk.response.set_header("X-Answer", "42") end,
  ["ctx.plugin and ctx.shared"] = function()
    pdk.ctx.plugin.name = "ana"
    pdk.ctx.shared.name = pdk.ctx.plugin.name
  end,
  ["re.find and re.match"] = function()
    kept = pdk.re.find(TEXT, "w[a-z]+")
    kept = pdk.re.match(TEXT, "(w)([a-z]+)")
  end,
  ["json.decode and json.encode"] = function() kept = pdk.json.decode('{"a":[1,2]}').a[2] end,
  ["crypto.equals, hash, hmac"] = function() kept = pdk.crypto.equals(pdk.crypto.hash("sha256", TEXT), TEXT) end,
  ["encoding.base64_encode"] = function() kept = pdk.encoding.base64_encode(TEXT) end,
  ["table.new and table.clear"] = function() pdk.table.clear(pdk.table.new(4, 4)) end,
}

describe("LuaJIT compiles", function()
  for what, run in pairs(COMPILES) do
    it(what, function() traces.assert_compiles(run) end)
  end

  for what, run in pairs(API) do
    it("pdk." .. what, function()
      open()
      traces.assert_compiles(run)
    end)
  end

  --- A chain of handlers that C would call, for specs that call it.
  local function chain_of(handlers)
    local chain, members = require "veloflux.runtime.chain", {}
    for i, access in ipairs(handlers) do
      members[i] = exchanges.instance("p" .. i, { access = access }, { user = "u" .. i, list = { "a", "b", "c" } })
    end
    return chain.compile(members, 4)
  end

  it("each handler of a chain as a whole, with what surrounds its call", function()
    open()
    local function handler(i)
      return function(_, conf)
        if pdk.request.get_header "x-name" == "ana" then pdk.service.request.set_header("X-User-" .. i, conf.user) end
      end
    end
    local run = chain_of { handler(1), handler(2), handler(3) }
    traces.assert_calls_compile(function() run() end)
  end)

  it("the handlers of a long chain, each of them once for each call", function()
    open()
    local handlers, calls = {}, {}
    for i = 1, 60 do
      calls[i] = 0
      handlers[i] = assert(loadstring("local calls, i = ... return function() calls[i] = calls[i] + 1 end"))(calls, i)
    end
    local run = chain_of(handlers)
    traces.assert_calls_compile(function() run() end)
    for i = 1, 60 do assert.equal(1003, calls[i]) end
  end)

  it("a handler behind a loop, and whichever way it takes", function()
    open()
    local n, seen = 0, 0
    local function loops(_, conf)
      n = n + 1
      for i = 1, #conf.list do
        if conf.list[i] == "c" and n % 3 == 0 then seen = seen + 1 end
      end
      if n % 2 == 0 then
        pdk.service.request.clear_header "x-none"
      else
        kept = pdk.request.get_header "x-name"
      end
    end
    local run = chain_of { loops, loops, function() kept = pdk.request.get_header "accept" end }
    traces.assert_calls_compile(function() run() end, 3000)
    assert.is_true(seen > 0)
  end)

  it("a handler with many calls of the plugin API", function()
    open()
    local names = {}
    for i = 1, 30 do names[i] = ("kept = pdk.request.get_header 'x-%d' pdk.request.get_path()"):format(i) end
    local many = assert(loadstring("local pdk, kept = ... return function() " .. table.concat(names, "\n") ..
      "\nreturn kept end"))(pdk)
    local run = chain_of { many, many }
    traces.assert_calls_compile(function() run() end)
  end)
end)

--- Loads a plugin that comes with VeloFlux, as a worker does.
local function handler_of(name)
  local sources = {}
  for file in io.popen("ls plugins/" .. name .. "/*.lua"):lines() do
    local stream = assert(io.open(file))
    sources[file:match "([^/]+)%.lua$"] = { text = stream:read "*a", chunk = "=" .. file }
    stream:close()
  end
  return require("veloflux.plugin.sandbox").new({ name = name, sources = sources,
    provide = require("veloflux.plugin.provide").module }):run "handler"
end

describe("of the plugins that come with VeloFlux LuaJIT compiles as a whole", function()
  local CORS = { origins = { "https://app.example.com", "https://[a-z]+\\.example.org" }, credentials = true,
    allow_origin_absent = true }
  local HEADERS = { remove = { headers = { "x-internal" } }, rename = { headers = { "x-old:x-new" } },
    add = { headers = { "x-plan:gold", "x-zone:eu" } } }
  local ADDRESSES = { allow = { "192.0.2.0/24", "2001:db8::/32" } }

  local function assert_chain_compiles(phase, list)
    open { phase = phase, fields = { Origin = "https://app.example.com", ["X-Internal"] = "1" },
      answer = phase == "header_filter" and { ["Content-Type"] = "text/plain" } or nil }
    local chain, members = require "veloflux.runtime.chain", {}
    for i, entry in ipairs(list) do members[i] = exchanges.instance(entry[1], handler_of(entry[1]), entry[2]) end
    local run = chain.compile(members, require("veloflux.runtime.phase").NUMBER[phase])
    traces.assert_calls_compile(function() run() end)
  end

  it("cors, ip-restriction and request-transformer in access", function()
    assert_chain_compiles("access", { { "cors", CORS }, { "ip-restriction", ADDRESSES },
      { "request-transformer", HEADERS } })
  end)

  it("cors in header_filter", function()
    assert_chain_compiles("header_filter", { { "cors", CORS }, { "cors", CORS } })
  end)
end)

describe("LuaJIT interprets", function()
  for what, run in pairs(INTERPRETED) do
    it(what, function() assert_interpreted(run) end)
  end

  it("what waits, up to where it goes on", function()
    local co = coroutine.wrap(function()
      while true do coroutine.yield() end
    end)
    assert_interpreted(function() co() end)
  end)

  it("what is behind a loop or a second way inside of a pcall", function()
    local function loops(list)
      for i = 1, #list do kept = list[i] end
      return #list
    end
    local function run() kept = pcall(loops, NUMBERS) and 1 or 2 end
    local _, complaints = traces.watch(function() run() end, 2000, true)
    local text = table.concat(complaints, ";")
    assert.is_truthy(text:find("return to lower frame", 1, true), text)
  end)

  it("an error that is raised, and its traceback", function()
    assert_interpreted(function()
      kept = xpcall(error, function(message) return debug.traceback(message) end, "no")
    end)
  end)
end)

describe("allocates nothing:", function()
  it("reading one field, again and again", function()
    open()
    assert.equal(0, bytes_of(function() kept = pdk.request.get_header "x-name" end))
  end)

  it("looking up in a table that configure has made", function()
    local set = { ana = true }
    assert.equal(0, bytes_of(function() kept = set[pdk.request.get_header "x-name"] end))
  end)

  it("a table that does not leave the code that the compiler sees", function()
    assert.equal(0, bytes_of(function()
      local point = { x = 1, y = 2 }
      kept = point.x + point.y
    end))
  end)

  it("a text that is there already", function()
    assert.equal(0, bytes_of(function() kept = "a" .. "b" .. "c" end))
  end)
end)

describe("allocates:", function()
  it("all fields as a table, where one field takes nothing", function()
    open()
    local bytes = bytes_of(function() kept = pdk.request.get_headers() end)
    assert.is_true(bytes > 100, bytes)
  end)

  it("a set made in the handler, each time", function()
    assert.is_true(bytes_of(function()
      local set = {}
      for i = 1, #NUMBERS do set[NUMBERS[i]] = true end
      kept = set
    end) > 50)
  end)

  it("a text for each step when it grows in a loop, one with table.concat", function()
    local words = {}
    for i = 1, 100 do words[i] = "word " .. i end
    local n = 0
    local function mark() n = n + 1 return tostring(n) end
    local step_by_step = bytes_of(function()
      local text = mark()
      for i = 1, #words do text = text .. words[i] end
      kept = text
    end)
    local at_once = bytes_of(function()
      local parts = { mark() }
      for i = 1, #words do parts[i + 1] = words[i] end
      kept = table.concat(parts)
    end)
    assert.is_true(step_by_step > 5 * at_once, ("%d and %d bytes"):format(step_by_step, at_once))
  end)

  it("what is kept in ctx.plugin, once in each exchange that uses it", function()
    open()
    local first = bytes_of(function()
      exchanges.reset()
      pdk.ctx.plugin.name = "ana"
    end)
    local again = bytes_of(function() pdk.ctx.plugin.name = "ana" end)
    assert.is_true(first > 100)
    assert.equal(0, again)
  end)
end)

describe("docs/plugins/performance.md", function()
  local file = assert(io.open "docs/plugins/performance.md")
  local page = file:read("*a"):gsub("%s+", " ")
  file:close()

  it("names what is proved here", function()
    for _, proved in ipairs { COMPILES, INTERPRETED, API } do
      for what in pairs(proved) do assert.is_truthy(page:find(what, 1, true), what) end
    end
  end)

  it("says what plugins cannot have", function()
    local sandbox = require "veloflux.plugin.sandbox"
    local provide = require "veloflux.plugin.provide"
    local function run(text)
      local box = sandbox.new { name = "x", sources = { handler = { text = text, chunk = "x" } },
        provide = provide.module }
      return pcall(box.run, box, "handler")
    end
    for _, name in ipairs { "ffi", "io", "debug", "package" } do
      assert.is_truthy(page:find("`" .. name .. "`", 1, true))
      assert.is_false((run(("return require %q"):format(name))))
      local ok, value = run("return " .. name .. " == nil")
      assert.is_true(ok and value)
    end
    assert.is_false((run "global = 1"))
  end)
end)
