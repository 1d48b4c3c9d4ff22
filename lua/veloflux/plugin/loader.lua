--- Reads plugins for control, `check` and tests: who they are, which phases they have, what their
-- configuration looks like. Nothing of them runs here but the bodies of their files and what schemas
-- ask to judge values; requests are the worker's business.
--
-- What was loaded is kept for as long as a model uses it and found by its text, so a reload that changes
-- nothing gets the very same tables again.
local bounded = require "veloflux.plugin.bounded"
local control = require "veloflux.plugin.control"
local loading = require "veloflux.plugin.control.loading"
local provide = require "veloflux.plugin.provide"
local sandbox = require "veloflux.plugin.sandbox"
local phases = require "veloflux.plugin.phases"
local plugin_schema = require "veloflux.plugin.schema"
local sources_of = require "veloflux.plugin.sources"
local suggest = require "veloflux.model.suggest"

local M = {}

local Loader = {}
Loader.__index = Loader

local MAX_PRIORITY = 1000000

-- Text of all files -> what was loaded, for as long as a model uses it.
local known = setmetatable({}, { __mode = "v" })

--- Stands for a part of the plugin API while no request can be there: may be looked into, not called.
local function absent(name)
  return setmetatable({}, {
    __index = function(_, key) return absent(name .. "." .. tostring(key)) end,
    __call = function() error(name .. " cannot be called while a plugin is loaded", 2) end,
  })
end

--- Gives out the groups of the plugin API on first use: most handlers only take a reference.
local function lazy(module)
  return setmetatable({}, { __index = function(self, key)
    local ok, real = pcall(require, module)
    local value = ok and type(real) == "table" and real[key] or nil
    if value == nil then value = absent(module:gsub("^veloflux%.", "") .. "." .. tostring(key)) end
    rawset(self, key, value)
    return value
  end, __call = function() error(module .. " cannot be called while a plugin is loaded", 2) end })
end

local function provide_here(module)
  if module == "veloflux.pdk" or module:find "^veloflux%.pdk%.[%w_]+$" then return lazy(module) end
  return provide.module(module)
end

-- Problems ------------------------------------------------------------------------------------------

--- Takes the line out of "CHUNK:LINE: message"; LuaJIT shortens long chunks, so only the end is looked at.
local function split_message(message, chunk)
  local line, text = message:match "^[^\n]-%.lua:(%d+): (.*)$"
  return { file = chunk, line = tonumber(line), path = "", message = text or message }
end

--- Finds the line where a field of a schema is defined: where its name stands before an equals sign.
local function line_of(text, path)
  local number, found, steps = 0, nil, {}
  for step in path:gmatch "[^.]+" do steps[#steps + 1] = step:gsub("%p", "%%%0") end
  local next_step = 1
  for line in (text .. "\n"):gmatch "(.-)\n" do
    number = number + 1
    while steps[next_step] and (line:find("%f[%w_]" .. steps[next_step] .. "%s*=")
      or line:find('%["' .. steps[next_step] .. '"%]%s*=')) do
      found, next_step = number, next_step + 1
    end
  end
  return found
end

-- Files ---------------------------------------------------------------------------------------------

--- Runs a file; it has to come to an end.
local function run(box, file)
  local chunk, problem = box:compile(file)
  if not chunk then return nil, problem end
  local ok, value = bounded.run(function() return box:run(file) end)
  if ok then return value end
  return nil, value
end

local Plugin = {}
Plugin.__index = Plugin

function Plugin:note(file, message, line, path)
  table.insert(self.problems, { file = self.sources[file] and self.sources[file].chunk or self.folder or self.name,
    line = line, path = path or "", message = message, plugin = self.name })
end

function Plugin:warn(file, message, line)
  table.insert(self.warnings, { file = self.sources[file].chunk, line = line, path = "", message = message })
end

--- Runs a file that has to return a table.
function Plugin:table_of(file)
  local value, problem = run(self.box, file)
  if type(value) == "table" then return value end
  if problem then
    local place = split_message(problem, self.sources[file].chunk)
    self:note(file, place.message, place.line)
  else
    self:note(file, ("expected it to return a table, got a %s"):format(type(value)))
  end
end

local function is_callable(value) return type(value) == "function" end

local function line_defined(value) return is_callable(value) and debug.getinfo(value, "S").linedefined or nil end

function Plugin:read_phase(name, value)
  if type(name) ~= "string" or not is_callable(value) then return end
  local line = line_defined(value)
  if phases.NUMBERS[name] then return end
  if phases.RESERVED[name] then
    return self:note("handler", ("the phase %s is not available"):format(name), line)
  end
  local meant = phases.meant(name)
  if meant then self:note("handler", ("%s is no phase, did you mean %s?"):format(name, meant), line) end
end

function Plugin:read_phases(handler)
  for name, value in pairs(handler) do self:read_phase(name, value) end
  self.phases, self.mask = {}, 0
  for i, name in ipairs(phases.NAMES) do
    local value = handler[name]
    if is_callable(value) then
      self.phases[#self.phases + 1], self.mask = name, self.mask + 2 ^ (i - 1)
    elseif value ~= nil then
      self:note("handler", ("%s: expected a function, got a %s"):format(name, type(value)))
    end
  end
  if #self.phases == 0 and #self.problems == 0 then
    self:note("handler", "has no phase: expected one of " .. suggest.either(phases.NAMES))
  end
end

--- True for a plugin that control has to read.
function Plugin:is_controls()
  for _, file in ipairs(control.FILES) do
    if self.sources[file] then return true end
  end
  return false
end

function Plugin:read_handler()
  if not self.sources.handler then
    self.phases, self.mask, self.priority = {}, 0, 0
    if not self:is_controls() then self:note("handler", "has no handler.lua") end
    return
  end
  local handler = self:table_of "handler"
  if not handler then return end
  local priority, version = handler.PRIORITY, handler.VERSION
  if priority == nil then
    self:warn("handler", "has no PRIORITY: 0 is taken, it runs after those that have one")
    priority = 0
  elseif type(priority) ~= "number" or priority % 1 ~= 0 or math.abs(priority) > MAX_PRIORITY then
    local got = type(priority) == "number" and tostring(priority) or "a " .. type(priority)
    self:note("handler", ("PRIORITY: expected a whole number from -%d to %d, got %s"):format(MAX_PRIORITY,
      MAX_PRIORITY, got), line_of(self.sources.handler.text, "PRIORITY"))
  end
  if version ~= nil and type(version) ~= "string" then
    self:note("handler", ("VERSION: expected a text, got a %s"):format(type(version)),
      line_of(self.sources.handler.text, "VERSION"))
  end
  if is_callable(handler.phases_of) then self.phases_of = handler.phases_of end
  self.priority, self.version = priority, version
  self:read_phases(handler)
end

--- Makes a type of what `file` says, noting its problems there.
function Plugin:make_schema(file, raw)
  local made, problems = plugin_schema.make(raw)
  for _, problem in ipairs(problems or {}) do
    local line = line_of(self.sources[file].text, problem.path)
    self:note(file, problem.message, line, problem.path)
  end
  return made
end

function Plugin:read_schema()
  local raw = {}
  if self.sources.schema then raw = self:table_of "schema" end
  local made = raw and self:make_schema("schema", raw)
  if not made then return end
  self.config, self.compiled, self.needs = made.config, made.compiled, made.needs
  self.merge, self.modes, self.limits, self.refuses = made.merge, made.modes, made.limits, made.refuses
end

local CREDENTIAL_KEYS = { fields = "table", id = "string", hashed = "boolean", password = "string" }

--- What control reads: a place in a file is where a name or a text is first said.
function Plugin:read_control()
  if not self:is_controls() then return end
  self.control = control.read({ name = self.name, run = function(file) return self:table_of(file) end,
    note = function(file, message, value)
      local line = value and (line_defined(value) or loading.line_said(self.sources[file].text, tostring(value)))
      self:note(file, message, line)
    end,
    schema = function(file, raw, place)
      local made, problems = plugin_schema.make(raw)
      for _, problem in ipairs(problems or {}) do
        local path = problem.path ~= "" and place .. "." .. problem.path or place
        self:note(file, problem.message, line_of(self.sources[file].text, problem.path), path)
      end
      return made
    end }, self.sources)
end

--- entities.lua: { credential = { fields = {...}, id = "key", hashed = true, password = "field" } }
function Plugin:read_entities()
  if not self.sources.entities then return end
  local entities = self:table_of "entities"
  local raw = entities and entities.credential
  for name in pairs(entities or {}) do
    if name ~= "credential" and type(name) ~= "number" then
      self:note("entities", ("unknown key %s, expected credential"):format(tostring(name)))
    end
  end
  if raw == nil then return end
  if type(raw) ~= "table" then return self:note("entities", "credential: expected a table") end
  for name, value in pairs(raw) do
    if type(value) ~= CREDENTIAL_KEYS[name] then
      self:note("entities", ("credential.%s: %s"):format(tostring(name), CREDENTIAL_KEYS[name]
        and ("expected a %s"):format(CREDENTIAL_KEYS[name]) or "unknown key, expected fields, id, hashed or password"))
    end
  end
  if #self.problems > 0 then return end
  local made = self:make_schema("entities", raw.fields or {})
  if not made then return end
  local id = made.config.by_name[raw.id or ""]
  if not id or id.type ~= "string" or not id.required then
    return self:note("entities", "credential.id: expected the name of a required field that is a text")
  elseif made.config.by_name.type then
    return self:note("entities", "credential.fields.type: the name is taken")
  end
  local password = raw.password and made.config.by_name[raw.password]
  if raw.password and (not password or password.type ~= "string" or raw.password == raw.id) then
    return self:note("entities", "credential.password: expected the name of another field that is a text")
  end
  self.credential = { config = made.config, compiled = made.compiled, id = raw.id, hashed = raw.hashed or false,
    password = raw.password }
end

--- Lists the files that a worker needs, the handler first.
local function files_of(sources)
  local list = {}
  for file, source in pairs(sources) do
    if file ~= "schema" and not control.is_file(file) then
      list[#list + 1] = { name = file, chunk = source.chunk, text = source.text }
    end
  end
  table.sort(list, function(a, b)
    if (a.name == "handler") ~= (b.name == "handler") then return a.name == "handler" end
    return a.name < b.name
  end)
  return list
end

--- Joins everything that a plugin is made of: what has the same is the same plugin.
local function identity(name, sources)
  local names, parts = {}, { name }
  for file in pairs(sources) do names[#names + 1] = file end
  table.sort(names)
  for _, file in ipairs(names) do
    local source = sources[file]
    for _, part in ipairs { file, source.chunk, source.text } do parts[#parts + 1] = #part .. ":" .. part end
  end
  return table.concat(parts, "\0")
end

local function load_plugin(name, sources, folder)
  local plugin = setmetatable({ name = name, sources = sources, folder = folder, problems = {}, warnings = {},
    files = files_of(sources) }, Plugin)
  plugin.box = sandbox.new { name = name, sources = sources, provide = provide_here }
  plugin:read_handler()
  plugin:read_schema()
  plugin:read_entities()
  plugin:read_control()
  plugin.box = nil
  return plugin
end

-- The loader ----------------------------------------------------------------------------------------

--- Makes a loader for one reading of a conf.
-- @param paths list of absolute folders that come before what the binary carries
-- @return a loader {problems, warnings, read}: problems and warnings of plugins as conf.load's, each once;
-- `read`: the paths of the files and folders that were looked at
-- @param is_forgiving true: what control cannot load and nobody names is left out, with warnings
-- (plugin/control/loading.lua)
function M.new(paths, is_forgiving)
  return setmetatable({ paths = paths, found = {}, problems = {}, warnings = {}, read = {}, kinds = {},
    kind_names = {}, is_forgiving = is_forgiving, left_out = {} }, Loader)
end

local function append(list, more)
  for _, value in ipairs(more) do list[#list + 1] = value end
end

function Loader:load(name)
  local sources, folder = sources_of.find(self.paths, name)
  if not sources then
    if type(folder) == "table" then
      folder.plugin = name
      append(self.problems, { folder })
      return "broken"
    end
    return "unknown"
  end
  if folder then
    local paths = { folder }
    for _, source in pairs(sources) do paths[#paths + 1] = source.chunk end
    table.sort(paths)
    append(self.read, paths)
  end
  local key = identity(name, sources)
  local plugin = known[key] or load_plugin(name, sources, folder)
  known[key] = plugin
  append(self.problems, plugin.problems)
  append(self.warnings, plugin.warnings)
  return #plugin.problems == 0 and plugin or "broken"
end

--- Finds a plugin.
-- @return {name, priority, version, phases (list), mask (bits), phases_of, config, compiled, needs, merge, modes,
-- limits, refuses, credential, files, sources, folder}; or nil and a message for whoever named it: "unknown plugin
-- ...", or that its own problems were noted
function Loader:find(name)
  local found = self.found[name]
  if not found then
    found = self:load(name)
    self.found[name] = found
  end
  if type(found) == "table" then return found end
  if found == "broken" then
    append(self.problems, self.left_out[name] or {}) -- now that somebody needs it
    self.left_out[name] = nil
    return nil, ("the plugin %s cannot be loaded"):format(name)
  end
  local nearest = suggest.nearest(name, self:names())
  return nil, ('unknown plugin "%s"%s'):format(name, nearest and (", did you mean %s?"):format(nearest) or "")
end

--- Loads all plugins that have something for control, whether or not a conf names them (plugin/control/loading.lua).
-- @param taken function(kind) -> who has a kind of this name already, or nil
-- @return list of plugins, by name. Their kinds are in `kinds` by name, and `kind_names`, in order
function Loader:load_control(taken)
  self.control = {}
  loading.run(self, taken, function(name, sources) return load_plugin(name, sources) end)
  table.sort(self.kind_names)
  return self.control
end

--- Returns the names of all plugins there are.
function Loader:names()
  self.all_names = self.all_names or sources_of.names(self.paths)
  return self.all_names
end

return M
