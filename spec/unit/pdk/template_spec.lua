require "support.library"
local blames = require "support.blames"
local json = require "veloflux.pdk.json"
local template = require "veloflux.pdk.template"
local traces = require "support.traces"

local VARS = { name = "Ana", n = 7, big = 9007199254740991, half = 0.5, yes = true, no = false, null = json.null,
  empty = "", user = { roles = { "admin", "dev" }, ["x-id"] = "a b&c", deep = { er = "x" } },
  quote = 'say "hi"\n' }

describe("templates", function()
  for text, expected in pairs {
    [""] = "",
    ["plain } text { } }}"] = "plain } text { } }}",
    ["Hello {{ name }}!"] = "Hello Ana!",
    ["{{name}}{{name}}"] = "AnaAna",
    ["{{n}} {{big}} {{half}} {{yes}} {{no}}"] = "7 9007199254740991 0.5 true false",
    ["{{ user.roles.2 }}/{{ user.x-id }}/{{ user.deep.er }}"] = "dev/a b&c/x",
    ["[{{ nobody }}{{ user.nobody.nowhere }}{{ name.len }}{{ null }}{{ empty }}]"] = "[]",
    ["{{ user.x-id | urlencode }}"] = "a%20b%26c",
    ["{{ name | lower }}{{ name | upper }}"] = "anaANA",
    ["{{ name | base64 }} {{ name | base64url }}"] = "QW5h QW5h",
    ["{{ user.roles | json }}"] = '["admin","dev"]',
    ["{{ quote | json }} {{ n | json }} {{ nobody | json }}"] = [["say \"hi\"\n" 7 null]],
    ['{{ nobody | default "none" }}'] = "none",
    ['{{ null|default "none"|upper }}'] = "NONE",
    ['{{ empty | default "\\"a\\\\b\\"\\n" }}'] = '"a\\b"\n',
    ['{{ no | default "x" }}'] = "false",
    ['{{ "{{ text }}" }}'] = "{{ text }}",
    ["\\{{ name }}"] = "{{ name }}",
    ["\\\\{{ name }}"] = "\\Ana",
    ["\\\\\\{{ name }}"] = "\\{{ name }}",
    ["a\\b {{ name }}"] = "a\\b Ana",
    ["a\0b {{ name }}\255"] = "a\0b Ana\255",
  } do
    it(("fill in %q"):format(text), function() assert.equal(expected, template.render(text, VARS)) end)
  end

  for text, problem in pairs {
    ["a {{ name"] = "expected | or }} at byte 10",
    ["{{"] = "expected a name at byte 3",
    ["{{ }}"] = "expected a name at byte 4",
    ["{{ a. }}"] = "expected a name at byte 6",
    ["{{ a b }}"] = "expected | or }} at byte 6",
    ["{{ a() }}"] = "expected | or }} at byte 5",
    ["{{ a[1] }}"] = "expected | or }} at byte 5",
    ["{{ a | }}"] = "expected a filter at byte 8",
    ["{{ a | shout }}"] = "no filter is called shout at byte 8",
    ["{{ a | default }}"] = 'expected a text in " at byte 16',
    ['{{ a | default "x }}'] = "a text without its end at byte 21",
    ['{{ "\\x" }}'] = "an unknown escape at byte 5",
    ['{{ "a" b }}'] = "expected | or }} at byte 8",
    ["ok {{ name }} not {{ 'x' }}"] = "expected a name at byte 22",
  } do
    it(("refuse %q"):format(text), function()
      assert.same({ nil, "bad template: " .. problem }, { template.compile(text) })
      assert.same({ nil, "bad template: " .. problem }, { template.render(text, VARS) })
    end)
  end

  it("are strict when told", function()
    local STRICT = { strict = true }
    assert.equal("Ana", template.render("{{ name }}", VARS, STRICT))
    assert.same({ nil, "cannot fill in the place at byte 4: unknown: user.nobody" },
      { template.render("ab {{ user.nobody }}", VARS, STRICT) })
    assert.equal("x", template.render('{{ nobody | default "x" }}', VARS, STRICT))
    assert.equal("", template.render("{{ null }}", VARS, STRICT))
    assert.equal("ab ", template.render("ab {{ user.nobody }}", VARS))
  end)

  it("need json for tables", function()
    assert.same({ nil, "cannot fill in the place at byte 1: a table needs the filter json" },
      { template.render("{{ user }}", VARS) })
    assert.same({ nil, "cannot fill in the place at byte 1: a table needs the filter json" },
      { template.render("{{ user | lower }}", VARS) })
    assert.same({ nil, "cannot fill in the place at byte 1: cannot be JSON: JSON has no function" },
      { template.render("{{ f | json }}", { f = { print } }) })
    assert.same({ nil, "cannot fill in the place at byte 1: a function needs the filter json" },
      { template.render("{{ f }}", { f = print }) })
  end)

  it("look nothing up in texts", function()
    assert.equal("[]", template.render("[{{ name.upper }}{{ name.format.x }}]", VARS))
  end)

  it("are compiled once", function()
    assert.equal(template.compile "{{ once }}", template.compile "{{ once }}")
    assert.are_not.equal(template.compile "{{ once }}", template.compile("{{ once }}", { strict = true }))
    assert.same({ nil, "bad template: longer than 64 KiB" }, { template.compile(("x"):rep(65537)) })
  end)

  it("blame the caller for wrong types", function()
    blames.caller(function() template.compile(5) end, "^expected a string, got number")
    blames.caller(function() template.render("x") end, "^expected a table of variables, got nil")
    blames.caller(function() template.compile "x" "y" end, "^expected a table of variables, got string")
  end)

  it("bear hostile bytes", function()
    math.randomseed(5)
    local parts = { "{{", "}}", "|", " ", "name", ".", '"', "\\", "default", "json", "\0", "user", "2", "{", "}" }
    for _ = 1, 5000 do
      local pieces = {}
      for i = 1, math.random(10) do pieces[i] = parts[math.random(#parts)] end
      local text, err = template.render(table.concat(pieces), VARS)
      assert(text or err:find "byte %d+", err)
    end
  end)

  it("compile in LuaJIT, too", function()
    local render = template.compile '{{ name | lower }} {{ user.deep.er | urlencode }} {{ nobody | default "x" }}'
    traces.assert_compiles(function() return render(VARS) end)
    traces.assert_compiles(function() return template.render("{{ name }}: {{ n }}", VARS) end)
  end)
end)
