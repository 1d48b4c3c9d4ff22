require "support.library"
local blames = require "support.blames"
local cjson = require "cjson"
local ffi = require "ffi"
local json = require "veloflux.pdk.json"
local traces = require "support.traces"

local function decode(text, options)
  local value, err = json.decode(text, options)
  assert(err == nil, err)
  return value
end

describe("JSON decoding", function()
  it("may pause while it decodes, and another text is decoded meanwhile", function()
    local list = {}
    for i = 1, 2000 do list[i] = ('{"n":[%d,{"a":null}]}'):format(i) end
    local text, pauses = "[" .. table.concat(list, ",") .. "]", 0
    local value = json.decode(text, { pause = function()
      pauses = pauses + 1
      assert.same({ { 1, { "x" } } }, json.decode '[[1,["x"]]]')
    end })
    assert.is_true(pauses > 10)
    assert.equal(2000, #value)
    for i = 1, 2000 do assert.same({ n = { i, { a = json.null } } }, value[i]) end
    local _, err = json.decode('{"a":1,"a":2}', { pause = function() end })
    assert.matches("occurs twice", err)
  end)

  it("makes tables of objects and arrays", function()
    assert.same({ a = { 1, 2, { b = "c" } }, d = true, e = false, f = json.null },
      decode ' { "a" : [ 1 , 2 , {"b":"c"} ] ,\r\n\t"d":true,"e":false, "f":null } ')
    assert.equal("text", decode '"text"')
    assert.equal(json.null, decode "null")
    assert.is_false(decode "false")
    assert.equal(cjson.null, json.null)
  end)

  it("keeps empty arrays and objects apart", function()
    local text = '{"a":[],"b":{},"c":[[],{}]}'
    assert.equal(text, json.canonical(decode(text)))
    assert.is_true(json.is_array(decode "[1]"))
    assert.is_false(json.is_array(decode "{}"))
    assert.is_false(json.is_array "x")
  end)

  it("reads every escape", function()
    assert.equal('"\\/\b\f\n\r\té€😀\0', decode [["\"\\\/\b\f\n\r\t\u00e9\u20AC\ud83d\uDE00\u0000"]])
    assert.same({ "a\nb", "plain", "c\td", ["x\ny"] = nil }, decode [=[["a\nb","plain","c\td"]]=])
    assert.same({ ["x\ny"] = "z" }, decode [[{"x\ny":"z"}]])
    assert.equal("é€😀\127", decode '"é€😀\127"')
  end)

  for text, number in pairs { ["0"] = 0, ["-0"] = 0, ["-1"] = -1, ["1.5"] = 1.5, ["1e3"] = 1000, ["1E+3"] = 1000,
    ["25e-2"] = 0.25, ["9007199254740993"] = 9007199254740992, ["1e-999"] = 0, ["0.1"] = 0.1,
    ["123456789012345678901234567890"] = 123456789012345678901234567890 } do
    it("reads the number " .. text, function() assert.equal(number, decode(text)) end)
  end

  it("keeps the digits of large integers when asked", function()
    local values = decode("[9007199254740992,9007199254740993,-9223372036854775807,18446744073709551615,1e18]",
      { exact = true })
    assert.equal(9007199254740992, values[1])
    assert.is_true(ffi.istype("int64_t", values[2]))
    assert.equal(9007199254740993LL, values[2])
    assert.equal(-9223372036854775807LL, values[3])
    assert.is_true(ffi.istype("uint64_t", values[4]))
    assert.equal(18446744073709551615ULL, values[4])
    assert.equal("number", type(values[5]))
    assert.equal("number", type(decode("18446744073709551616", { exact = true })))
    assert.equal("[9007199254740993,18446744073709551615]", json.encode { values[2], values[4] })
  end)

  for text, problem in pairs {
    [""] = "expected a value at byte 1",
    ["  "] = "expected a value at byte 3",
    ["tru"] = "expected a value at byte 1",
    ["nulL"] = "expected a value at byte 1",
    ["'a'"] = "expected a value at byte 1",
    ["NaN"] = "expected a value at byte 1",
    ["-Infinity"] = "expected a digit at byte 2",
    ["\239\187\191{}"] = "expected a value at byte 1", -- a byte order mark
    ["[1] [2]"] = "more than one value at byte 5",
    ["1\0"] = "more than one value at byte 2",
    ["[1,]"] = "expected a value at byte 4",
    ["[1 2]"] = "expected , or ] at byte 4",
    ["[1}"] = "expected , or ] at byte 3",
    ["[1"] = "expected , or ] at byte 3",
    ["{1:2}"] = "expected a name in quotes at byte 2",
    ['{"a":1,}'] = "expected a name in quotes at byte 8",
    ['{"a" 1}'] = "expected : at byte 6",
    ['{"a":1]'] = "expected , or } at byte 7",
    ['{"a":1,"b":2,"a":3}'] = "a name that occurs twice at byte 14",
    ['[{"a":null,"\\u0061":null}]'] = "a name that occurs twice at byte 12",
    ['"a'] = "the string has no end at byte 3",
    ['"a\\'] = "an escape that JSON does not have at byte 3",
    ['"a\\n'] = "the string has no end at byte 5",
    ['"\\x41"'] = "an escape that JSON does not have at byte 2",
    ['"\\u12g4"'] = "an escape that JSON does not have at byte 2",
    ['"\\ud800"'] = "an escape that JSON does not have at byte 2",
    ['"\\udc00"'] = "an escape that JSON does not have at byte 2",
    ['"\\ud800\\u0041"'] = "an escape that JSON does not have at byte 2",
    ['"a\nb"'] = "a control character that is not escaped at byte 3",
    ['"\\n\0"'] = "a control character that is not escaped at byte 4",
    ['"\255"'] = "not UTF-8 at byte 2",
    ['"\192\128"'] = "not UTF-8 at byte 2",
    ['"\237\160\128"'] = "not UTF-8 at byte 2",
    ['"\244\144\128\128"'] = "not UTF-8 at byte 2",
    ['"a\\n\226\130"'] = "not UTF-8 at byte 5",
    ["01"] = "a number with a 0 in front at byte 1",
    ["-01"] = "a number with a 0 in front at byte 2",
    ["+1"] = "expected a value at byte 1",
    [".5"] = "expected a value at byte 1",
    ["1."] = "expected a digit at byte 3",
    ["1e"] = "expected a digit at byte 3",
    ["1e+"] = "expected a digit at byte 4",
    ["0x10"] = "more than one value at byte 2",
    ["1e999"] = "a number too large at byte 1",
    ["[1,-1e309]"] = "a number too large at byte 4",
    ["/**/1"] = "expected a value at byte 1",
  } do
    it(("refuses %q"):format(text), function()
      assert.same({ nil, "not JSON: " .. problem }, { json.decode(text) })
    end)
  end

  it("has a limit for nesting", function()
    assert.is_table(decode(("["):rep(128) .. ("]"):rep(128)))
    assert.same({ nil, "not JSON: nested too deeply at byte 129" }, { json.decode(("["):rep(129) .. ("]"):rep(129)) })
    assert.same({ nil, "not JSON: nested too deeply at byte 9" },
      { json.decode('[1,{"a":[]},[[]]]', { max_depth = 2 }) })
    assert.is_table(decode(("["):rep(1000) .. ("]"):rep(1000), { max_depth = 1000 }))
    assert.is_nil((json.decode(('{"a":'):rep(100000))))
    blames.caller(function() json.decode("1", { max_depth = 1001 }) end, "^max_depth: at most 1000")
    blames.caller(function() json.decode(nil) end, "^expected a string, got nil")
  end)

  it("bears hostile bytes, and agrees with itself", function()
    math.randomseed(7)
    local seed = '{"a":[1,-2.5e3,true,false,null,"x\\u00e9\\ud83d\\ude00\\n","é😀"],"b":{"c":[],"d":{}}}'
    for _ = 1, 5000 do
      local bytes = { seed:byte(1, -1) }
      for _ = 1, math.random(3) do bytes[math.random(#bytes)] = math.random(0, 255) end
      local value, err = json.decode(string.char(unpack(bytes)))
      if err then
        assert.is_truthy(err:find "^not JSON: .+ at byte %d+$")
      else
        local text = assert(json.canonical(value))
        assert.equal(text, json.canonical(decode(text)))
      end
    end
  end)

  it("grows and shrinks", function()
    local list = {}
    for i = 1, 50000 do list[i] = "line\n" .. i end
    assert.same(list, decode(json.encode(list)))
    assert.equal(1, decode "1")
  end)
end)

describe("JSON encoding", function()
  it("writes what there is", function()
    assert.equal('{"a":[],"b":{},"c":[1,2],"d":null,"e":true,"f":false,"g":"h"}', json.canonical {
      a = json.array(), b = {}, c = { 1, 2 }, d = json.null, e = true, f = false, g = "h" })
    assert.equal('{"a":{"b":[1]}}', json.encode { a = { b = { 1 } } })
    assert.equal("[]", json.encode(json.array {}))
  end)

  it("escapes what RFC 8259 section 7 says", function()
    assert.equal([["\"\\\b\f\n\r\t\u0000\u001f/]] .. '\127é€😀"', json.encode '"\\\b\f\n\r\t\0\31/\127é€😀')
    assert.equal([[{"a\nb":1}]], json.encode { ["a\nb"] = 1 })
  end)

  -- RFC 8785 appendix B, and more
  for text, number in pairs { ["0"] = -0.0, ["5e-324"] = 5e-324, ["1.7976931348623157e+308"] = 1.7976931348623157e308,
    ["9007199254740992"] = 2 ^ 53, ["295147905179352830000"] = 2 ^ 68, ["9.999999999999997e+22"] = 9.999999999999997e22,
    ["1e+23"] = 1e23, ["999999999999999900000"] = 999999999999999900000, ["1e+21"] = 1e21,
    ["9.999999999999997e-7"] = 9.999999999999997e-7, ["0.000001"] = 1e-6, ["333333333.3333332"] = 333333333.3333332,
    ["333333333.33333325"] = 333333333.33333325, ["-0.0000033333333333333333"] = -0.0000033333333333333333,
    ["1424953923781206.2"] = 1424953923781206.2, ["0.1"] = 0.1, ["-1.5"] = -1.5, ["1e-7"] = 1e-7, ["100"] = 100,
    ["-123456789012345680"] = -123456789012345680, ["999999999999999"] = 999999999999999,
    ["1000000000000000"] = 1e15 } do
    it("writes the number " .. text, function()
      assert.equal(text, json.encode(number))
      assert.equal(number, decode(text))
    end)
  end

  it("writes numbers that read the same", function()
    math.randomseed(3)
    local bits = ffi.new "union { double number; uint32_t half[2]; }"
    for _ = 1, 20000 do -- NaN with a payload would not survive being a Lua number
      bits.half[0], bits.half[1] = math.random(0, 2 ^ 32 - 1), math.random(0, 0x7fefffff)
      local number = bits.number
      if decode(json.encode(number)) ~= number then error(("%.17g"):format(number)) end
    end
  end)

  it("refuses what JSON has no word for", function()
    local endless = {}
    endless.again = endless
    for problem, value in pairs {
      ["JSON has no function"] = print,
      ["JSON has no nan"] = 0 / 0,
      ["JSON has no inf"] = { a = { 1 / 0 } },
      ["a string that is not UTF-8, at its byte 2"] = { "a\255" },
      ["an object with a name that is no string"] = { [5] = 1 },
      ["an array with holes or names"] = { 1, nil, 3 },
      ["nested too deeply"] = endless,
    } do
      local text, err = json.encode(value)
      assert.is_nil(text)
      assert.equal("cannot be JSON: " .. problem, (err:gsub("%-nan", "nan")))
      assert.is_nil((json.canonical(value)))
    end
    assert.is_nil((json.encode { 1, x = 2 }))
    assert.is_nil((json.encode { ["a\255"] = 1 }))
    assert.is_nil((json.encode()))
    assert.equal("[1]", json.encode { 1 }) -- nothing is left of what failed
    blames.caller(function() json.array "x" end, "^expected a table, got string")
  end)

  it("can be lenient", function()
    assert.equal('[true,false,null,null,null,"\\n"]', json.lenient { true, false, print, 0 / 0, 1 / 0, "\n" })
    local text = decode(json.lenient { "a\255b\192\128c\237\160\128d\244\144\128\128e\226\130" })[1]
    assert.is_nil(text:find "[\192\193\245-\255]")
    assert.equal("abcde", (text:gsub("[\128-\255]", "")))
    assert.equal('{"a":1,"b":2}', json.lenient { b = 2, a = 1 })
  end)

  it("compiles", function()
    local value = { id = 7, name = "Ana", tags = { "a", "b" }, text = "line\nbreak" }
    local text = json.encode(value)
    traces.assert_compiles(function() return json.decode(text) end)
    traces.assert_compiles(function() return json.decode "[1,2" end)
    traces.assert_compiles(function() return json.encode(value) end)
  end)
end)
