--- Content in memory and in files.
require "support.library"
local contents = require "veloflux.content"
local loop = require "support.loop"
local spools = require "veloflux.spool"
local tempdir = require "support.tempdir"

local PIECE = ("0123456789abcdef"):rep(4096)

local function written(folder, count)
  local writer = contents.writer(folder)
  for _ = 1, count do assert.is_true(writer:write(PIECE)) end
  return assert(writer:finish())
end

describe("content", function()
  it("that is short is a text", function()
    local content = written("/nowhere", 2)
    assert.equal(PIECE:rep(2), content)
    assert.equal(2 * #PIECE, contents.size(content))
    assert.equal("abc", contents.piece(content, 10, 3))
    assert.equal("f", contents.piece(content, 2 * #PIECE - 1, 100))
    assert.equal("", contents.piece(content, 2 * #PIECE, 100))
    contents.close(content)
  end)

  it("that is long is in a file that nobody sees", loop.spec(function()
    local folder = tempdir.new()
    local content = written(folder, 20)
    assert.is_table(content)
    assert.is_nil(io.popen("ls -A " .. folder):read "*l")
    for _ = 1, 2 do -- read, and mapped
      assert.equal(20 * #PIECE, contents.size(content))
      assert.equal("f0123", contents.piece(content, #PIECE - 1, 5))
      assert.equal("f", contents.piece(content, 20 * #PIECE - 1, 100))
      assert.equal(PIECE:rep(20), contents.piece(content))
      assert.is_true(spools.map(content))
    end
    contents.close(content)
    contents.close(content)
    assert.equal("", contents.piece(content) or "")
  end))

  it("is not kept when there is no folder, or too much of it", loop.spec(function()
    local function fill(writer)
      for _ = 1, 10 do
        local ok, failure = writer:write(PIECE)
        if not ok then return failure end
      end
    end
    local writer = contents.writer "/nowhere"
    local failure = fill(writer)
    assert.equal("insufficient_storage", failure.code)
    assert.same({ nil, failure }, { writer:write "x" })
    assert.same(failure, select(2, writer:finish()))
    local folder, taken = tempdir.new(), {}
    for i = 1, 4 do taken[i] = written(folder, 10) end
    assert.equal("unavailable", fill(contents.writer(folder)).code)
    for _, content in ipairs(taken) do contents.close(content) end
    contents.close(written(folder, 10))
  end))

  it("of a file that is there may be cut short meanwhile", loop.spec(function()
    local path = tempdir.new() .. "/x"
    assert.equal("not_found", select(3, spools.open(path)))
    assert.equal("not_found", select(3, spools.open "/tmp"))
    tempdir.write(path, PIECE)
    assert.equal(PIECE, contents.open(path))
    local content = assert(spools.open(path))
    assert.equal(PIECE, contents.piece(content))
    tempdir.write(path, "")
    assert.same({ nil, "it ends too early" }, { contents.piece(content) })
    contents.close(content)
  end))
end)
