--- What a plugin has for control: entities.lua (stored types), api.lua (endpoints), jobs.lua (schedules) and
-- channels.lua (WebSocket). Each file returns a list of definitions, which are read here: once when a conf is judged,
-- and once more by control, whose functions then run.
--
-- A reader is a table:
--   name                       of the plugin
--   run(file)                  what the file returns, a table; or nil after noting why not
--   note(file, message, value) notes a problem; `value`: a function or a text in the file that says where
--   schema(file, raw, place)   the type of plugin/schema, or nil after noting what is wrong with it
local channels = require "veloflux.channels.definition"
local api = require "veloflux.plugin.control.api"
local jobs = require "veloflux.plugin.control.jobs"
local kinds = require "veloflux.plugin.control.kinds"

local M = {}

--- The files that control alone reads.
M.FILES = { "entities", "api", "jobs", "channels" }

local IS_FILE = {}
for _, file in ipairs(M.FILES) do IS_FILE[file] = true end

--- Says whether a file is control's.
function M.is_file(file) return IS_FILE[file] == true end

--- Reads a list of definitions. Returns it, empty when the plugin has no such file.
local function list_of(reader, file, sources)
  if not sources[file] then return {} end
  local list = reader.run(file)
  if not list then return {} end
  local found = {}
  for i, definition in ipairs(list) do
    if type(definition) == "table" then
      found[#found + 1] = definition
    else
      reader.note(file, ("[%d]: expected a table, got a %s"):format(i, type(definition)))
    end
  end
  for key in pairs(list) do
    if type(key) ~= "number" and file ~= "entities" then -- whose other keys are those of credentials
      reader.note(file, ("unknown key %s: expected a list of definitions"):format(tostring(key)))
    end
  end
  return found
end

local function read_each(reader, file, sources, read, ...)
  local made = {}
  for i, definition in ipairs(list_of(reader, file, sources)) do
    made[#made + 1] = read(reader, definition, ("[%d]"):format(i), ...)
  end
  return made
end

--- Takes the kinds that are served at other paths out of what api.lua defines. Returns both lists.
local function apart(definitions)
  local endpoints, collections = {}, {}
  for _, definition in ipairs(definitions) do
    local list = definition.kind and collections or endpoints
    list[#list + 1] = definition
  end
  return endpoints, collections
end

--- Returns all endpoints of a plugin, those of its kinds first: list of {method, path, file}.
-- @param found of M.read
function M.endpoints_of(found)
  local list = {}
  local function add(endpoints, file)
    for _, endpoint in ipairs(endpoints) do
      list[#list + 1] = { method = endpoint.method, path = endpoint.path, file = file }
    end
  end
  for _, kind in ipairs(found.kinds) do add(api.forms("/api/" .. kind.kind), "entities") end
  for _, collection in ipairs(found.collections) do add(api.forms(collection.path), "api") end
  add(found.endpoints, "api")
  return list
end

local function channel(reader, definition)
  local ok, message = pcall(channels.check, definition)
  if ok then return definition end
  return reader.note("channels", tostring(message), definition.path)
end

--- Names that one plugin has given twice.
local function refuse_twice(reader, file, list, key_of)
  local seen = {}
  for _, definition in ipairs(list) do
    local key = key_of(definition)
    if seen[key] then reader.note(file, key .. ": is defined twice", key) end
    seen[key] = true
  end
end

--- Reads what a plugin has for control.
-- @param sources {file -> {text, chunk}}
-- @return {kinds, endpoints, collections, jobs, channels}: lists; collections: {kind, path} of kinds that are served
-- there. nil when there is nothing
function M.read(reader, sources)
  local found = { kinds = read_each(reader, "entities", sources, kinds.read),
    jobs = read_each(reader, "jobs", sources, jobs.read), channels = read_each(reader, "channels", sources, channel) }
  found.endpoints, found.collections = apart(read_each(reader, "api", sources, api.read, found.kinds))
  refuse_twice(reader, "entities", found.kinds, function(kind) return kind.kind end)
  refuse_twice(reader, "api", found.endpoints, function(endpoint) return endpoint.method .. " " .. endpoint.path end)
  refuse_twice(reader, "api", found.collections, function(collection) return collection.path end)
  refuse_twice(reader, "jobs", found.jobs, function(job) return job.name end)
  refuse_twice(reader, "channels", found.channels, function(definition) return definition.path end)
  for _, list in pairs(found) do
    if #list > 0 then return found end
  end
end

return M
