--- Up to 10,000 operations in one request. Long batches, and those whose client prefers it, go on after the answer.
local pdk = require "veloflux.pdk"
local documented = require "veloflux.plugins.bulk.documented"

local PLACE = "/api/bulk/operations"
local FIELDS = { "operation_id", "status", "atomic", "total", "done", "succeeded", "failed", "version", "author",
  "created_at", "ended_at" }

local function under_way(batch, is_asked)
  local headers = { "Location", PLACE .. "/" .. batch.operation_id, "Retry-After", "1" }
  if is_asked then headers[#headers + 1], headers[#headers + 2] = "Preference-Applied", "respond-async" end
  return 202, batch, headers
end

local function submit(kind)
  return function(request)
    local is_asked = request.prefers "respond-async"
    local batch, problem, how = pdk.bulk.submit(request.body, { kind = kind, tenant = request.query.tenant_id,
      dry_run = request.dry_run, in_background = is_asked })
    if not batch then return problem end
    if how == "under_way" then return under_way(batch, is_asked) end
    return how == "ended" and batch.failed > 0 and 207 or 200, batch
  end
end

local function list(request)
  local batches, problem = pdk.bulk.list()
  if not batches then return problem end
  return request.list(batches, FIELDS, "-created_at,operation_id")
end

local function get(request)
  local batch, problem = pdk.bulk.get(request.params.id)
  if not batch then return problem end
  local goes_on = batch.status == "running"
  return 200, batch, goes_on and { ["Retry-After"] = "1" } or nil
end

local function cancel(request)
  local batch, problem = pdk.bulk.cancel(request.params.id)
  if not batch then return problem end
  if request.dry_run then
    local shown = { dry_run = true }
    for name, value in pairs(batch) do shown[name] = value end
    return 200, shown
  end
  return 202, batch, { Location = PLACE .. "/" .. request.params.id, ["Retry-After"] = "1" }
end

local function batches(path, kind)
  return { method = "POST", path = "/api/bulk" .. path, permission = "bulk:write", tag = "bulk",
    summary = ("Applies up to 10,000 operations to %s, by default as one transaction."):format(kind or "entities"),
    request_type = "application/json", max_body = "8m", dry_run = true, timeout = "1h",
    query = { tenant_id = { type = "string", description = "Of operations that say none." } },
    openapi = documented.submit(kind), handler = submit(kind) }
end

return {
  batches("", nil), batches("/pools", "pools"), batches("/backends", "backends"), batches("/routes", "routes"),
  { method = "GET", path = PLACE, permission = "bulk:read", tag = "bulk", any_query = true, handler = list,
    summary = "The batches of a day, the newest first, without their results.",
    openapi = documented.list(FIELDS) },
  { method = "GET", path = PLACE .. "/{id}", permission = "bulk:read", tag = "bulk", handler = get,
    summary = "How far a batch is, or how it ended; known for a day.",
    openapi = documented.batch("200", "The batch.") },
  { method = "DELETE", path = PLACE .. "/{id}", permission = "bulk:write", tag = "bulk", handler = cancel,
    summary = "Cancels a batch: what is not applied yet will not be.",
    dry_run = true, probation = false, openapi = documented.cancel() },
}
