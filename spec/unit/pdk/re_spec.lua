require "support.library"
local blames = require "support.blames"
local re = require "veloflux.pdk.re"
local traces = require "support.traces"

local function all(subject, pattern, options)
  local list = {}
  for captures, err in re.gmatch(subject, pattern, options) do list[#list + 1] = captures and captures[0] or err end
  return list
end

describe("re.match", function()
  it("returns groups by number and name", function()
    assert.same({ [0] = "b=2", "b", "2", key = "b", value = "2" }, re.match("a b=2", "(?<key>\\w)=(?<value>\\d)"))
    assert.same({ [0] = "ac", false, "c" }, re.match("ac", "a(b)?(c)"))
    assert.same({ [0] = "a", false }, re.match("a", "a(b)?"))
    assert.is_nil((re.match("abc", "x")))
    assert.equal(1, select("#", re.match("abc", "x")))
    assert.same({ [0] = "2", false, "2", n = "2" }, re.match("2", "(?<n>a)|(?<n>2)", "J"))
  end)

  it("begins where it is told", function()
    assert.equal("c", re.match("abc", "[a-z]", nil, 3)[0])
    assert.equal("c", re.match("abc", "[a-z]", nil, -1)[0])
    assert.equal("a", re.match("abc", "[a-z]", nil, -9)[0])
    assert.equal("", re.match("abc", "$", nil, 4)[0])
    assert.is_nil((re.match("abc", "$", nil, 5)))
    assert.is_nil((re.match("abc", "^b", nil, 2))) -- what is in front counts
  end)

  it("has options", function()
    assert.is_nil((re.match("ABC", "b")))
    assert.equal("B", re.match("ABC", "b", "i")[0])
    assert.equal("b", re.match("a\nb", "^b", "m")[0])
    assert.equal("a\nb", re.match("a\nb", "a.b", "s")[0])
    assert.equal("ab", re.match("ab", "a b # both", "x")[0])
    assert.equal("é", re.match("é", "^.$", "u")[0])
    assert.is_nil((re.match("é", "^.$")))
    assert.is_nil((re.match("xab", "ab", "a")))
    assert.equal("AB", re.match("AB", "ab", "joiio")[0])
    blames.caller(function() re.match("a", "a", "k") end, "^options: expected letters of imsxuaJ, got \"k\"")
  end)

  it("says where a pattern is wrong", function()
    assert.same({ nil, "bad pattern: missing closing parenthesis at byte 4" }, { re.match("a", "(ab") })
    assert.same({ nil, "bad pattern: missing terminating ] for character class at byte 3" }, { re.find("a", "[a") })
    assert.is_truthy(select(2, re.match("a", "\\C", "u")):find "at byte 3")
    assert.is_truthy(select(2, re.match("a", "(*UTF)a")):find "^bad pattern")
    assert.same({ nil, "bad pattern: more than 127 groups at byte 1" }, { re.match("a", ("()"):rep(128)) })
    assert.equal(128, #re.match("a", ("()"):rep(127) .. "a") + 1)
    assert.same({ nil, "bad pattern: longer than 64 KiB at byte 1" }, { re.match("a", ("a"):rep(65537)) })
  end)

  it("gives up at its limit", function()
    local captures, err = re.match(("a"):rep(40), "^(a+)+$(?<!a)")
    assert.is_nil(captures)
    assert.is_truthy(err:find("^cannot search: match limit exceeded"), err)
    assert.same({ "cannot search: match limit exceeded" }, all(("a"):rep(40), "^(a+)+$(?<!a)"))
    assert.is_nil((re.gsub(("a"):rep(40), "^(a+)+$(?<!a)", "")))
  end)

  it("refuses a subject that is no UTF-8 when told that it is", function()
    assert.is_truthy(select(2, re.match("a\255", "a", "u")):find "UTF%-8 error")
    assert.is_truthy(select(2, re.match("é", ".", "u", 2)):find "offset")
    assert.equal("a", re.match("a\255", "a")[0])
  end)
end)

describe("re.find", function()
  it("returns positions", function()
    assert.same({ 3, 4 }, { re.find("a bc", "bc") })
    assert.same({ 3, 3 }, { re.find("a bc", "(b)(c)", nil, 1, 1) })
    assert.same({ 4, 4 }, { re.find("a bc", "(b)(c)", nil, 1, 2) })
    assert.same({ 1, 0 }, { re.find("abc", "x*") })
    assert.same({ 4, 3 }, { re.find("abc", "$") })
    assert.is_nil((re.find("abc", "x")))
    assert.is_nil((re.find("a", "a(b)?", nil, 1, 1)))
    assert.same({ 3, 3 }, { re.find("a\0b", "b") })
    blames.caller(function() re.find("abc", "b", nil, 1, 1) end, "^group: the pattern has no group 1")
  end)
end)

describe("re.gmatch", function()
  it("iterates over all matches", function()
    assert.same({ "a", "b", "c" }, all("a-b-c", "\\w"))
    assert.same({}, all("abc", "x"))
    assert.same({ "", "aa", "", "" }, all("baac", "a*"))
    assert.same({ "", "", "" }, all("éa", "", "u"))
    assert.same({ "", "", "", "" }, all("éa", ""))
    assert.same({ "bad pattern: missing closing parenthesis at byte 2" }, all("a", "("))
  end)

  it("may be nested", function()
    local found = {}
    for outer in re.gmatch("ab cd", "\\w+") do
      for inner in re.gmatch(outer[0], "\\w") do found[#found + 1] = inner[0] end
    end
    assert.same({ "a", "b", "c", "d" }, found)
  end)
end)

describe("re.sub and re.gsub", function()
  it("replace by text with groups", function()
    assert.same({ "x-b", 1 }, { re.sub("a-b", "a", "x") })
    assert.same({ "x-x", 2 }, { re.gsub("a-b", "\\w", "x") })
    assert.same({ "a-b", 0 }, { re.gsub("a-b", "z", "x") })
    assert.same({ "<a>-<b>", 2 }, { re.gsub("a-b", "\\w", "<$0>") })
    assert.same({ "b=a", 1 }, { re.sub("a=b", "(\\w)=(\\w)", "$2=$1") })
    assert.same({ "b0=a", 1 }, { re.sub("a=b", "(?<k>\\w)=(?<v>\\w)", "${v}0=${1}") })
    assert.same({ "$1: a", 1 }, { re.sub("a", "(a)(b)?", "$$1: $1$2") })
    assert.same({ "-a-b-", 3 }, { re.gsub("ab", "", "-") })
    assert.same({ "-é-", 2 }, { re.gsub("é", "", "-", "u") })
    assert.same({ "-b--c-", 4 }, { re.gsub("baac", "a*", "-") })
  end)

  it("replace by what a function says", function()
    assert.same({ "AB-CD", 2 }, { re.gsub("ab-cd", "\\w+", function(captures) return captures[0]:upper() end) })
    assert.same({ "a-7", 2 }, { re.gsub("a-b", "\\w", function(captures) return captures[0] == "b" and 7 end) })
    assert.same({ "[A][B] [C]", 2 }, { re.gsub("ab c", "\\w+", function(outer)
      return (re.gsub(outer[0], "(\\w)", function(inner)
        return "[" .. re.gsub(inner[1], "^.$", "$0"):upper() .. "]"
      end))
    end) })
    assert.has_error(function() re.gsub("a", "a", function() error("on purpose", 0) end) end, "on purpose")
    blames.caller(function() re.gsub("a", "a", function() return {} end) end,
      "^replacement: expected a string from the function, got table")
  end)

  it("blame the caller for a wrong replacement", function()
    blames.caller(function() re.sub("a", "a", "$1") end, "^replacement: the pattern has no group 1")
    blames.caller(function() re.sub("a", "a", "${x}") end, "^replacement: the pattern has no group x")
    blames.caller(function() re.gsub("a", "a", "5 $") end, "^replacement: %$ is followed by")
    blames.caller(function() re.gsub("a", "a", {}) end, "^replacement: expected a string or a function, got table")
    blames.caller(function() re.gsub(nil, "a", "") end, "^subject: expected a string, got nil")
    blames.caller(function() re.find("a") end, "^pattern: expected a string, got nil")
    blames.caller(function() re.match("a", "a", 5) end, "^options: expected a string, got number")
  end)
end)

describe("patterns", function()
  it("are kept, but not for ever", function()
    for i = 1, 2000 do assert.equal(1, (re.find("x" .. i, "x" .. i))) end
    collectgarbage()
    assert.equal(1, (re.find("x1", "x1")))
  end)

  it("bear hostile bytes", function()
    math.randomseed(11)
    local characters = { "(", ")", "[", "]", "\\", "?", "*", "+", "{", "}", "1", ",", "|", "^", "$", ".", "a", "<", ">",
      "P", "=", "!", "K", "\0", "\255", ":", "-", "u", "R" }
    for _ = 1, 5000 do
      local pattern = {}
      for i = 1, math.random(12) do pattern[i] = characters[math.random(#characters)] end
      local text = table.concat(pattern)
      local result, n = re.gsub("aaaa1,\0\255ab", text, "<$0>", math.random(2) == 1 and "i" or "x")
      assert(result or type(n) == "string", text)
    end
  end)

  it("compile", function()
    local subject = "GET /users/42?x=1 HTTP/1.1"
    traces.assert_compiles(function() return re.find(subject, "/users/(\\d+)", "i") end)
    traces.assert_compiles(function() return re.find(subject, "nothing") end)
    traces.assert_compiles(function() return re.match(subject, "/users/(?<id>\\d+)").id end)
    traces.assert_compiles(function() return re.gsub(subject, "\\d", "<$0>") end)
    traces.assert_compiles(function()
      for captures in re.gmatch(subject, "\\d") do subject = captures and subject end
    end)
  end)
end)
