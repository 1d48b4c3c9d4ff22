--- The pieces of an OpenAPI document: schemas, parameters, content and answers, as objects of json_schema.
local json_schema = require "veloflux.plugin.json_schema"
local sorted = require "veloflux.sorted"

local object = json_schema.object

local M = { JSON = "application/json", PROBLEM = "application/problem+json", STRING = { type = "string" } }
local STRING, PROBLEM = M.STRING, M.PROBLEM

--- Turns plain tables into objects with sorted keys; lists and objects stay.
local function plain(value)
  if type(value) ~= "table" or getmetatable(value) or value[1] ~= nil then return value end
  local out = object()
  for _, name in ipairs(sorted.names(value)) do out:set(name, plain(value[name])) end
  return out
end
M.plain = plain

--- Returns what the schema of a resource is called among the components.
function M.component_name(resource)
  local name = resource.noun:gsub("%s+(%a)", string.upper)
  return name:sub(1, 1):upper() .. name:sub(2)
end

local function ref(name) return object("$ref", "#/components/schemas/" .. name) end
M.ref = ref

--- Returns a schema as an object: given as one, as a plain table, or as the name of a component.
local function schema_of(schema)
  if type(schema) == "string" then return ref(schema) end
  return plain(schema or {})
end
M.schema_of = schema_of

--- Returns the content of {media type = schema}.
local function content(media)
  local out = object()
  for _, kind in ipairs(sorted.names(media)) do
    out:set(kind:match "^[^;]+", object("schema", schema_of(media[kind])))
  end
  return out
end
M.content = content

--- Returns an answer that is a problem document.
function M.problem_answer(description)
  return object("description", description, "content", content { [PROBLEM] = "Problem" })
end

function M.header(description, schema) return object("description", description, "schema", plain(schema)) end

-- Parameters ------------------------------------------------------------------------------------------------

local function parameter(place, name, schema, description, is_required)
  return object("name", name, "in", place, "description", description, "required", is_required or nil,
    "schema", plain(schema))
end

local PATH_NAMES = { id = "Its id.", pool_name = "The name of the pool.", consumer = "The name of the consumer.",
  kind = "The kind.", version = "The number of a version." }

--- Returns those of a path as a list: what stands in braces.
function M.path_parameters(path)
  local list = {}
  for name in path:gmatch "{([%w_]+)}" do
    list[#list + 1] = parameter("path", name, STRING, PATH_NAMES[name], true)
  end
  return list
end

--- Returns those of a query as a list.
-- @param rows list of {name, schema, description, is_required}
function M.query_parameters(rows)
  local list = {}
  for i, row in ipairs(rows) do list[i] = parameter("query", row[1], row[2], row[3], row[4]) end
  return list
end

--- Adds all of `list` behind `parameters`.
function M.add(parameters, list)
  for _, row in ipairs(list) do parameters[#parameters + 1] = row end
end

-- Rows of queries that many endpoints take.
M.TENANT = { "tenant_id", STRING, "The tenant whose it is; `default` when left out." }
M.DRY = { "dry_run", { type = "boolean" }, "Only say what would change." }
M.WAIT = { "wait", { type = "string", enum = { "cluster" } },
  "Answer when all live nodes serve it, or after 5 s as 202 with the others in VeloFlux-Lagging-Nodes." }

local function field(name, description) return parameter("header", name, STRING, description) end

-- Header fields that they take.
M.PREFER = field("Prefer", "`handling=lenient`: unknown fields are ignored.")
M.IF_MATCH = field("If-Match", "Only if its ETag is one of these.")
M.IF_VERSION = field("If-Match", "Only if the ETag of `/api/config`, the version of the system, is one of these.")
M.IF_NONE_MATCH = field("If-None-Match", "304 if its ETag is one of these.")
M.KEY = field("Idempotency-Key", "Repeating the request within 24 hours gives the first answer again.")

-- Failures --------------------------------------------------------------------------------------------------

local WORDS = { ["400"] = "The request is not valid: `errors` points at each wrong field.",
  ["401"] = "Authentication is needed.", ["403"] = "Not allowed.", ["404"] = "There is none.",
  ["406"] = "The client does not take JSON.", ["409"] = "It conflicts with another: `detail` names it.",
  ["412"] = "A precondition does not hold.", ["413"] = "The body is too large.",
  ["415"] = "The body is of another media type.",
  ["507"] = "The disk is full; nothing has changed.", ["422"] = "The Idempotency-Key was used for another request.",
  ["503"] = "The store is not available; nothing has changed." }

--- Adds what these statuses always mean to the answers.
function M.add_failures(answers, statuses)
  for _, status in ipairs(statuses) do answers:set(status, M.problem_answer(WORDS[status])) end
end

return M
