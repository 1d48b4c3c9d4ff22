--- The conf file is read again, and published when it is good.
local pdk = require "veloflux.pdk"

local JSON, PROBLEM = "application/json", "application/problem+json"

local function reload(request)
  local result, problem = pdk.configuration.reload { dry_run = request.dry_run }
  if not result then return problem end
  result.status = result.dry_run and "dry_run" or "reloaded"
  return 200, result
end

return {
  { method = "POST", path = "/api/reload", permission = "system:reload", tag = "config", request_type = "*/*",
    request_optional = true, dry_run = true, probation = false, timeout = "1h", handler = reload,
    summary = "Reads the conf file again and publishes it.", openapi = { answers = {
      ["200"] = { "It is live.", { [JSON] = { type = "object" } } },
      ["422"] = { "It was refused; nothing has changed.", { [PROBLEM] = "Problem" } },
      ["503"] = { "A process cannot serve it for now; nothing has changed.", { [PROBLEM] = "Problem" } } } } },
}
