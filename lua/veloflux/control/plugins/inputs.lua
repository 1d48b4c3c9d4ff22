--- What a request to an endpoint of a plugin brings, judged by the schemas of its definition: query and body become
-- plain tables with defaults filled in.
local author = require "veloflux.plugin.author"
local bodies = require "veloflux.admin.body"
local conf = require "veloflux.conf"
local documents = require "veloflux.control.plugins.documents"
local document = require "veloflux.model.document"
local json = require "veloflux.pdk.json"
local json_schema = require "veloflux.plugin.json_schema"
local problem = require "veloflux.admin.problem"
local query = require "veloflux.admin.query"
local reader = require "veloflux.model.reader"
local values = require "veloflux.control.values"
local view = require "veloflux.model.view"

local M = {}

local function no_environment() return nil end

--- Reads a value, decoded JSON, by a type. Returns a plain table, or nil and a list of {pointer, detail}.
local function read(made, value)
  local text = json.encode(values.literal(value))
  local doc, bad = document.parse(text, "request")
  if not doc then return nil, { { pointer = "", detail = bad.message } } end
  local where = reader.new(no_environment)
  where:open(doc, "/")
  local record = made.compiled.read(where, 0)
  if #where.problems == 0 and record then return author.plain(made.compiled, record) end
  local errors = {}
  for i, found in ipairs(where.problems) do
    errors[i] = { pointer = conf.pointer(found), detail = found.message, rule = found.rule }
  end
  return nil, errors
end

local function invalid(errors)
  local first = errors[1]
  local place = first.parameter or first.pointer:sub(2)
  return problem.new("invalid", (place ~= "" and place .. ": " or "") .. first.detail, { errors = errors })
end

--- In JSON a text is a text: what the conf file would read as one, such as a number, is none. (view.mistyped lets
-- texts out of a set be numbers, as versions may.)
local function check_texts(attr, value, pointer, errors)
  if value == json.null then return end
  if attr.type == "string" then
    if type(value) ~= "string" and type(value) ~= "table" then
      errors[#errors + 1] = { pointer = pointer, detail = "expected a text", rule = "type" }
    end
    return
  end
  if type(value) ~= "table" then return end
  for key, inner in pairs(value) do
    local of = attr.by_name and attr.by_name[key] or attr.elements or attr.values
    local step = type(key) == "number" and key - 1 or tostring(key):gsub("~", "~0"):gsub("/", "~1")
    if of then check_texts(of, inner, pointer .. "/" .. step, errors) end
  end
end

--- Reads a body. Returns a plain table, or nil and what is wrong, in the order of the pointers.
local function read_body(made, value)
  local errors = {}
  check_texts(made.config, value, "", errors)
  local plain, found = read(made, value)
  local seen = {}
  for _, fault in ipairs(errors) do seen[fault.pointer] = true end
  for _, list in ipairs { view.mistyped(made.compiled, value), found or {} } do
    for _, fault in ipairs(list) do
      if not seen[fault.pointer] then errors[#errors + 1] = fault end
      seen[fault.pointer] = true
    end
  end
  if plain and #errors == 0 then return plain end
  table.sort(errors, function(a, b) return a.pointer < b.pointer end)
  return nil, errors
end

--- Null stands for the default.
local function without_null(value)
  local copy = {}
  for name, inner in pairs(value) do
    if inner ~= json.null then copy[name] = inner end
  end
  return copy
end

-- Query ---------------------------------------------------------------------------------------------

local IS_LIST = { array = true, set = true, list = true }

local function known_of(definition)
  local known = { dry_run = definition.takes_dry_run or nil }
  for name in pairs(definition.query and definition.query.config.by_name or {}) do known[name] = true end
  return known
end

local function wrong(name, detail)
  return invalid { { parameter = name, pointer = "?" .. name, detail = detail } }
end

--- Refuses what the endpoint does not know. Returns nil, or a problem.
local function unknown(names, known)
  local expected, errors = {}, {}
  for name in pairs(known) do expected[#expected + 1] = name end
  table.sort(expected)
  for _, name in ipairs(names) do
    if not known[name] then
      errors[#errors + 1] = { parameter = name, pointer = "?" .. name, detail = "unknown, "
        .. (#expected > 0 and "expected " .. table.concat(expected, ", ") or "this takes none") }
    end
  end
  return #errors > 0 and invalid(errors) or nil
end

--- Reads the query.
-- @return a plain table and whether it is a dry run; or nil, nil and a problem
function M.query(definition, request)
  if definition.any_query then return {}, false end
  local params, names = query.parse(request.query)
  if not params then return nil, nil, names end
  local bad = unknown(names, known_of(definition))
  if bad then return nil, nil, bad end
  local is_dry = false
  if definition.takes_dry_run then
    is_dry, bad = query.flag(params, "dry_run")
    if bad then return nil, nil, bad end
  end
  if not definition.query then return {}, is_dry end
  local value = {}
  for name, attr in pairs(definition.query.config.by_name) do
    local given = params[name]
    if given and IS_LIST[attr.type] then
      value[name] = json.array(given)
    elseif given and #given > 1 then
      return nil, nil, wrong(name, "given twice")
    elseif given then
      value[name] = attr.type == "boolean" and given[1] == "" and "true" or given[1]
    end
  end
  local plain, errors = read(definition.query, value)
  if plain then return plain, is_dry end
  for _, found in ipairs(errors) do
    found.parameter = found.pointer:match "^/([^/]+)" or ""
    found.pointer = "?" .. found.parameter
  end
  return nil, nil, invalid(errors)
end

-- Body ----------------------------------------------------------------------------------------------

local function media_type(request)
  return ((request.headers["content-type"] or ""):match "^%s*([^;%s]+)" or ""):lower()
end

--- Bodies that no schema says anything about are given as they are, if their media type is one that is taken.
local function raw_body(definition, request)
  local content = request.spool or request.body
  if definition.max_bytes then content = documents.new(content) end
  if request.body == "" and definition.request_is_optional then return content end
  local kind = media_type(request)
  local is_plain = (request.headers["content-encoding"] or "identity"):lower() == "identity"
  for _, wanted in ipairs(definition.request_types) do
    if is_plain and (wanted == "*/*" or wanted == kind) then return content end
  end
  local accepted = table.concat(definition.request_types, ", ")
  return nil, problem.new("unsupported_media_type", ("The body has to be %s."):format(accepted),
    { headers = { "Accept-Post", accepted } })
end

--- An endpoint without a schema takes no field at all.
local function empty_body(request)
  if request.body == "" then return nil end
  local value, bad = bodies.read(request, bodies.JSON)
  if not value then return nil, bad end
  local errors = {}
  for name in pairs(value) do
    errors[#errors + 1] = { pointer = "/" .. tostring(name):gsub("~", "~0"):gsub("/", "~1"),
      detail = "unknown key, this takes none" }
  end
  table.sort(errors, function(a, b) return a.pointer < b.pointer end)
  if #errors > 0 then return nil, invalid(errors) end
end

--- Reads the body.
-- @return a plain table, a text, or nil when the endpoint takes none; and perhaps a problem
function M.body(definition, request)
  if request.method == "GET" or request.method == "HEAD" then return nil end
  local kind = request.method == "PATCH" and bodies.MERGE_PATCH or bodies.JSON
  if definition.takes_object then return bodies.read(request, kind, definition.request_is_optional) end
  if definition.request_types and not definition.request then return raw_body(definition, request) end
  if not definition.request then return empty_body(request) end
  local value, bad = bodies.read(request, kind, definition.request_is_optional)
  if not value then return nil, bad end
  value = without_null(value)
  if bodies.prefers(request, "handling=lenient") then view.strip(definition.request.compiled, value) end
  local plain, errors = read_body(definition.request, value)
  if plain then return plain end
  return nil, invalid(errors)
end

-- Documentation -------------------------------------------------------------------------------------

--- Returns the parameters of the query for the OpenAPI document: list of {name, schema, description, is_required}.
function M.parameters(definition)
  local rows = {}
  for _, single in ipairs(definition.query and definition.query.config.fields or {}) do
    local name, attr = next(single)
    rows[#rows + 1] = { name, json_schema.of(attr), attr.description, attr.required }
  end
  if definition.takes_dry_run then
    rows[#rows + 1] = { "dry_run", { type = "boolean" }, "Only say what would change." }
  end
  return rows
end

return M
