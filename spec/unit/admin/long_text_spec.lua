require "support.library"
local contents = require "veloflux.content"
local encoding = require "veloflux.pdk.encoding"
local long_text = require "veloflux.admin.long_text"

--- What takes decoded bytes.
local function collector()
  return { parts = {}, write = function(self, text)
    self.parts[#self.parts + 1] = text
    return true
  end }
end

local function decoded(content, place)
  local writer = collector()
  local ok, message = long_text.write_decoded(content, place, writer)
  return ok and table.concat(writer.parts), message
end

describe("an object with one long text", function()
  local bytes = {}
  for i = 1, 400000 do bytes[i] = string.char(i * 7919 % 256) end
  bytes = table.concat(bytes)
  local text = encoding.base64_encode(bytes)

  it("is decoded around it, wherever that stands", function()
    for _, form in ipairs { '{"data":"%s"}', '{"a":1, "data" : "%s" ,"b":"\\"x"}', '{"b":["' .. ("y"):rep(70000)
      .. '"],"data":"%s","a":{"c":null}}' } do
      local content = (form:gsub("%%s", function() return text end))
      local body, place = long_text.decode(content)
      assert.is_table(body, type(place) == "table" and place.detail)
      assert.is_true(long_text.is_long(body.data))
      assert.is_true(decoded(content, place) == bytes)
    end
  end)

  it("may be in a file", function()
    local writer = contents.writer "/tmp"
    writer:write('{"data":"' .. text .. '"}')
    local content = assert(writer:finish())
    local body, place = long_text.decode(content)
    assert.is_true(long_text.is_long(body.data))
    assert.is_true(decoded(content, place) == bytes)
    contents.close(content)
  end)

  it("may have escaped slashes", function()
    local content = '{"data":"' .. text:gsub("/", "\\/") .. '"}'
    assert.is_true(#content > #text + 1000)
    local body, place = long_text.decode(content)
    assert.is_true(long_text.is_long(body.data))
    assert.is_true(decoded(content, place) == bytes)
    assert.is_falsy((decoded(content, { from = place.from, to = place.from + content:find("\\", place.from, true)
      - place.from })))
  end)

  it("is decoded as any other when it is short", function()
    local body, place = long_text.decode '{"data":"AAAA"}'
    assert.same({ data = "AAAA" }, body)
    assert.is_nil(place)
    assert.is_false(long_text.is_long(body.data))
  end)

  it("is refused when it is none, or has more than that", function()
    local function refused(content)
      local body, bad = long_text.decode(content)
      assert.is_nil(body)
      return bad.detail
    end
    assert.matches("beside its one long text", refused('{"a":"' .. text .. '","b":"' .. text .. '"}'))
    assert.matches("beside its one long text", refused('{"a":"' .. ("x y"):rep(200000) .. '"}'))
    assert.matches("beside its one long text", refused(("["):rep(600000)))
    assert.matches("^The body is", refused('{"a":"' .. text .. '"'))
    assert.matches("^The body is", refused('{"a":"' .. text .. '","a":1}'))
    assert.matches("^The body is", refused('{"a":"' .. text .. '"} x'))
  end)

  it("has Base64 that ends once", function()
    local wrong = text:sub(1, 65534) .. "==" .. text:sub(65537)
    local content = '{"data":"' .. wrong .. '"}'
    local _, place = long_text.decode(content)
    local found, message = decoded(content, place)
    assert.is_falsy(found)
    assert.matches("Base64", message)
  end)
end)
