--- `veloflux plugin new`: the files of a plugin that does something small, with a spec that says so.
local ffi = require "ffi"
local files = require "veloflux.conf.files"
local sources = require "veloflux.plugin.sources"

ffi.cdef [[
int vf_file_create(const char *path, const char *data, size_t len, uint32_t mode);
int vf_file_make_folder(const char *path, uint32_t mode);
]]
local C = ffi.C

local M = {}

local FILE, FOLDER = tonumber("644", 8), tonumber("755", 8)
local MOST_BYTES = 64

local HANDLER = [[
--- Tells backends and clients that a request came through here.
local pdk = require "veloflux.pdk"

local Plugin = { PRIORITY = 1000, VERSION = "0.1.0" }

--- Before the request goes to a backend.
function Plugin:access(conf)
  pdk.service.request.set_header(conf.header, conf.value)
end

--- Before the head of the answer goes to the client.
function Plugin:header_filter(conf)
  pdk.response.set_header(conf.header, conf.value)
end

return Plugin
]]

local SCHEMA = [[
return {
  header = { type = "string", default = "X-Through", match = "^[%w-]+$", err = "expected the name of a header field",
    order = 1, description = "The header field that is set." },
  value = { type = "string", default = "NAME", len_max = 200, order = 2, description = "What it says." },
}
]]

local README = [[
# NAME

Sets a header field of requests on their way to a backend and of answers on their way to the client.

```yaml
plugin_path: [ ../plugins ]
routes:
  - name: site
    path_prefix: /
    pool: web
    plugins: [ { name: NAME, config: { value: hello } } ]
```

    veloflux plugin test .    # runs spec/NAME_spec.lua
    veloflux plugin docs .    # the reference of its configuration
]]

local SPEC = [[
local kit = require "veloflux.kit"

describe("NAME", function()
  it("tells the backend and the client", function()
    local gateway = kit.start {
      config = { value = "hello" },
      upstream = function(request)
        return { status = 200, body = "seen: " .. (request.headers["x-through"] or "nothing") }
      end,
    }
    local answer = gateway:request { path = "/" }
    assert.equal(200, answer.status)
    assert.equal("seen: hello", answer.body)
    assert.equal("hello", answer.headers["x-through"])
  end)

  it("has a value when none is configured", function()
    local gateway = kit.start()
    assert.equal("NAME", gateway:request({}).headers["x-through"])
  end)

  it("refuses what is no name of a header field", function()
    local problems = kit.validate { header = "no name" }
    assert.equal("header", problems[1].path)
    assert.matches("expected the name of a header field", problems[1].message)
  end)
end)
]]

local CONTROL_ENTITIES = [[
--- What is stored: at /api/NAME-notes, versioned, in exports and backups, with all that the admin API offers.
return {
  {
    kind = "NAME-notes",
    noun = "note",
    description = "Notes.",
    schema = {
      text = { type = "string", required = true, len_max = 500, order = 1, description = "What it says." },
    },
    indexes = { "text" },
  },
}
]]

local CONTROL_API = [[
--- An endpoint of the admin API: finds notes by a word.
local pdk = require "veloflux.pdk"

local function find(request)
  local names = pdk.json.array()
  for _, note in ipairs(pdk.model.list "NAME-notes") do
    if note.text:find(request.query.word, 1, true) then names[#names + 1] = note.name end
  end
  return 200, names
end

return {
  {
    method = "GET", path = "/api/NAME-notes-with", permission = "SUBJECT:read", summary = "Finds notes by a word.",
    query = { word = { type = "string", required = true, description = "A part of the text." } },
    handler = find,
  },
}
]]

local CONTROL_README = [[
# NAME

Keeps notes, which the admin API finds by a word.

```yaml
plugin_path: [ ../plugins ]    # its folder in there is enough: nothing has to name it
```

    curl -X POST localhost:8080/api/NAME-notes -H 'Content-Type: application/json' -d '{"name": "a", "text": "hello"}'
    curl localhost:8080/api/NAME-notes-with?word=hello

    veloflux plugin test .    # runs spec/NAME_spec.lua
]]

local CONTROL_SPEC = [[
local kit = require "veloflux.kit"

describe("NAME", function()
  local gateway
  before_each(function() gateway = kit.start { control = true } end)

  local function post(note) return gateway:call { method = "POST", path = "/api/NAME-notes", body = note } end

  it("finds notes by a word", function()
    assert.equal(201, post({ name = "a", text = "hello there" }).status)
    assert.equal(201, post({ name = "b", text = "good bye" }).status)
    local answer = gateway:call { path = "/api/NAME-notes-with?word=hello",
      identity = { name = "ana", permissions = { "SUBJECT:read" } } }
    assert.equal(200, answer.status)
    assert.same({ "a" }, answer.body)
  end)

  it("tells those who may know", function()
    assert.equal(403, gateway:call({ path = "/api/NAME-notes-with?word=a", identity = { role = "user" } }).status)
    assert.equal(401, gateway:call({ path = "/api/NAME-notes-with?word=a", identity = false }).status)
  end)

  it("refuses a note without a text", function()
    local answer = post { name = "a" }
    assert.equal(400, answer.status)
    assert.equal("/text", answer.body.errors[1].pointer)
  end)
end)
]]

--- Says why a plugin cannot be called so; nil when it can.
local function name_problem(name)
  if #name > MOST_BYTES then return ("a name has at most %d characters"):format(MOST_BYTES) end
  if not name:find "^%l[%l%d-]*$" or name:find "%-$" or name:find "%-%-" then
    return ("%q is no name for a plugin: small letters, digits and single dashes, a letter first"):format(name)
  end
  for _, known in ipairs(sources.names {}) do
    if known == name then return ("a plugin called %s is shipped: another name is needed"):format(name) end
  end
end

local function strerror(rc) return rc == -13 and "permission denied" or "error " .. -rc end

--- Makes the folder of a plugin.
-- @param name of the plugin
-- @param dir the folder that it comes into, made when it is not there
-- @param for_control true: one that works in control instead of one with a handler
-- @return the folder and the list of files; or nil and a message
function M.create(name, dir, for_control)
  local problem = name_problem(name)
  if problem then return nil, problem end
  local folder = (dir == "." and "" or dir:gsub("/+$", "") .. "/") .. name
  if files.real_path(folder) then return nil, folder .. " is there already; nothing was changed" end
  local spec = ("spec/%s_spec.lua"):format(name)
  local texts = for_control and { { "entities.lua", CONTROL_ENTITIES }, { "api.lua", CONTROL_API },
    { "README.md", CONTROL_README }, { spec, CONTROL_SPEC } }
    or { { "handler.lua", HANDLER }, { "schema.lua", SCHEMA }, { "README.md", README }, { spec, SPEC } }
  local rc = C.vf_file_make_folder(folder .. "/spec", FOLDER)
  if rc ~= 0 then return nil, ("%s cannot be created: %s"):format(folder, strerror(rc)) end
  local created, subject = {}, name:gsub("[%d-]+", "_"):gsub("_*$", "_notes", 1)
  for i, entry in ipairs(texts) do
    local path, text = folder .. "/" .. entry[1], entry[2]:gsub("SUBJECT", subject):gsub("NAME", name)
    rc = C.vf_file_create(path, text, #text, FILE)
    if rc ~= 0 then return nil, ("%s cannot be created: %s"):format(path, strerror(rc)) end
    created[i] = path
  end
  return folder, created
end

return M
