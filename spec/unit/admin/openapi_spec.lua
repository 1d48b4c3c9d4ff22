--- The reference in docs/api.md is what the declarations make.
require "support.library"
local admin = require "veloflux.admin"
local docs = require "veloflux.cli.docs"
local openapi = require "veloflux.admin.openapi"
local resources = require "veloflux.admin.resources"
local schemas = require "veloflux.admin.schemas"

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

describe("docs/api.md", function()
  it("has the reference that the declarations make (else run scripts/docs.sh)", function()
    local page = read "docs/api.md"
    local _, stop = page:find "<!%-%- From here on made by[^\n]*\n\n"
    assert.equal((docs.PAGES.api():gsub("%s+$", "")), (page:sub(stop + 1):gsub("%s+$", "")))
  end)
end)

describe("the resources of the admin API", function()
  it("describe every field", function()
    for _, resource in ipairs(resources.ALL) do
      local properties = schemas.of(resource).values.properties
      for _, name in ipairs(properties.keys) do
        assert.is_string(properties.values[name].values.description, resource.name .. "." .. name)
      end
    end
  end)

  it("and the other endpoints say what they do", function()
    for _, endpoint in ipairs(admin.router:all()) do
      local name = endpoint.method .. " " .. endpoint.path
      local doc = assert(openapi.doc_of(endpoint), name .. ": say it in admin/descriptions.lua")
      assert.is_true(doc.resource ~= nil or doc.summary ~= nil, name)
    end
  end)

  it("are all in the router", function()
    for _, resource in ipairs(resources.ALL) do
      for _, form in ipairs(resource.forms) do
        for _, path in pairs(form) do assert.is_table(admin.router:find("GET", path), path) end
      end
    end
  end)
end)
