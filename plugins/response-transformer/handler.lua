--- Changes answers on their way to the client: header fields, and members of JSON objects.
local pdk = require "veloflux.pdk"
local json = require "veloflux.plugins.response-transformer.json"
local planner = require "veloflux.plugins.response-transformer.plan"

local response = pdk.response

local Plugin = { PRIORITY = 800, VERSION = "1.0.0" }

local DIGESTS = { "content-digest", "repr-digest", "digest", "content-md5" }
local PARTIAL_CONTENT = 206

local plans = setmetatable({}, { __mode = "k" }) -- configuration -> plan

local function plan_of(conf)
  local plan = plans[conf]
  if not plan then
    plan = planner.of(conf)
    plans[conf] = plan
  end
  return plan
end

local HEADERS = {}

function HEADERS.remove(name) response.clear_header(name) end

function HEADERS.rename(name, new_name)
  local values = response.get_header_values(name)
  if #values == 0 then return end
  response.clear_header(name)
  response.set_header(new_name, values)
end

function HEADERS.replace(name, value)
  if response.get_header(name) then response.set_header(name, value) end
end

function HEADERS.add(name, value)
  if not response.get_header(name) then response.set_header(name, value) end
end

function HEADERS.append(name, value) response.add_header(name, value) end

--- Says whether the answer's content is JSON that can be changed: its head says so.
local function is_json()
  if response.get_status() == PARTIAL_CONTENT then return false end
  local content_type = response.get_header "content-type"
  local kind = content_type and content_type:lower():match "^%s*([^;%s]+)"
  if kind ~= "application/json" and not (kind and kind:find "^application/[^;]+%+json$") then return false end
  return not response.get_header "content-encoding"
end

--- What the head says of the bytes is not true of others: digests go, a strong ETag becomes a weak one
-- (RFC 9110 section 8.8.1).
local function disown_bytes()
  for _, name in ipairs(DIGESTS) do
    if response.get_header(name) then response.clear_header(name) end
  end
  local etag = response.get_header "etag"
  if etag and etag:sub(1, 1) == '"' then response.set_header("ETag", "W/" .. etag) end
end

function Plugin:header_filter(conf)
  local plan = plan_of(conf)
  if not planner.takes(plan, response.get_status()) then return end
  if plan.json and is_json() then
    pdk.ctx.plugin.is_json = true
    disown_bytes()
  end
  local steps = plan.headers or {}
  for i = 1, #steps do
    local step = steps[i]
    HEADERS[step.operation](step.name, step.value)
  end
end

function Plugin:body_filter(conf)
  local plan = plan_of(conf)
  if not plan.json or not pdk.ctx.plugin.is_json then return end
  local body, problem = response.get_raw_body()
  if problem and not pdk.ctx.plugin.is_told then
    pdk.ctx.plugin.is_told = true
    pdk.log.warn("the answer is left as it is: ", problem)
  end
  if not body or body == "" then return end
  local changed
  changed, problem = json.transform(body, plan.json)
  if changed then return response.set_raw_body(changed) end
  pdk.log.debug("the answer is left as it is: ", problem)
end

function Plugin.phases_of(conf)
  return planner.of(conf).json and { "header_filter", "body_filter" } or { "header_filter" }
end

return Plugin
