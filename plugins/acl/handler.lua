--- Lets those pass who belong to a group, or all but those.
local pdk = require "veloflux.pdk"
local client, upstream = pdk.client, pdk.service.request

local Plugin = { PRIORITY = 950, VERSION = "1.0.0", FAIL_CLOSED = true }

local FORBIDDEN = "You cannot consume this service"
local NONE = {}

-- What follows from a configuration or a list of groups, for as long as that is there.
local sets = setmetatable({}, { __mode = "k" })
local texts = setmetatable({}, { __mode = "k" })

local function set_of(conf)
  local set = sets[conf]
  if not set then
    set = {}
    for _, group in ipairs(conf.allow or conf.deny) do set[group] = true end
    sets[conf] = set
  end
  return set
end

local function is_member(set, groups)
  for i = 1, #groups do
    if set[groups[i]] then return true end
  end
  return false
end

-- Groups come from whoever made a token, too: what cannot stand in the list is not told.
local function text_of(groups)
  local text = texts[groups]
  if not text then
    local shown = {}
    for i = 1, #groups do
      local group = groups[i]
      if type(group) == "string" and group ~= "" and not group:find "[%c,]" then shown[#shown + 1] = group end
    end
    text = table.concat(shown, ", ")
    texts[groups] = text
  end
  return text
end

-- Groups that whoever authenticated the request knows, beside those of the conf.
local function authenticated_groups()
  local groups = pdk.ctx.shared.authenticated_groups
  return type(groups) == "table" and groups or nil
end

-- Returns the groups that count, and whether they are the consumer's own; nil when nobody has been authenticated.
local function groups_of(conf)
  local consumer, credential = client.get_consumer(), client.get_credential()
  if not consumer or not credential or conf.always_use_authenticated_groups then
    local groups = authenticated_groups()
    if groups then return groups, false end
  end
  if consumer then return consumer.groups or NONE, true end
  return credential and NONE or nil, false
end

local function tell(groups, is_own)
  upstream.clear_header "X-Consumer-Groups"
  upstream.clear_header "X-Authenticated-Groups"
  local text = groups and text_of(groups) or ""
  if text ~= "" then upstream.set_header(is_own and "X-Consumer-Groups" or "X-Authenticated-Groups", text) end
end

function Plugin:access(conf)
  local groups, is_own = groups_of(conf)
  if not groups then return pdk.response.error(401) end
  if is_member(set_of(conf), groups) ~= (conf.allow ~= nil) then return pdk.response.error(403, FORBIDDEN) end
  tell(not conf.hide_groups_header and groups, is_own)
end

return Plugin
