--- What the OpenAPI document says of batches, as JSON Schema.
local M = {}

local STRING, INTEGER, BOOLEAN = { type = "string" }, { type = "integer" }, { type = "boolean" }
local JSON = "application/json"
local ACTIONS = { "add", "update", "patch", "replace", "delete", "test" }
local KINDS = { "pools", "backends", "routes", "consumers", "plugins", "tenants", "templates", "certificates" }
local MAX_OPERATIONS = 10000

local RESULT = { type = "object", properties = { index = INTEGER, action = STRING, kind = STRING, id = STRING,
  status = { type = "string", enum = { "ok", "error", "rolled_back", "cancelled", "interrupted" } }, error = STRING,
  code = STRING, pointer = STRING, version = INTEGER } }
local BATCH = { type = "object", properties = { operation_id = STRING, status = { type = "string",
  enum = { "running", "completed", "rolled_back", "cancelled", "interrupted" } }, atomic = BOOLEAN,
  total = INTEGER, done = INTEGER, succeeded = INTEGER, failed = INTEGER, version = INTEGER, laggards = INTEGER,
  author = STRING, summary = STRING, error = STRING, created_at = STRING, ended_at = STRING,
  results = { type = "array", items = RESULT } } }
local ANSWER = { [JSON] = BATCH }

local function body_of(kind)
  local operation = { type = "object", additionalProperties = false, required = kind and { "action" }
    or { "action", "kind" }, properties = { action = { type = "string", enum = ACTIONS },
    kind = { type = "string", enum = kind and { kind } or KINDS }, id = STRING, tenant_id = STRING, pool = STRING,
    consumer = STRING, data = { type = "object" }, if_match = INTEGER } }
  return { type = "object", additionalProperties = false, required = { "operations" }, properties = {
    operations = { type = "array", minItems = 1, maxItems = MAX_OPERATIONS, items = operation }, atomic = BOOLEAN,
    dry_run = BOOLEAN } }
end

function M.submit(kind)
  return { is_idempotent = true, is_of_tenant = true, body = { [JSON] = body_of(kind) },
    parameters = { { "dry_run", BOOLEAN, "Only say what would change." } },
    answers = { ["200"] = { "All are applied, or what would change (dry run).", ANSWER },
      ["202"] = { "They go on; Location says where to look.", ANSWER },
      ["207"] = { "Some failed (`atomic: false`).", ANSWER } } }
end

function M.batch(status, text) return { answers = { [status] = { text, ANSWER } } } end

function M.cancel()
  return { parameters = {}, may_be_tried = "alike", answers = { ["200"] = { "It would end (dry run).", ANSWER },
    ["202"] = { "It ends soon.", ANSWER } } }
end

function M.list(fields)
  local rows = { { "limit", INTEGER, "Batches of a page; all when left out." },
    { "cursor", STRING, "Of the Link header: the next page." }, { "page", INTEGER, "Instead of a cursor, from 1." },
    { "sort", STRING, "Fields, each perhaps after a minus sign." } }
  for _, name in ipairs(fields) do rows[#rows + 1] = { name, STRING, "Only those with this value." } end
  table.sort(rows, function(a, b) return a[1] < b[1] end)
  return { parameters = rows, answers = { ["200"] = { "A list; X-Total-Count says how many there are.",
    { [JSON] = { type = "array", items = BATCH } } } } }
end

return M
