--- Lua patterns, judged before any text is.
require "support.library"
local lua_pattern = require "veloflux.plugin.lua_pattern"

describe("a Lua pattern", function()
  it("is good", function()
    for _, text in ipairs { "", "^[%w_-]+$", "[]]", "[^]]", "[%]]", "()", "(a(b)%2)%1", "%b()", "%f[%w]%a", "a-", "*",
      "]", "$", "^", "[a-]", ("()"):rep(32) } do
      assert.is_nil(lua_pattern.problem(text), text)
    end
  end)

  it("is not, wherever that is", function()
    for text, problem in pairs {
      ["a["] = "malformed pattern (missing ']')", ["a[]"] = "malformed pattern (missing ']')",
      ["a[^"] = "malformed pattern (missing ']')", ["x%"] = "malformed pattern (ends with '%')",
      ["x[a%"] = "malformed pattern (missing ']')", ["x(a"] = "unfinished capture", ["x)"] = "invalid pattern capture",
      ["x%1"] = "invalid capture index", ["(x%1)"] = "invalid capture index", ["x%0"] = "invalid capture index",
      ["x%f"] = "missing '[' after '%f' in pattern", ["x%f[a"] = "malformed pattern (missing ']')",
      ["x%b"] = "unbalanced pattern", ["x%ba"] = "unbalanced pattern", [("()"):rep(33)] = "too many captures" } do
      assert.equal(problem, lua_pattern.problem(text), text)
    end
  end)

  it("never raises where none is wrong", function()
    math.randomseed(7)
    local letters = { "a", "b", "%", "[", "]", "(", ")", "^", "-", "*", "f", "1", "2", "$", "." }
    local function text_of(most)
      local parts = {}
      for i = 1, math.random(0, most) do parts[i] = letters[math.random(#letters)] end
      return table.concat(parts)
    end
    for _ = 1, 20000 do
      local pattern, subject = text_of(9), text_of(6)
      local ok, message = pcall(string.find, subject, pattern)
      assert.is_true(ok or lua_pattern.problem(pattern) ~= nil, ("%s: %s"):format(pattern, message))
    end
  end)
end)
