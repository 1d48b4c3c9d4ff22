--- Writes the reference of the plugin API, docs/plugins/api.md, from the annotations and the modules
-- themselves: luajit scripts/pdk_reference.lua >docs/plugins/api.md (see scripts/docs.sh).
package.path = "./scripts/?.lua;" .. package.path
local surface = require "pdk.surface"

local M = {}

local PREAMBLE = [[
# The plugin API

<!-- Made by scripts/docs.sh from the annotations in lua/veloflux/pdk: change those. -->

`local pdk = require "veloflux.pdk"` gives the groups below; each is loaded on first use. Names and semantics of
the functions that Kong's plugin development kit has, too, are the same ([porting](porting.md)).

- A mistake of the caller (a value of the wrong type, a phase where the function makes no sense) raises an error,
  at the plugin's line. What can go wrong at run time returns nil and a message; network functions add a stable
  code.
- *Phases* says where a function may be called: in these phases; *any* phase, timers and other background work
  included; or *anywhere*, even while the plugin's code is loaded. The lists come from the code.
- *May wait*: the request (or timer) that calls it stands still meanwhile, nothing else does. Each function may
  be called in every phase that is named, for all phases may wait.

## For editors

The annotations are those of the [Lua language server](https://luals.github.io). `make install` puts the sources
to `PREFIX/share/veloflux/lua`; this `.luarc.json` in a plugin's folder turns on completion and type checks:

```json
{
  "runtime.version": "LuaJIT",
  "workspace.library": ["/usr/local/share/veloflux/lua"],
  "workspace.checkThirdParty": false
}
```
]]

--- A comment as Markdown: what is indented is an example.
local function paragraphs(lines)
  local out, code = {}, nil
  local function close()
    while out[#out] == "" do out[#out] = nil end
    out[#out + 1], out[#out + 2], code = "```", "", nil
  end
  for _, line in ipairs(lines) do
    local indent = line:match "^   ?( *)%S" and line:match "^ +"
    if indent and not code then
      if out[#out] ~= "" then out[#out + 1] = "" end
      out[#out + 1], code = #indent >= 4 and "```lua" or "```", #indent
    end
    if not indent and code and line ~= "" then close() end
    out[#out + 1] = code and line:sub(code + 1) or line
  end
  if code then close() end
  return table.concat(out, "\n")
end

local function text_of(lines) return (paragraphs(lines):gsub("^%s+", ""):gsub("%s+$", "")) end

local function code(type) return "`" .. type .. "`" end

local function with_text(start, text) return text ~= "" and start .. ": " .. text or start end

local function add_signature(out, doc)
  for _, param in ipairs(doc.params) do
    local optional = param.is_optional and ", optional" or ""
    out[#out + 1] = with_text(("- %s (%s%s)"):format(code(param.name), code(param.type), optional), param.text)
  end
  for _, result in ipairs(doc.returns) do
    local name = result.name and code(result.name) .. " " or ""
    out[#out + 1] = with_text(("- returns %s(%s)"):format(name, code(result.type)), result.text)
  end
end

local function arguments(doc)
  local names = {}
  for i, param in ipairs(doc.params) do
    local is_optional = param.is_optional or param.type:find "|nil"
    names[i] = is_optional and param.name ~= "..." and param.name .. "?" or param.name
  end
  return table.concat(names, ", ")
end

local function where(phases)
  if phases == "anywhere" then return "anywhere" end
  if phases == "task" then return "any" end
  return table.concat(phases, ", ")
end

local function add_function(out, entry)
  local doc = assert(entry.doc, entry.name .. " has no docstring")
  out[#out + 1] = ("\n#### `%s(%s)`\n"):format(entry.name, arguments(doc))
  out[#out + 1] = text_of(doc.lines) .. "\n"
  add_signature(out, doc)
  out[#out + 1] = ("- phases: %s%s"):format(where(entry.phases), doc.is_async and "; may wait" or "")
end

local function add_fields(out, fields)
  for _, field in ipairs(fields) do
    local optional = field.is_optional and ", optional" or ""
    out[#out + 1] = with_text(("- %s (%s%s)"):format(code(field.name), code(field.type), optional), field.text)
  end
end

local function add_object(out, object)
  local class = object.class
  out[#out + 1] = ("\n#### %s\n"):format(code(class.name))
  if #class.lines > 0 then out[#out + 1] = text_of(class.lines) .. "\n" end
  add_fields(out, class.fields)
  local variable = class.name:match "[%w_]+$":lower()
  for _, doc in ipairs(object.methods) do
    out[#out + 1] = ("\n##### `%s:%s(%s)`\n"):format(variable, doc.name, arguments(doc))
    out[#out + 1] = text_of(doc.lines) .. "\n"
    add_signature(out, doc)
    if doc.is_async then out[#out + 1] = "- may wait" end
  end
end

local function is_group(field) return field.type:find "^pdk%." ~= nil end

local function add_group(out, group)
  out[#out + 1] = ("\n### pdk.%s\n"):format(group.name)
  out[#out + 1] = text_of(group.lines)
  local fields = {}
  for _, field in ipairs(group.class.fields) do
    if not is_group(field) then fields[#fields + 1] = field end
  end
  if #fields > 0 then out[#out + 1] = "" end
  add_fields(out, fields)
  for _, entry in ipairs(group.functions) do add_function(out, entry) end
  for _, object in ipairs(group.objects) do add_object(out, object) end
end

--- Returns the page.
function M.render()
  local out = { PREAMBLE }
  local groups = surface.groups()
  out[#out + 1] = "## Groups\n"
  for _, group in ipairs(groups) do
    out[#out + 1] = ("- [pdk.%s](#pdk%s)"):format(group.name, (group.name:gsub("%.", "")))
  end
  for _, group in ipairs(groups) do add_group(out, group) end
  return (table.concat(out, "\n"):gsub("\n\n\n+", "\n\n")) .. "\n"
end

if arg and arg[0] and arg[0]:find "pdk_reference%.lua$" then io.write(M.render()) end

return M
