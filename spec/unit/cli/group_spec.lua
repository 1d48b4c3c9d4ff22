local group = require "veloflux.cli.group"

describe("a command with commands of its own", function()
  local shown, said
  local commands = {
    list = function(args, out)
      out("args: " .. table.concat(args, ","))
      return 3
    end,
    fail = function() return nil, "expected --to" end,
  }

  local function run(...)
    shown, said = {}, {}
    return group.run({ name = "store", usage = "usage", commands = commands }, { ... },
      function(line) shown[#shown + 1] = line end, function(line) said[#said + 1] = line end)
  end

  it("passes on what follows, and the status", function()
    assert.equal(3, run("list", "a", "b"))
    assert.same({ { "args: a,b" }, {} }, { shown, said })
  end)

  it("shows its usage when asked", function()
    for _, word in ipairs { "--help", "-h", "help" } do
      assert.equal(0, run(word))
      assert.same({ { "usage" }, {} }, { shown, said })
    end
  end)

  it("says what is wrong, and the usage", function()
    assert.equal(1, run())
    assert.same({ "veloflux store: no command", "usage" }, said)
    assert.equal(1, run "lisst")
    assert.same({ "veloflux store: unknown command lisst", "usage" }, said)
    assert.equal(1, run "fail")
    assert.same({ "veloflux store fail: expected --to", "usage" }, said)
    assert.same({}, shown)
  end)
end)
