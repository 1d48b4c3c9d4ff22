--- The reference page of the plugin API and the annotations that it is made of.
package.path = "./scripts/?.lua;" .. package.path
local annotations = require "pdk.annotations"
local reference = require "pdk_reference"

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return text
end

describe("docs/plugins/api.md", function()
  it("is what scripts/docs.sh writes", function()
    assert.is_true(reference.render() == read "docs/plugins/api.md", "run scripts/docs.sh")
  end)
end)

describe("annotations", function()
  local TEXT = [[
--- What the file is for.
-- In two lines.
local x = 1

---@class pdk.thing
---@field size? integer bytes
-- of it
local M = {}

--- Does it.
---@async
---@param name string
---@param how? fun(batch: any[]): boolean?, string? true when done
---@return table|nil thing, string|nil err "truncated"
---@return { a: integer, b: string } both
function M.run(name, how) end

local Thing = {}

--- Nothing to see.
---@private
M.inner = make()
]]

  it("are read with types, names and texts", function()
    local file = annotations.read(TEXT)
    assert.same({ "What the file is for.", "In two lines." }, file.lines)
    assert.equal("pdk.thing", file.classes[1].name)
    assert.equal("M", file.classes[1].variable)
    assert.same({ name = "size", is_optional = true, type = "integer", text = "bytes of it" },
      file.classes[1].fields[1])
    local run, inner = file.entries[1], file.entries[2]
    assert.equal("run", run.name)
    assert.equal("name, how", run.arguments)
    assert.is_true(run.is_async)
    assert.same({ name = "how", is_optional = true, type = "fun(batch: any[]): boolean?, string?",
      text = "true when done" }, run.params[2])
    assert.same({ type = "string|nil", name = "err", text = '"truncated"' }, run.returns[2])
    assert.same({ type = "{ a: integer, b: string }", name = "both", text = "" }, run.returns[3])
    assert.is_true(inner.is_private)
  end)

  it("end where the comment ends", function()
    local file = annotations.read "--- The file.\n\n--- A note.\nlocal y = 2\n\nfunction M.bare() end\n"
    assert.same({}, file.entries)
  end)
end)

describe("the pages of docs/plugins", function()
  local examples = require "docs_examples"
  for _, page in ipairs { "README", "phases", "porting", "control" } do
    it(("show the examples as they are: %s.md"):format(page), function()
      local text = read("docs/plugins/" .. page .. ".md")
      assert.is_true(text:find("<!-- plugins/", 1, true) ~= nil)
      assert.is_true(examples.fill(text) == text, "run scripts/docs.sh")
    end)
  end

  it("have the example that README.md begins with", function()
    local handler = read("docs/plugins/examples/plan/handler.lua"):gsub("^%-%-%-[^\n]*\n", "")
    local code = read("README.md"):match "```lua\n(.-)```"
    assert.equal(code, handler:sub(1, #code))
    assert.is_truthy(read("README.md"):find(read("docs/plugins/README.md"):match "```yaml\n(.-)```", 1, true))
  end)
end)
