--- Where keys are in a request: found, and taken away before the backend sees them.
local pdk = require "veloflux.pdk"
local request, upstream = pdk.request, pdk.service.request

local M = {}

local MISSING, DUPLICATE = "No API key found in request", "Duplicate API key found"
-- Contents that can be written again without the key. Keys in others are not looked for.
local FORM, JSON = "application/x-www-form-urlencoded", "application/json"

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

-- Returns the decoded content and its type, or nil.
local function content()
  local kind = (request.get_header "content-type" or ""):match "^%s*([^;%s]*)":lower()
  if kind ~= FORM and kind ~= JSON then return nil end
  return request.get_body(kind, 1000), kind
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

local function hide_in_content(list)
  local body, kind = content()
  if not body then return end
  local is_changed = false
  for i = 1, #list do
    is_changed = is_changed or body[list[i]] ~= nil
    body[list[i]] = nil
  end
  if is_changed then upstream.set_body(body, kind) end
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
