--- The plugin API as its modules are when they are loaded: groups, functions, and the phases in which each
-- may be called. The phases are found by calling: a function that is called where it may not be says so
-- before anything else, by the set of phases that it has looked into (runtime/phase.lua). Runs without the
-- C half of VeloFlux: a call that would reach it raises instead.
local annotations = require "pdk.annotations"

local M = {}

local NO_PHASE = 255

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return text
end

--- ffi whose C has what the process has; functions that it has not raise when they are called.
local function without_c()
  local real, own = require "ffi", {}
  for name, value in pairs(real) do own[name] = value end
  own.C = setmetatable({}, { __index = function(_, name)
    local ok, value = pcall(function() return real.C[name] end)
    return ok and value or function() error(name .. " is not here", 0) end
  end })
  return own
end
package.loaded.ffi = without_c()

-- Stands for src/lua/embedded.h, whose C is not there.
package.preload["veloflux.embedded"] = function() return { asset = read } end

local phase = require "veloflux.runtime.phase"
local task = require "veloflux.runtime.task"
local network = require "veloflux.runtime.network"
task.run = { phase = NO_PHASE, context = 0, cancelled = 0, identified = 0, instance = 0 }

local LOADED = { set = {} } -- raised by what cannot be called while code is loaded

--- Called in place of runtime/phase.lua's: hands the set to whoever probes.
function phase.wrong(set, name) error({ set = set, name = name }, 0) end
function network.check(name) error({ set = LOADED.set, name = name }, 0) end

local function nothing() end

--- Arguments with which functions get as far as looking where they are called.
local ARGUMENTS = { { n = 0 }, { 1, nothing, n = 2 }, { "name", nil, nothing, n = 3 },
  { "name", "name", "name", n = 3 }, { "name", 1, 1, 1, 1, n = 5 }, { "name", "help", n = 2 } }

local function refusal(fn, self)
  for _, arguments in ipairs(ARGUMENTS) do
    local ok, caught
    if self then
      ok, caught = pcall(fn, self, unpack(arguments, 1, arguments.n))
    else
      ok, caught = pcall(fn, unpack(arguments, 1, arguments.n))
    end
    if not ok and type(caught) == "table" and caught.set then return caught end
    if not ok and tostring(caught):find "while the plugin's code is loaded" then return { set = LOADED.set } end
  end
end

--- Returns where a function may be called: a list of phases, "task" (wherever the plugin runs, but not while
-- its code is loaded) or "anywhere"; and the name that its message would say.
-- @param self of functions that are called with a colon, or nil
function M.phases_of(fn, self)
  local caught = refusal(fn, self)
  if not caught then return "anywhere" end
  if caught.set == LOADED.set then return "task", caught.name end
  local list = {}
  for number = 0, #phase.NAME do
    if caught.set[number] then list[#list + 1] = phase.NAME[number] end
  end
  return list, caught.name
end

local files = {}

--- Returns the annotations of a file below lua/.
function M.file(path)
  files[path] = files[path] or annotations.read(read(path))
  return files[path]
end

local function path_of(module)
  local path = "lua/" .. module:gsub("%.", "/")
  for _, candidate in ipairs { path .. ".lua", path .. "/init.lua" } do
    local file = io.open(candidate)
    if file then
      file:close()
      return candidate
    end
  end
end

local function find(file, owner, name)
  for _, entry in ipairs(file.entries) do
    if entry.name == name and entry.owner == owner then return entry end
  end
end

--- Returns what is written about a function of a group: in the group's file, or where it is defined.
local function entry_of(file, variable, name, value)
  local entry = find(file, variable, name)
  if entry or type(value) ~= "function" then return entry end
  local info = debug.getinfo(value, "S")
  if info.what == "C" then return nil end
  for _, other in ipairs(M.file(info.source:match "^@%.?/?(.*)$").entries) do
    if other.line == info.linedefined then return other end
  end
end

local function position(file, entry)
  for i, other in ipairs(file.entries) do
    if other == entry then return i end
  end
  return math.huge
end

local function is_callable(value)
  local meta = type(value) == "table" and getmetatable(value)
  return type(value) == "function" or meta and meta.__call ~= nil
end

--- Adds the functions of a table, and of tables in it that are parts of the group (client.tls).
local function collect(list, group, file, variable, prefix, inner)
  for name, value in pairs(group) do
    local path = inner .. tostring(name)
    if is_callable(value) then
      local doc = entry_of(file, variable, path, value)
      if not (doc and doc.is_private) then
        local phases, said = M.phases_of(value, doc and doc.colon == ":" and group)
        local shown = doc and doc.colon == ":" and prefix:gsub("%.$", ":") .. path or prefix .. path
        list[#list + 1] = { name = shown, doc = doc, phases = phases, said = said,
          at = doc and position(file, doc) or math.huge }
      end
    elseif type(value) == "table" and annotations.class_named(file, prefix .. path) then
      collect(list, value, file, variable, prefix, path .. ".")
    end
  end
end

--- Adds the functions of a group that is itself an object (pdk.shared); its methods are listed with the object.
local function collect_class(list, group, file, prefix)
  local meta = debug.getmetatable(group)
  local class = meta and type(meta.__index) == "table" and meta.__index
  for name, value in pairs(class or {}) do
    local doc = type(value) == "function" and entry_of(file, nil, name, value)
    if doc and doc.colon == "." and not doc.is_private then
      local phases, said = M.phases_of(value)
      list[#list + 1] = { name = prefix .. name, doc = doc, phases = phases, said = said, at = position(file, doc) }
    end
  end
end

local function functions_of(group, file, variable, prefix)
  local list = {}
  if variable then collect(list, group, file, variable, prefix, "") end
  collect_class(list, group, file, prefix)
  table.sort(list, function(a, b)
    if a.at ~= b.at then return a.at < b.at end
    return a.name < b.name
  end)
  return list
end

local function objects_of(file, group_class)
  local list = {}
  for _, class in ipairs(file.classes) do
    local methods = {}
    for _, entry in ipairs(file.entries) do
      if entry.owner == class.variable and entry.colon == ":" and not entry.is_private then
        methods[#methods + 1] = entry
      end
    end
    if class.name ~= group_class and (#methods > 0 or #class.fields > 0) then
      list[#list + 1] = { class = class, methods = methods }
    end
  end
  return list
end

--- Files whose objects a group hands out, beside its own.
local PARTS = { crypto = { "digest", "cipher", "key" }, redis = { "subscription" } }

local function read_group(name, module, group)
  local path = path_of(module)
  local file = M.file(path)
  local class = annotations.class_named(file, "pdk." .. name) or file.classes[1]
  local out = { name = name, lines = file.lines, class = class, path = path,
    functions = functions_of(group, file, class.variable, "pdk." .. name .. "."),
    objects = objects_of(file, "pdk." .. name) }
  for _, part in ipairs(PARTS[name] or {}) do
    for _, object in ipairs(objects_of(M.file(path_of(module .. "." .. part)))) do
      out.objects[#out.objects + 1] = object
    end
  end
  return out
end

--- Parts of groups that are modules of their own: name, module.
local NESTED = { service = { { "request", "service_request" }, { "response", "service_response" } } }

--- Returns the groups, each {name, lines, class, functions = {name, doc, phases}, objects = {class, methods}},
-- in the order of pdk/init.lua, and the names of those whose module is not there.
function M.groups()
  local list, missing = {}, {}
  for _, field in ipairs(M.file(path_of "veloflux.pdk").classes[1].fields) do
    local module = "veloflux.pdk." .. field.name
    if path_of(module) then
      list[#list + 1] = read_group(field.name, module, require(module))
      for _, part in ipairs(NESTED[field.name] or {}) do
        local nested = "veloflux.pdk." .. part[2]
        list[#list + 1] = read_group(field.name .. "." .. part[1], nested, require(nested))
      end
    else
      missing[#missing + 1] = field.name
    end
  end
  return list, missing
end

return M
