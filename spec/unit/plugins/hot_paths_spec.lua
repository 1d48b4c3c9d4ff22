--- The ways through the plugins that come with VeloFlux that most requests take: LuaJIT compiles each as a whole.
local ffi = require "ffi"
local callbacks = require "support.callbacks"
local exchanges = require "support.exchanges"
local traces = require "support.traces"
local document = require "veloflux.model.document"
local author = require "veloflux.plugin.author"
local loader = require "veloflux.plugin.loader"
local phase = require "veloflux.runtime.phase"
local provide = require "veloflux.plugin.provide"
local sandbox = require "veloflux.plugin.sandbox"
local schema = require "veloflux.model.schema"
local tables = require "veloflux.compiler.tables"
local json = require "veloflux.pdk.json"

ffi.cdef [[
typedef void (*vf_table_offer)(uint32_t kind, uint64_t sequence, int generation_fd, int delta_fd);
int vf_stage_publish(struct vf_stage *stage, vf_table_offer offer);
void vf_table_set_close(void);
]]
local C = ffi.C

local plugins = loader.new {}
local handlers = {}

--- Returns the handler of a plugin, loaded as a worker does.
local function handler_of(name)
  if not handlers[name] then
    local sources = {}
    for _, file in ipairs(assert(plugins:find(name)).files) do
      sources[file.name] = { text = file.text, chunk = file.chunk }
    end
    handlers[name] = sandbox.new({ name = name, sources = sources, provide = provide.module }):run "handler"
  end
  return handlers[name]
end

--- Returns a configuration as a worker has it, complete.
local function config_of(name, said)
  local compiled = assert(plugins:find(name)).compiled
  local value, problems = schema.read(compiled, assert(document.parse(json.encode(said), "conf")), function() end)
  assert(value, problems[1] and problems[1].path .. ": " .. problems[1].message)
  return author.plain(compiled, value)
end

local offer = callbacks.nothing "vf_table_offer"

local function publish_consumers()
  local model = { node = { master_key = ("k"):rep(32) }, consumers = { { name = "ana", tenant = "default",
    custom_id = "7", groups = { "gold" }, credentials = { { type = "key-auth", key = "secret-of-ana" } } } } }
  local kinds = { ["key-auth"] = { id = "key", hashed = true } }
  local staged = assert(tables.stage(model, { kind_of = function(credential) return kinds[credential.type] end }))
  for _, name in ipairs { "consumers", "credentials" } do
    assert(C.vf_stage_publish(staged[name].stage, offer) == 0)
  end
end

local n_passed -- requests that got through a chain

--- Makes the function of a chain.
-- @param list of { name of a plugin, what its configuration says }
local function chain_of(in_phase, list)
  local members = {}
  for i, entry in ipairs(list) do
    members[i] = exchanges.instance(entry[1], handler_of(entry[1]), config_of(entry[1], entry[2] or {}))
  end
  members[#members + 1] = exchanges.instance("last", { [in_phase] = function() n_passed = n_passed + 1 end })
  return require("veloflux.runtime.chain").compile(members, phase.NUMBER[in_phase], function() end)
end

describe("LuaJIT compiles as a whole", function()
  setup(publish_consumers)
  teardown(function()
    exchanges.close()
    C.vf_table_set_close()
  end)

  --- Fails unless a chain compiles: each call is for a request of its own.
  -- @param options of exchanges.open, and `fresh`: the chain changes what is asked for, so each call gets its own
  local function assert_compiles(in_phase, list, options)
    options = options or {}
    options.phase = in_phase
    options.fields = options.fields or { apikey = "secret-of-ana" }
    exchanges.open(options)
    local run = chain_of(in_phase, list)
    n_passed = 0
    traces.assert_calls_compile(function()
      if options.fresh then exchanges.open(options) else exchanges.renew() end
      run()
    end, 3000)
    assert.is_true(n_passed > 3000)
  end

  it("key-auth with a key in a field", function() assert_compiles("access", { { "key-auth" } }) end)

  it("key-auth that hides the key", function()
    assert_compiles("access", { { "key-auth", { hide_credentials = true } } }, { fresh = true })
  end)

  it("rate-limiting with a window, by consumer", function()
    assert_compiles("access", { { "rate-limiting", { minute = 4000000000 } } })
  end)

  it("rate-limiting with several windows, by route, silently", function()
    assert_compiles("access", { { "rate-limiting", { second = 4000000000, hour = 4000000000, limit_by = "route",
      hide_client_headers = true } } })
  end)

  it("rate-limiting with GCRA, by address", function()
    assert_compiles("access", { { "rate-limiting", { algorithm = "gcra", rate = 1e6, burst = 1000,
      limit_by = "ip" } } })
  end)

  it("request-transformer with header fields", function()
    assert_compiles("access", { { "request-transformer", { remove = { headers = { "x-internal", "x-debug" } },
      rename = { headers = { "x-old:x-new" } }, add = { headers = { "x-plan:gold", "x-zone:eu" } } } } },
      { fields = { ["X-Internal"] = "1", ["X-Old"] = "2" }, fresh = true })
  end)

  it("request-transformer with arguments", function()
    assert_compiles("access", { { "request-transformer", { add = { querystring = { "plan:gold" } } } } },
      { fresh = true })
  end)

  it("response-transformer with header fields", function()
    assert_compiles("header_filter", { { "response-transformer", { remove = { headers = { "x-internal", "x-debug" } },
      replace = { headers = { "x-plan:iron" } }, add = { headers = { "x-plan:gold", "x-zone:eu" } },
      append = { headers = { "x-trail:us" } } } } }, { answer = { ["X-Internal"] = "1" }, fresh = true })
  end)

  it("acl by group, behind key-auth", function()
    assert_compiles("access", { { "key-auth" }, { "acl", { allow = { "gold", "iron" } } } })
  end)

  it("the four of the benchmark, one behind the other", function()
    local fields = { apikey = "secret-of-ana", Origin = "https://app.example.com" }
    assert_compiles("access", { { "cors", { origins = { "https://app.example.com" } } }, { "key-auth" },
      { "rate-limiting", { minute = 4000000000 } },
      { "request-transformer", { add = { headers = { "x-plan:gold" } } } } }, { fields = fields })
  end)
end)
