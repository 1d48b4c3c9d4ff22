local library = require "support.library" -- held, so that it stays loaded
local json = require "veloflux.pdk.json"
local values = require "veloflux.control.values"

local function decode(text) return assert(json.decode(text)) end

-- RFC 7396, appendix A.
local PATCHES = {
  { '{"a":"b"}', '{"a":"c"}', '{"a":"c"}' },
  { '{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}' },
  { '{"a":"b"}', '{"a":null}', "{}" },
  { '{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}' },
  { '{"a":["b"]}', '{"a":"c"}', '{"a":"c"}' },
  { '{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}' },
  { '{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}' },
  { '{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}' },
  { '["a","b"]', '["c","d"]', '["c","d"]' },
  { '{"a":"b"}', '["c"]', '["c"]' },
  { '{"e":null}', '{"a":1}', '{"a":1,"e":null}' },
  { "[1,2]", '{"a":"b","c":null}', '{"a":"b"}' },
  { "{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}' },
}

describe("values", function()
  assert(library)

  it("are patched as RFC 7396 says", function()
    for _, row in ipairs(PATCHES) do
      assert.same(decode(row[3]), values.merge(decode(row[1]), decode(row[2])), row[2])
    end
  end)

  it("differ at pointers", function()
    local function diff(before, after) return values.diff(before, after, function() end) end
    assert.same({}, diff('{"a":1}', '{"a":1}'))
    assert.same({ { pointer = "/a~1b/0/c", before = 1, after = 2 } },
      diff('{"a/b":[{"c":1}]}', '{"a/b":[{"c":2}]}'))
    assert.same({ { pointer = "/l/1", before = "y" } }, diff('{"l":["x","y"]}', '{"l":["x"]}'))
    assert.same({ { pointer = "", after = { a = 1 } } }, diff(nil, '{"a":1}'))
    assert.same({ { pointer = "/a", before = 1, after = { b = 2 } } }, diff('{"a":1}', '{"a":{"b":2}}'))
  end)

  it("differ in secrets only when those do, and show none", function()
    local texts = { aa = "one", bb = "one", cc = "two" }
    local function diff(before, after)
      return values.diff(before, after, function(hex) return texts[hex] end)
    end
    assert.same({}, diff('{"k":"{sealed:aa}"}', '{"k":"{sealed:bb}"}'))
    assert.same({ { pointer = "/k", before = "*****", after = "*****" } },
      diff('{"k":"{sealed:aa}"}', '{"k":"{sealed:cc}"}'))
  end)
end)
