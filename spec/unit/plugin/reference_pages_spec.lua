--- docs/plugins/reference says what the schemas of the shipped plugins say.
require "support.library"
local uv = require "luv"
local loader = require "veloflux.plugin.loader"
local reference = require "veloflux.plugin.reference"

local FOLDER = "docs/plugins/reference"

local function read(path)
  local file = io.open(path, "rb")
  local text = file and file:read "*a"
  if file then file:close() end
  return text
end

describe(FOLDER, function()
  local of = loader.new {}

  for _, name in ipairs(of:names()) do
    it(("has the page of %s that its schema makes (else run scripts/docs.sh)"):format(name), function()
      local plugin = assert(of:find(name))
      assert.is_true(read(("%s/%s.md"):format(FOLDER, name)) == reference.markdown(plugin), "run scripts/docs.sh")
    end)
  end

  it("has no page of a plugin that is not shipped", function()
    local shipped, entries = {}, assert(uv.fs_scandir(FOLDER))
    for _, name in ipairs(of:names()) do shipped[name .. ".md"] = true end
    for entry in function() return (uv.fs_scandir_next(entries)) end do
      assert.is_true(shipped[entry], entry .. ": run scripts/docs.sh")
    end
  end)

  it("describes every field", function()
    local function visit(compiled, path)
      for _, pair in ipairs(compiled.fields or {}) do
        local says = pair[2].attr.description or pair[2].fields -- a record may leave it to its fields
        assert.is_truthy(says, path .. "." .. pair[1] .. " has no description")
        visit(pair[2], path .. "." .. pair[1])
      end
    end
    for _, name in ipairs(of:names()) do visit(assert(of:find(name)).compiled, name) end
  end)
end)
