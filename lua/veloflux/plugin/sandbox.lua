--- Where the code of a plugin runs: its own files, the plugin API and what of Lua harms nobody else.
--
-- A plugin has its own copies of the libraries, no debug, io, ffi or package, and no globals to write to.
-- Sources are texts: bytecode is refused, for LuaJIT does not verify it. What a plugin may require
-- besides its own files is the business of `provide`.
local C = require("ffi").C
local json = require "veloflux.pdk.json"
local task = require "veloflux.runtime.task"
require("ffi").cdef "uint64_t vf_clock_wall_ms(void);"

local M = {}

local Sandbox = {}
Sandbox.__index = Sandbox

local BYTECODE = 27 -- first byte of compiled code
local FUNCTIONS = { "assert", "error", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget", "rawset", "select",
  "setmetatable", "tonumber", "tostring", "type", "unpack", "xpcall" }
local OS = { "clock", "date", "difftime", "time" }

local function copy(library, names)
  local own = {}
  for name, value in pairs(library) do own[name] = value end
  if names then
    own = {}
    for _, name in ipairs(names) do own[name] = library[name] end
  end
  return own
end

--- The metatables of texts and of arrays of pdk.json are everybody's.
local function getmetatable_of(value)
  if type(value) == "string" or json.is_array(value) then return nil end
  return getmetatable(value)
end

--- Code that says it is ours is not cut off when it spins (src/lua/guard.c).
local function is_ours(name)
  return type(name) == "string" and (name:find("=veloflux.", 1, true) == 1 or name:find("=[C]", 1, true) == 1)
end

local function loader_for(environment)
  return function(chunk, name, _, own)
    local text = chunk
    if type(chunk) == "function" then
      local parts = {}
      for part in chunk do
        if part == "" then break end
        parts[#parts + 1] = part
      end
      text = table.concat(parts)
    end
    if type(text) ~= "string" then return nil, "load: expected a text" end
    return load(text, not is_ours(name) and name or "=(load)", "t", own or environment)
  end
end

--- The clock of the process is also the plugin's.
local function own_os()
  local own = copy(os, OS)
  local time, date = os.time, os.date
  local function now() return math.floor(tonumber(C.vf_clock_wall_ms()) / 1000) end
  own.time = function(table) return table and time(table) or now() end
  own.date = function(format, at) return date(format or "%c", at or now()) end
  return own
end

--- Only coroutines that the plugin has made are its own to yield: nobody would go on with the one that runs a handler.
local function own_coroutine()
  local own, yield = copy(coroutine), coroutine.yield
  own.yield = function(...)
    if task.is_own() then error("attempt to yield from outside a coroutine of the plugin's own", 2) end
    return yield(...)
  end
  return own
end

--- Makes what a plugin sees as globals. They stand in the table itself, so that compiled code reaches
-- them as it would anywhere; others cannot be added.
local function environment_of(sandbox, extra)
  local visible = copy(_G, FUNCTIONS)
  visible._VERSION, visible.jit = _VERSION, { version = jit.version, os = jit.os, arch = jit.arch }
  visible.string, visible.table, visible.math = copy(string), copy(table), copy(math)
  visible.bit, visible.coroutine, visible.os = copy(bit), own_coroutine(), own_os()
  visible.string.dump = nil
  visible.getmetatable = getmetatable_of
  visible.collectgarbage = function() return collectgarbage "count" end
  visible.require = function(name) return sandbox:require(name) end
  for name, value in pairs(extra or {}) do visible[name] = value end
  local load_text = loader_for(visible)
  visible.load, visible.loadstring = load_text, function(text, name) return load_text(text, name) end
  return setmetatable(visible, { __metatable = false, __newindex = function(_, name)
    error(("plugins have no global variables: %s is written to; is a `local` missing?"):format(tostring(name)), 2)
  end })
end

--- Makes a sandbox.
-- @param options table:
--   name     of the plugin
--   sources  {file -> {text, chunk}}: file is "handler" or "util.parse", chunk what messages call it
--   provide  function(module) -> a value, or nil: whatever else may be required, the plugin API foremost
--   globals  further globals, or nil
function M.new(options)
  local sandbox = setmetatable({ name = options.name, sources = options.sources, provide = options.provide,
    loaded = {}, provided = {} }, Sandbox)
  sandbox.environment = environment_of(sandbox, options.globals)
  return sandbox
end

--- Returns the name of the plugin's own file that a module name stands for, or nil. Handlers that come
-- from Kong call their files kong.plugins.NAME.FILE.
local function own_file(sandbox, module)
  for _, root in ipairs { "veloflux.plugins.", "kong.plugins." } do
    local prefix = root .. sandbox.name .. "."
    if module:sub(1, #prefix) == prefix then return module:sub(#prefix + 1) end
  end
end

--- Compiles one of the plugin's files.
-- @return a function; or nil and a message that begins with CHUNK:LINE
function Sandbox:compile(file)
  local source = self.sources[file]
  if source.text:byte(1) == BYTECODE then return nil, source.chunk .. ":1: is compiled: plugins are given as source" end
  return load(source.text, "@" .. source.chunk, "t", self.environment)
end

local LOADING = {}

--- Runs one of the plugin's files, once. Raises what it raises.
function Sandbox:run(file)
  local value = self.loaded[file]
  if value == LOADING then error(("%s requires itself"):format(file), 2) end
  if value ~= nil then return value end
  local chunk, problem = self:compile(file)
  if not chunk then error(problem, 0) end
  self.loaded[file] = LOADING
  local ok, result = pcall(chunk, "veloflux.plugins." .. self.name .. "." .. file)
  if not ok then
    self.loaded[file] = nil
    error(result, 0)
  end
  if result == nil then result = true end
  self.loaded[file] = result
  return result
end

--- What `require` is to the plugin.
function Sandbox:require(module)
  if type(module) ~= "string" then error("require: expected the name of a module", 2) end
  local file = own_file(self, module)
  if file and self.sources[file] then return self:run(file) end
  if self.provided[module] ~= nil then return self.provided[module] end
  local provided = not file and self.provide(module)
  if provided then
    self.provided[module] = provided
    return provided
  end
  if file then error(("the plugin %s has no file %s"):format(self.name, file), 2) end
  error(("%s is not for plugins: they require veloflux.pdk and their own files, veloflux.plugins.%s.FILE"):format(
    module, self.name), 2)
end

return M
