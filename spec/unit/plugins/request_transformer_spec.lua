local fixture = require "unit.plugins.fixture"
local traces = require "support.traces"

local file = fixture.load "request-transformer"
local arguments, expression, members, parts, plan =
  file "arguments", file "expression", file "members", file "parts", file "plan"

describe("a text with places", function()
  local SOURCES = {
    headers = function(path) return ({ ["x-id"] = "7", host = "a.example" })[path[1]] end,
    query_params = function(path) return ({ q = "a b" })[path[1]] end,
    uri_captures = function(path) return ({ "one", name = "two" })[path[1]] end,
    shared = function(path) return path[1] == "user" and path[2] == "age" and 42 or nil end,
  }
  local function fill(text, encode)
    local compiled, problem = expression.compile(text)
    if type(compiled) ~= "table" then return compiled, problem end
    return expression.render(compiled, SOURCES, encode)
  end

  it("is filled in", function()
    for text, filled in pairs {
      ["plain"] = "plain", [""] = "", ["$5 (five)"] = "$5 (five)", ["$$(headers.x-id)"] = "$7",
      ["$(headers.x-id)"] = "7", ["a-$(headers['x-id'])-b"] = "a-7-b", ['$( headers["x-id"] )'] = "7",
      ["$(headers.none or 'no one')"] = "no one", ["$(headers.none or query_params.q or 'x')"] = "a b",
      ["$(headers.none)"] = "", ["$(uri_captures[1])/$(uri_captures.name)"] = "one/two", ["$(shared.user.age)"] = "42",
      ["$('it''s')"] = nil, ["$(1.5)"] = "1.5", ["$('')"] = "", ["$(\"don't\")"] = "don't",
      ["$(headers.oryx or 'x')"] = "x",
    } do assert.equal(filled, (fill(text)), text) end
  end)

  it("encodes what comes from outside, not what the configuration says", function()
    local function mark(value, root) return "<" .. root .. ":" .. value .. ">" end
    assert.equal("/a/<headers:7>/b c", fill("/a/$(headers.x-id)/$('b c')", mark))
  end)

  it("runs no Lua", function()
    local ROOTS = "expected headers, query_params, uri_captures or shared"
    local START = "expected headers.NAME, query_params.NAME, uri_captures.NAME, shared.NAME or a text"
    local STOP = "expected `or` or a closing parenthesis: places look values up, they run no Lua"
    for text, problem in pairs {
      ["$(os.execute('x'))"] = "os is not known, " .. ROOTS .. ", at byte 5",
      ["$(headers.x:upper())"] = STOP .. ", at byte 12", ["$((function() end)())"] = START .. ", at byte 3",
      ["$(headers)"] = "expected headers.NAME, at byte 10",
      ["$(headers.a.b)"] = "headers has no members that deep, at byte 14",
      ["$(headers['a)"] = "a text without its end, at byte 12", ["$('it''s')"] = STOP .. ", at byte 7",
      ["$("] = START .. ", at byte 3", ["$(headers.x"] = STOP .. ", at byte 12",
      ["$(headers.)"] = "expected a name behind the dot, at byte 11",
      ["$(headers[x])"] = 'expected ["NAME"] or [1], at byte 11', ["$(headers.x or)"] = START .. ", at byte 15",
      ["$(_G.x)"] = "_G is not known, " .. ROOTS .. ", at byte 5",
      ["$(shared" .. (".a"):rep(9) .. ")"] = "shared has no members that deep, at byte 27",
    } do assert.same({ nil, problem }, { expression.compile(text) }, text) end
    assert.same({ nil, "is longer than 16 KiB" }, { expression.compile(("x"):rep(16385)) })
    assert.matches("more than 100 places", select(2, expression.compile(("$(1)"):rep(101))))
  end)

  it("comes to an end whatever it is", function()
    math.randomseed(3)
    local WORDS = { "$(", ")", "headers", ".", "x", "[", "]", "'", '"', " or ", "1", "shared", "\0", "\255", "$", "(",
      "-" }
    for _ = 1, 3000 do
      local words = {}
      for i = 1, math.random(12) do words[i] = WORDS[math.random(#WORDS)] end
      local text = table.concat(words)
      local compiled, problem = expression.compile(text)
      assert.is_true(compiled ~= nil or type(problem) == "string")
      if type(compiled) == "table" then assert.equal("string", type(expression.render(compiled, SOURCES))) end
    end
  end)

  it("compiles", function()
    local compiled = expression.compile "user-$(headers.x-id or 'none')-$(query_params.none)"
    traces.assert_compiles(function() return expression.render(compiled, SOURCES) end)
  end)
end)

describe("arguments", function()
  local function edit(text, operation, ...)
    local list = arguments.parse(text)
    list[operation](list, ...)
    return arguments.format(list), list.is_changed
  end

  it("keep their order and their bytes", function()
    for _, text in ipairs { "", "a", "a=1&b=2&a=3", "a=%41+%zz&=x&b", "a==b", ("x=1&"):rep(500) .. "y" } do
      local list = arguments.parse(text)
      assert.equal(text, arguments.format(list))
      assert.is_false(list.is_changed)
    end
    assert.equal("a&b", arguments.format(arguments.parse "&&a&&&b&"))
  end)

  it("are removed under any spelling", function()
    assert.same({ "b=2", true }, { edit("a=1&b=2&%61=3&a", "remove", "a") })
    assert.same({ "b=2", true }, { edit("a+b=1&b=2&a%20b=3", "remove", "a b") })
    assert.same({ "a%zz=1", false }, { edit("a%zz=1", "remove", "a") })
    assert.same({ "b=2", true }, { edit("a%zz%62=1&b=2", "remove", "a%zzb") })
    assert.same({ "A=1", false }, { edit("A=1", "remove", "a") })
  end)

  it("are renamed in place of others", function()
    assert.same({ "c=1&c=%33&c", true }, { edit("a=1&c=2&a=%33&a", "rename", "a", "c") })
    assert.same({ "c=2", false }, { edit("c=2", "rename", "a", "c") })
    assert.same({ "a=2", false }, { edit("a=2", "rename", "a", "a") })
    assert.same({ "x%26y=1", true }, { edit("a=1", "rename", "a", "x&y") })
  end)

  it("are replaced, added and appended", function()
    assert.same({ "x=1&a=7%26b%3D8&y", true }, { edit("x=1&a=1&y&a=2", "replace", "a", "7&b=8") })
    assert.same({ "x=1", false }, { edit("x=1", "replace", "a", "7") })
    assert.same({ "a", false }, { edit("a", "add", "a", "7") })
    assert.same({ "b&a=%0D%0A", true }, { edit("b", "add", "a", "\r\n") })
    assert.same({ "a&a=7", true }, { edit("a", "append", "a", "7") })
    assert.same({ "a=", true }, { edit("", "append", "a", "") })
  end)

  it("are bounded", function()
    assert.is_table(arguments.parse(("a&"):rep(arguments.MOST)))
    assert.is_nil(arguments.parse(("a&"):rep(arguments.MOST) .. "b"))
    assert.equal("a&b", arguments.join("a", "b"))
    assert.equal("b", arguments.join("", "b"))
  end)
end)

describe("members of a JSON object", function()
  local function edit(text, operation, ...)
    local object = assert(members.parse(text))
    object[operation](object, ...)
    return members.format(object), object.is_changed
  end

  it("are edited", function()
    assert.same({ '{"b":[]}', true }, { edit('{"a":1,"b":[]}', "remove", "a") })
    assert.same({ '{"b":1}', false }, { edit('{"b":1}', "remove", "a") })
    assert.same({ '{"b":null}', true }, { edit('{"a":null,"b":1}', "rename", "a", "b") })
    assert.same({ '{"a":"x\\"y"}', true }, { edit('{"a":{"b":1}}', "replace", "a", 'x"y') })
    assert.same({ '{}', false }, { edit("{}", "replace", "a", "x") })
    assert.same({ '{"a":false}', false }, { edit('{"a":false}', "add", "a", "x") })
    assert.same({ '{"a":"x"}', true }, { edit("", "add", "a", "x") })
    assert.same({ '{"a":["x"]}', true }, { edit("{}", "append", "a", "x") })
    assert.same({ '{"a":[{"b":1},"x"]}', true }, { edit('{"a":{"b":1}}', "append", "a", "x") })
    assert.same({ '{"a":[1,"x"]}', true }, { edit('{"a":[1]}', "append", "a", "x") })
    assert.same({ '{"a":["x"]}', true }, { edit('{"a":[]}', "append", "a", "x") })
    assert.same({ '{"n":9007199254740993}', true }, { edit('{"a":1,"n":9007199254740993}', "remove", "a") })
  end)

  it("come from objects only", function()
    for _, text in ipairs { "[]", "1", '"a"', "null", "{", '{"a":1,"a":2}', "{}{}", "\255", ("["):rep(10000) } do
      assert.is_nil(members.parse(text), text)
    end
  end)
end)

describe("parts", function()
  local TYPE = 'multipart/form-data; boundary="b 1"'
  local BODY = table.concat({ "--b 1", 'Content-Disposition: form-data; name="a"', "", "one", "--b 1",
    'content-disposition: form-data; name="file"; filename="x;y.txt"', "Content-Type: text/plain", "", "a\r\n--b 2\0",
    "--b 1--", "" }, "\r\n")

  local function edit(operation, ...)
    local list = assert(parts.parse(BODY, TYPE))
    list[operation](list, ...)
    return parts.format(list)
  end

  it("keep their bytes", function()
    local list = parts.parse(BODY, TYPE)
    assert.same({ "a", "file" }, { list.items[1].name, list.items[2].name })
    assert.equal(BODY, parts.format(list))
    assert.equal("--x--\r\n", parts.format(parts.parse("--x--", "multipart/form-data;boundary=x; charset=utf-8")))
  end)

  it("are edited", function()
    local text = edit("rename", "file", 'new"\r\n')
    assert.matches('form%-data; name="new%%22%%0D%%0A"; filename="x;y%.txt"\r\nContent%-Type: text/plain', text)
    assert.is_nil(edit("remove", "a"):find("one", 1, true))
    assert.matches('name="a"\r\n\r\nuno\r\n', edit("replace", "a", "uno"))
    assert.matches('name="b"\r\n\r\n2\r\n%-%-b 1%-%-\r\n$', edit("append", "b", "2"))
    assert.equal(BODY, edit("add", "a", "2"))
  end)

  it("take no value that would end them", function()
    assert.is_nil(edit("append", "b", "x\r\n--b 1\r\nContent-Disposition: form-data; name=\"admin\"\r\n\r\n1"))
  end)

  it("are read strictly", function()
    local part = '--x\r\nContent-Disposition: form-data; name="a"%s\r\n\r\n1\r\n--x--'
    for _, case in ipairs {
      { part:format "", "multipart/form-data" }, { part:format "", "multipart/form-data; boundary=" },
      { part:format "", "multipart/form-data; boundary=x; boundary=y" },
      { part:format "", "multipart/form-data; boundary=" .. ("x"):rep(71) },
      { "preamble\r\n" .. part:format "" }, { ((part:format ""):gsub("\r\n", "\n")) }, { (part:format ""):sub(1, -3) },
      { part:format '; name="b"' }, { part:format "; name*=utf-8''b" }, { part:format "; filename=x; name=b" },
      { part:format '\r\nContent-Disposition: form-data; name="b"' }, { ((part:format ""):gsub('"a"', "a")) },
      { "--x\r\n\r\n1\r\n--x--" }, { "--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--" },
      { part:format "" .. "\r\nmore" },
      { ("--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n"):rep(1001) .. "--x--" },
      { ((part:format ""):gsub("form%-data; ", "form-data; name=b; ")) }, { part:format '; filename="a\\"; name="b"' },
    } do assert.is_nil(parts.parse(case[1], case[2] or "multipart/form-data; boundary=x"), case[1]) end
    assert.is_table(parts.parse(part:format "", "multipart/form-data; boundary=x"))
  end)
end)

describe("a plan", function()
  it("has the steps in their order and the texts that have places", function()
    local made = plan.of {
      add = { headers = { "X-A:1", "x-b:$(headers.a)" } }, remove = { headers = { "c" }, querystring = {} },
      rename = { headers = { "d:e" } }, replace = { uri = "/$(uri_captures[1])", headers = { "Host:h" } }, append = {},
    }
    local names = {}
    for i, step in ipairs(made.headers) do names[i] = step.operation .. " " .. step.name end
    assert.same({ "remove c", "rename d", "replace Host", "add X-A", "add x-b" }, names)
    assert.equal("1", made.headers[4].text)
    assert.equal(1, made.headers[5].number)
    assert.is_true(made.headers[3].is_host)
    assert.equal(2, made.uri.number)
    assert.is_nil(made.querystring)
    assert.is_nil(made.body)
  end)
end)
