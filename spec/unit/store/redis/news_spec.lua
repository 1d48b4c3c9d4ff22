--- News of other nodes: what is heard, and how it is seen that some was not.
local library = require "support.library"
local news = require "veloflux.store.redis.news"
local reply = require "veloflux.redis.reply"
assert(library)

describe("news", function()
  local mine, heard

  local function listen(since)
    mine, heard = news.new { name = "n", writer = "me" }, {}
    mine:listen(since, function(text, number) heard[#heard + 1] = ("%s %d"):format(text or "-", number) end)
  end

  it("are heard in order, but for the own ones", function()
    listen(4)
    mine:on_message "5 other a b\0c"
    mine:on_message "6 me own"
    mine:on_message "7 other "
    assert.same({ "a b\0c 5", " 7" }, heard)
  end)

  it("are missed when a number is", function()
    listen(4)
    mine:on_message "6 other x"
    mine:on_message "7 other y"
    mine:on_message "9 me own"
    assert.same({ "- 6", "y 7", "- 9" }, heard)
  end)

  it("are missed when it is not known what was heard", function()
    listen(nil)
    mine:on_message "1 other x"
    assert.same({ "- 1" }, heard)
    listen(nil)
    mine:looked(reply.null, false)
    mine:looked("0", false)
    assert.same({ "- 0" }, heard)
  end)

  it("count when they come again, but not as the last", function()
    listen(4)
    mine:on_message "5 other x"
    mine:on_message "5 other x"
    mine:on_message "3 other y"
    assert.same({ "x 5", "x 5", "y 5" }, heard)
  end)

  it("that may be on their way are waited for until the next look", function()
    listen(4)
    mine:looked("6", true)
    mine:on_message "5 other x"
    mine:on_message "6 other y"
    mine:looked("6", true)
    mine:looked("7", true)
    assert.same({ "x 5", "y 6" }, heard)
    mine:looked("8", true)
    assert.same("- 8", heard[3])
    mine:looked("8", true)
    assert.equal(3, #heard)
  end)

  it("are missed when the server has fewer than before, or nothing can be on its way", function()
    listen(4)
    mine:looked("5", false)
    mine:looked("2", true)
    assert.same({ "- 5", "- 2" }, heard)
  end)

  it("that are none are nothing", function()
    listen(4)
    for _, text in ipairs { "", "x", "5", "5 other", "-5 other x", "5.5 other x" } do mine:on_message(text) end
    mine:on_message(nil)
    mine:looked("many", false)
    mine:looked({}, false)
    assert.same({}, heard)
  end)

  it("are nothing to who does not listen", function()
    local deaf = news.new { name = "n", writer = "me" }
    deaf:on_message "1 other x"
    deaf:looked("1", false)
  end)
end)
