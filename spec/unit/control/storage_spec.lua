--- When a reload opens the store again.
require "support.library" -- C symbols first
local conf = require "veloflux.conf"
local storage = require "veloflux.control.storage"

local function node_of(text)
  local model, problems = conf.load { source = { text = text, name = "conf.yaml", dir = "/tmp" }, env = {} }
  return model and model.node or error(conf.format(problems[1]))
end

describe("the store of a node that runs", function()
  local function opener()
    return { status = function() return { driver = "redis", connected = true } end, watch = function() end,
      hear = function() end, load = function(_, callback) callback(nil, { version = 0, entities = {} }) end,
      close = function() end }
  end
  after_each(function() storage.use(nil) end)

  local function adjust(before, after)
    storage.use(opener)
    storage.open(node_of(before), function() end)
    return storage.adjust(node_of(after))
  end

  it("is left alone when the file says the same of it, wherever it stands", function()
    for _, store in ipairs { "{ driver: redis, url: 'rediss://127.0.0.1', tls: { verify: false, name: a.test } }",
      "{ driver: redis, sentinel: { master: m, addresses: [ '127.0.0.1:1', '127.0.0.1:2' ], password: p } }",
      "{ driver: redis, cluster: [ '127.0.0.1:1' ] }", "{ driver: sqlite, path: state.db }" } do
      assert.equal("same", adjust("store: " .. store .. "\n", "\n\nlog: { level: info }\nstore: " .. store .. "\n"))
    end
  end)

  it("is opened again when it is reached in another way", function()
    for before, after in pairs { ["password: a"] = "password: b", ["timeout: 1s"] = "timeout: 2s",
      ["tls: { name: a.test }"] = "tls: { name: b.test }", ["tls: { verify: false }"] = "timeout: 1s" } do
      local text = "store: { driver: redis, url: 'rediss://127.0.0.1', %s }\n"
      assert.equal("opened", adjust(text:format(before), text:format(after)))
    end
  end)
end)
