local pdk = require "veloflux.pdk"

--- Answers how many notices there are of each severity.
local function count(request)
  local counts = {}
  for _, severity in ipairs { "info", "warning" } do
    local list = pdk.model.list("notices", { where = { severity = severity, pool = request.query.pool } })
    counts[severity] = #list
  end
  return 200, counts
end

--- Moves the end of a notice, as one version of the configuration. `?dry_run=true` says what would change.
local function extend(request)
  local notice = pdk.model.find("notices", request.params.name)
  if not notice then return pdk.problem.new("not_found", "There is no notice of this name.") end
  local from = math.max(notice.until_ms or 0, os.time() * 1000)
  local result, problem = pdk.transaction.apply({
    { op = "merge", kind = "notices", name = notice.name, if_match = notice.version,
      value = { until_ms = from + request.body.minutes * 60000 } },
  }, { reason = request.body.reason })
  if not result then return problem end
  if result.dry_run then return 200, result.preview end
  return 200, result.objects[1]
end

return {
  {
    method = "GET", path = "/api/notices-count", permission = "notices:read", summary = "Counts the notices.",
    query = { pool = { type = "string", description = "Only those about this pool." } },
    response = { info = { type = "integer" }, warning = { type = "integer" } },
    handler = count,
  },
  {
    method = "POST", path = "/api/notices/{name}/extend", permission = "notices:write", dry_run = true,
    summary = "Lets a notice stand for longer.",
    request = {
      minutes = { type = "integer", required = true, between = { 1, 10080 } },
      reason = { type = "string", len_max = 200 },
    },
    handler = extend,
  },
}
