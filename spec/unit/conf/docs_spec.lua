--- What the docs and the shipped conf say is what the schemas say.
local fixture = require "unit.conf.fixture"
local conf = require "veloflux.conf"
local grammar = require "veloflux.conf.grammar"
local reference = require "veloflux.model.reference"

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

describe("docs/configuration.md", function()
  local page = read "docs/configuration.md"

  it("has the reference that the schemas make (else run scripts/docs.sh)", function()
    local _, stop = page:find "<!%-%- From here on made by[^\n]*\n\n"
    assert.equal(reference.markdown(grammar.file), (page:sub(stop + 1):gsub("%s+$", "")) .. "\n")
  end)

  it("shows a conf that is good", function()
    assert.is_table(fixture.model(page:match "```yaml\n(.-)```"))
  end)
end)

describe("every setting", function()
  local function visit(compiled, path)
    if compiled.fields then
      for _, pair in ipairs(compiled.fields) do
        local attr = pair[2].attr
        if not attr.hidden then assert.is_string(attr.description, path .. "." .. pair[1]) end
        visit(pair[2], path .. "." .. pair[1])
      end
    end
    if compiled.element then visit(compiled.element, path .. "[]") end
    if compiled.value then visit(compiled.value, path .. ".*") end
    for _, form in pairs(compiled.forms or {}) do visit(form, path) end
  end

  it("has a description", function() visit(grammar.file, "") end)
end)

describe("conf/veloflux.yaml", function()
  it("is good, and takes its ports from the environment", function()
    local env = { PORT = "1", ADMIN_PORT = "2" }
    local model, problems = conf.load { source = { path = "conf/veloflux.yaml" }, env = env }
    assert.same({}, problems)
    assert.equal(1, model.node.listeners[1].address.port)
    assert.equal(2, model.node.admin.address.port)
    assert.equal(3, #model.pools[1].backends)
  end)
end)
