--- The reference of all endpoints in docs/api.md, from what the OpenAPI document is made of.
local endpoints = require "veloflux.admin.openapi.endpoint"
local resource_operations = require "veloflux.admin.openapi.resource"
local resources = require "veloflux.admin.resources"
local schemas = require "veloflux.admin.schemas"

local M = {}

local function type_word(schema)
  local values = schema.values
  if values.enum then
    local words = {}
    for i, word in ipairs(values.enum) do words[i] = "`" .. tostring(word) .. "`" end
    return table.concat(words, ", ")
  end
  if values.anyOf then
    local words = {}
    for i, choice in ipairs(values.anyOf) do words[i] = type_word(choice) end
    return table.concat(words, " or ")
  end
  local kind = values.type
  if type(kind) == "table" then kind = table.concat(kind, " or ") end
  if kind == "array" and values.items then return "array of " .. type_word(values.items) end
  return kind or "any"
end

local function add_fields(out, schema)
  out[#out + 1] = "| field | type | |"
  out[#out + 1] = "|---|---|---|"
  local required = {}
  for _, name in ipairs(schema.values.required or {}) do required[name] = true end
  for _, name in ipairs(schema.values.properties.keys) do
    local property = schema.values.properties.values[name]
    local notes = (property.values.description or ""):gsub("|", "\\|")
    if required[name] then notes = "Required. " .. notes end
    if property.values.readOnly then notes = "Read only. " .. notes end
    if property.values.writeOnly then notes = "Answered masked. " .. notes end
    out[#out + 1] = ("| `%s` | %s | %s |"):format(name, type_word(property), notes)
  end
end

--- Returns the endpoints of each tag, and the tags, sorted.
local function grouped(list)
  local by_tag, tags = {}, {}
  for _, endpoint in ipairs(list) do
    local said = endpoints.doc_of(endpoint) or {}
    local tag = said.resource and said.resource.name or said.tag or "system"
    if not by_tag[tag] then
      by_tag[tag], tags[#tags + 1] = {}, tag
    end
    table.insert(by_tag[tag], endpoint)
  end
  table.sort(tags)
  return by_tag, tags
end

local function row_of(endpoint)
  local doc = endpoints.doc_of(endpoint) or {}
  local summary = doc.resource and resource_operations.summary(doc) or doc.summary or ""
  return ("| %s | `%s` | %s | %s |"):format(endpoint.method, endpoint.path,
    endpoint.open == true and "none" or endpoint.permission or "none", summary)
end

--- Returns the reference in Markdown.
-- @param list of endpoints in their order
function M.markdown(list)
  local out = {}
  local by_tag, tags = grouped(list)
  for _, tag in ipairs(tags) do
    out[#out + 1] = "## " .. tag .. "\n"
    out[#out + 1] = "| | | permission | |"
    out[#out + 1] = "|---|---|---|---|"
    for _, endpoint in ipairs(by_tag[tag]) do out[#out + 1] = row_of(endpoint) end
    out[#out + 1] = ""
    if resources[tag] then
      add_fields(out, schemas.of(resources[tag]))
      out[#out + 1] = ""
    end
  end
  return table.concat(out, "\n")
end

return M
