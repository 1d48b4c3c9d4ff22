local pdk = require "veloflux.pdk"

--- The notices as a dashboard shows them, warnings first.
local function frame()
  local list = pdk.json.array()
  for _, severity in ipairs { "warning", "info" } do
    for _, notice in ipairs(pdk.model.list("notices", { where = { severity = severity } })) do
      list[#list + 1] = { name = notice.name, text = notice.text, severity = severity, pool = notice.pool }
    end
  end
  return list
end

return {
  {
    path = "/api/ws/notices", permission = "notices:read", type = "notices", summary = "The notices, live.",
    watch = pdk.versions.current, -- another version: perhaps other notices
    frame = frame,
  },
}
