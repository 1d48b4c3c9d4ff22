--- Cross-origin resource sharing (Fetch standard): tells browsers whose pages may read answers, and answers
-- their preflight requests without a backend.
local pdk = require "veloflux.pdk"
local origins = require "veloflux.plugins.cors.origins"

local request, response = pdk.request, pdk.response

local Plugin = { PRIORITY = 2000, VERSION = "1.0.0" } -- before authentication: preflights have no credentials

local ORIGIN, CREDENTIALS = "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials"

local plans = setmetatable({}, { __mode = "k" }) -- configuration -> what is made of it once

local function joined(list) return list and list[1] and table.concat(list, ",") or nil end

local function plan_of(conf)
  local plan = plans[conf]
  if not plan then
    local made = origins.compile(conf.origins or {})
    plan = { origins = made, methods = joined(conf.methods), headers = joined(conf.headers),
      exposed = joined(conf.exposed_headers), max_age = conf.max_age and ("%.14g"):format(conf.max_age),
      varies = not made.any or conf.credentials or not conf.allow_origin_absent }
    plans[conf] = plan
  end
  return plan
end

--- Returns what Access-Control-Allow-Origin is, or nil: the page may not read the answer.
local function allowed_origin(conf, plan, origin)
  if plan.origins.any then return conf.credentials and origin or "*" end
  if plan.origins.single then return plan.origins.single end
  return origin and origins.match(plan.origins, origin)
end

local function is_preflight()
  return request.get_method() == "OPTIONS" and request.get_header "origin" ~= nil
    and request.get_header "access-control-request-method" ~= nil
end

local function preflight_fields(conf, plan, allowed)
  local fields = { Vary = plan.varies and "Origin" or nil }
  if not allowed then return fields end
  fields[ORIGIN] = allowed
  fields[CREDENTIALS] = conf.credentials and "true" or nil
  fields["Access-Control-Allow-Methods"] = plan.methods
  fields["Access-Control-Allow-Headers"] = plan.headers or request.get_header "access-control-request-headers"
  fields["Access-Control-Max-Age"] = plan.max_age
  if conf.private_network and request.get_header "access-control-request-private-network" == "true" then
    fields["Access-Control-Allow-Private-Network"] = "true"
  end
  return fields
end

function Plugin:access(conf)
  if not is_preflight() or conf.preflight_continue then return end
  local plan = plan_of(conf)
  local allowed = allowed_origin(conf, plan, request.get_header "origin")
  return response.exit(200, nil, preflight_fields(conf, plan, allowed))
end

--- Adds Vary: Origin, unless it is there.
local function vary()
  if not response.get_header "vary" then return response.add_header("Vary", "Origin") end
  local values = response.get_header_values "vary"
  for i = 1, #values do
    local value = values[i]
    if value == "*" or value:lower() == "origin" then return end
  end
  response.add_header("Vary", "Origin")
end

--- What the backend says of origins is not added to: this configuration counts.
function Plugin:header_filter(conf)
  if is_preflight() then return end -- answered by access, or the backend's business
  local plan, origin = plan_of(conf), request.get_header "origin"
  if plan.varies then vary() end
  if not origin and not conf.allow_origin_absent then return end
  local allowed = allowed_origin(conf, plan, origin)
  if allowed then response.set_header(ORIGIN, allowed) else response.clear_header(ORIGIN) end
  if conf.credentials and allowed and allowed ~= "*" then
    response.set_header(CREDENTIALS, "true")
  else
    response.clear_header(CREDENTIALS)
  end
  if plan.exposed then response.set_header("Access-Control-Expose-Headers", plan.exposed) end
end

return Plugin
