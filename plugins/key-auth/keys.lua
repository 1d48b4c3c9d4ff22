--- Where keys are in a request: found, and taken away before the backend sees them.
local pdk = require "veloflux.pdk"
local encoding, json, request, upstream = pdk.encoding, pdk.json, pdk.request, pdk.service.request

local M = {}

local MISSING, DUPLICATE = "No API key found in request", "Duplicate API key found"
-- Contents that can be written again without the key. Keys in others are not looked for.
local FORM, JSON = "application/x-www-form-urlencoded", "application/json"
local EXACT = { exact = true } -- long integers stay what they are

-- A query that names nothing like it, escapes included, is not decoded.
local function may_have(query, name)
  return query:find(name, 1, true) ~= nil or query:find("%", 1, true) ~= nil or query:find("+", 1, true) ~= nil
end

local function in_header(name)
  local value = request.get_header_at(name, 1)
  if value and request.get_header_at(name, 2) then return nil, DUPLICATE end
  return value
end

-- A value of a decoded query or content that is a key: true stands for a name without value.
local function as_key(value)
  if type(value) == "table" then return nil, DUPLICATE end
  return type(value) == "string" and value or nil
end

local function in_query(name)
  local query = request.get_raw_query()
  if query == "" or not may_have(query, name) then return nil end
  return as_key(request.get_query(1000)[name])
end

-- Returns the type of the content when keys may be in it, or nil.
local function kind_of_content()
  local kind = (request.get_header "content-type" or ""):match "^%s*([^;%s]*)":lower()
  return (kind == FORM or kind == JSON) and kind or nil
end

-- Returns the decoded content, or nil.
local function content()
  local kind = kind_of_content()
  return kind and request.get_body(kind, 1000)
end

-- Returns the key called `name`, or nil and, when there are several, what is wrong.
local function find_one(conf, name)
  local key, problem
  if conf.key_in_header then key, problem = in_header(name) end
  if not key and not problem and conf.key_in_query then key, problem = in_query(name) end
  if not key and not problem and conf.key_in_body then
    local body = content()
    if body then key, problem = as_key(body[name]) end
  end
  return key, problem
end

--- Finds the key: the first name that has one, in header, query and content.
---@param conf table
---@return string|nil key, string|nil problem
function M.find(conf)
  local list = conf.key_names
  for i = 1, #list do
    local key, problem = find_one(conf, list[i])
    if problem then return nil, problem end
    if key and key ~= "" then return key end
  end
  return nil, MISSING
end

-- Each takes members out of a content and returns the rest of it as it was; nil: it has none of them.
local WITHOUT = {}

WITHOUT[FORM] = function(body, names)
  local kept, is_changed = {}, false
  for pair in body:gmatch "[^&]+" do
    local name = pair:match "^[^=]*"
    if names[encoding.url_decode(name, true) or name] then is_changed = true else kept[#kept + 1] = pair end
  end
  return is_changed and table.concat(kept, "&") or nil
end

WITHOUT[JSON] = function(body, names)
  local object = json.decode(body, EXACT)
  if type(object) ~= "table" or json.is_array(object) then return nil end
  local is_changed = false
  for name in pairs(names) do
    is_changed = is_changed or object[name] ~= nil
    object[name] = nil
  end
  return is_changed and json.encode(object) or nil
end

local function hide_in_content(list)
  local kind = kind_of_content()
  local body = kind and request.get_raw_body()
  if not body then return end
  local names = {}
  for i = 1, #list do names[list[i]] = true end
  local rest = WITHOUT[kind](body, names)
  if rest then upstream.set_raw_body(rest) end
end

--- Takes away whatever has the name of a key, wherever keys may be: a second one is a secret, too.
---@param conf table
function M.hide(conf)
  local list = conf.key_names
  local query = request.get_raw_query()
  for i = 1, #list do
    upstream.clear_header(list[i])
    if query ~= "" and may_have(query, list[i]) then upstream.clear_query_arg(list[i]) end
  end
  if conf.key_in_body then hide_in_content(list) end
end

return M
