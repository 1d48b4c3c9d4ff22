--- References to secrets: how they are written, and where the secret is. Used by control, which may read files, and by
-- the plugin API in workers, which do not.
--
--     {vault://env/NAME}              the variable NAME of the environment; lower case and dashes will do: my-secret is
--                                     MY_SECRET
--     {vault://env/NAME/KEY}          the variable holds a JSON object, of which KEY is meant
--     {vault://env/NAME?prefix=APP_}  the variable APP_NAME
--     {vault://env/NAME#2}            the variable NAME_PREVIOUS
--     {vault://file/PATH}, {file:/PATH}   the content of the file /PATH, without a line end behind it
local cjson = require "cjson"

local M = {}

local OWN = { "^API_PASSWORD$", "^API_USERNAME$", "^VF_", "^VFX_MASTER_KEY$" } -- the node's own secrets

local PREVIOUS = 2 -- the version that means the value before this one

--- Says whether a text is written as a reference.
function M.is_reference(text)
  if type(text) ~= "string" then return false end
  return text:find "^{vault://.+}$" ~= nil or text:find "^{file:/.+}$" ~= nil
end

--- Says the same of what a conf file has, where the path of a file may be relative.
function M.is_meant(text) return M.is_reference(text) or type(text) == "string" and text:find "^{file:.+}$" ~= nil end

--- Returns such a reference with an absolute path.
-- @param dir the folder of the conf file
function M.absolute(text, dir)
  local path = text:match "^{file:([^/].*)}$"
  return path and ("{file:%s/%s}"):format(dir:gsub("/$", ""), path) or text
end

local function unescape(text)
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

local function read_query(query)
  local config = {}
  for pair in query:gmatch "[^&]+" do
    local name, value = pair:match "^([^=]*)=?(.*)$"
    if name == "" then return nil end
    config[unescape(name)] = value == "" and true or unescape(value)
  end
  return next(config) and config or nil
end

--- Reads a reference.
-- @return {name, resource, key, config, version}: name is "env" or "file"; key, config and version may be nil; or nil
-- and a message
function M.parse(text)
  if not M.is_reference(text) then return nil, "not a reference: expected {vault://NAME/RESOURCE}" end
  local path = text:match "^{file:(/.+)}$"
  if path then return { name = "file", resource = path } end
  local name, rest = text:match "^{vault://([^/?#]+)/(.+)}$"
  if not name then return nil, "expected {vault://NAME/RESOURCE}" end
  local before, version = rest:match "^([^#]*)#(.*)$"
  if version and not version:find "^%d+$" then return nil, ("%s: the version is no number"):format(text) end
  local body, query = (before or rest):match "^([^?]*)%??(.*)$"
  local parsed = { name = unescape(name), config = read_query(query), version = tonumber(version) }
  if name == "file" then
    parsed.resource = "/" .. unescape(body):gsub("^/+", "")
    return parsed
  end
  local resource, key = body:match "^/*(.-)/*([^/]*)$" -- the last of several steps is the key
  if resource == "" then resource, key = key, "" end
  if resource == "" then return nil, ("%s: expected {vault://%s/RESOURCE} or .../RESOURCE/KEY"):format(text, name) end
  parsed.resource, parsed.key = unescape(resource), key ~= "" and unescape(key) or nil
  return parsed
end

--- Returns the name of the variable that a reference means.
function M.variable(parsed)
  local prefix = parsed.config and parsed.config.prefix
  local name = (type(prefix) == "string" and prefix or "") .. parsed.resource
  return (name:gsub("%-", "_"):upper()) .. (parsed.version == PREVIOUS and "_PREVIOUS" or "")
end

--- Says whether a variable holds a secret of the node's, which is none of the plugins' business.
function M.is_own(variable)
  for _, pattern in ipairs(OWN) do
    if variable:find(pattern) then return true end
  end
  return false
end

local function field_of(text, key, where)
  local ok, object = pcall(cjson.decode, text)
  if not ok or type(object) ~= "table" then return nil, where .. " is no JSON object" end
  local value = object[key]
  if value == nil or value == cjson.null or type(value) == "table" then
    return nil, ("%s has no text under %q"):format(where, key)
  end
  return tostring(value)
end

--- Returns the secret that a reference to the environment means.
-- @param env function(name) -> string or nil
-- @return text, or nil and a message, in which the secret is not
function M.from_environment(parsed, env)
  local variable = M.variable(parsed)
  local text = env(variable)
  if text == nil then return nil, ("the environment variable %s is not set"):format(variable) end
  if not parsed.key then return text end
  return field_of(text, parsed.key, "the environment variable " .. variable)
end

--- Returns the secret that a reference means.
-- @param env as above
-- @param read function(path) -> text, or nil and a message
-- @return text, or nil and a message
function M.resolve(parsed, env, read)
  if parsed.name == "env" then return M.from_environment(parsed, env) end
  if parsed.name == "file" then return read(parsed.resource) end
  return nil, ("there is no vault %q: expected env or file"):format(parsed.name)
end

return M
