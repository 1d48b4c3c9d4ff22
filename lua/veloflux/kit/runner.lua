--- Runs specs: describe, it, before_each and the others as busted has them, in the order in which they stand.
local assertions = require "veloflux.kit.assertions"
local failures = require "veloflux.kit.failure"
local pieces = require "veloflux.kit.pieces"

local M = {}

local Runner = {}
Runner.__index = Runner

local SEPARATOR = " > "

--- Makes a runner.
-- @param options table: seed; filter (text that full names contain, or nil); before = function(seed), after =
-- function() -> message or nil: around each spec; report = function(result) after each
function M.new(options)
  return setmetatable({ options = options, root = { name = "", children = {}, hooks = {} } }, Runner)
end

-- Reading files -------------------------------------------------------------------------------------

local function add_block(self, name, fn)
  local block = { name = tostring(name), children = {}, hooks = {}, parent = self.block }
  table.insert(self.block.children, block)
  self.block = block
  fn()
  self.block = block.parent
end

local function add_spec(self, name, fn, is_pending)
  table.insert(self.block.children, { name = tostring(name), fn = fn, is_pending = is_pending or not fn,
    parent = self.block })
end

local HOOKS = { before_each = "before_each", after_each = "after_each", setup = "setup", teardown = "teardown",
  lazy_setup = "setup", lazy_teardown = "teardown", strict_setup = "setup", strict_teardown = "teardown" }

--- Returns what spec files see besides the globals of Lua.
local function words_of(self)
  local words = { assert = assertions.assert }
  for _, name in ipairs { "describe", "context", "insulate", "expose" } do
    words[name] = function(title, fn) add_block(self, title, fn) end
  end
  for _, name in ipairs { "it", "spec", "test" } do
    words[name] = function(title, fn) add_spec(self, title, fn) end
  end
  function words.pending(title, fn)
    if not self.current then return add_spec(self, title, fn, true) end
    error(failures.new { pending = tostring(title) }, 2)
  end
  for name, kind in pairs(HOOKS) do
    words[name] = function(fn) table.insert(self.block.hooks, { kind = kind, fn = fn }) end
  end
  function words.finally(fn) table.insert(self.current.finally, fn) end
  return words
end

local function traceback(err) return failures.of(err, debug.traceback("", 2)) end

--- Reads a spec file.
-- @param path of the file
-- @param text of the file
-- @return true; or nil and {message, trace}
function Runner:load(path, text)
  local chunk, problem = loadstring(text, "@" .. path)
  if not chunk then return nil, { message = problem } end
  self.words = self.words or words_of(self)
  setfenv(chunk, setmetatable({}, { __index = function(_, name)
    local word = self.words[name]
    if word ~= nil then return word end
    return _G[name]
  end }))
  self.block = self.root
  local ok, err = xpcall(chunk, traceback)
  self.block = nil
  if not ok then return nil, err end
  return true
end

-- Running -------------------------------------------------------------------------------------------

local function full_name(node)
  local parts = {}
  while node and node.name ~= "" do
    table.insert(parts, 1, node.name)
    node = node.parent
  end
  return table.concat(parts, SEPARATOR)
end

local function run_hooks(block, kind, from_inside)
  if not block then return end
  if not from_inside then run_hooks(block.parent, kind) end
  for _, hook in ipairs(block.hooks) do
    if hook.kind == kind then hook.fn() end
  end
  if from_inside then run_hooks(block.parent, kind, true) end
end

local function try(result, fn, ...)
  local ok, err = xpcall(fn, traceback, ...)
  if ok then return true end
  if err.pending then
    result.status, result.reason = "pending", err.pending
  elseif result.status ~= "failed" then
    result.status, result.failure = "failed", err
  end
  return false
end

local function play(self, node, result)
  local ok = try(result, run_hooks, node.parent, "before_each")
  if ok then try(result, node.fn) end
  for i = #result.finally, 1, -1 do try(result, result.finally[i]) end
  try(result, run_hooks, node.parent, "after_each", true)
  local complaint = self.options.after(result)
  if complaint and result.status == "passed" then
    result.status, result.failure = "failed", { message = complaint }
  end
end

local function run_spec(self, node)
  local result = { name = node.name, full_name = full_name(node), status = "passed", finally = {} }
  if node.is_pending then
    result.status = "pending"
  else
    self.current = result
    self.options.before(pieces.seed_of(self.options.seed, result.full_name))
    play(self, node, result)
    self.current = nil
  end
  self.options.report(result)
end

local function wanted(self, node)
  if node.children then
    for _, child in ipairs(node.children) do
      if wanted(self, child) then return true end
    end
    return false
  end
  return not self.options.filter or full_name(node):find(self.options.filter, 1, true) ~= nil
end

local function run_block(self, block)
  local result = { name = block.name, full_name = full_name(block), status = "passed", finally = {} }
  local ok = true
  for _, hook in ipairs(block.hooks) do
    if hook.kind == "setup" then ok = ok and try(result, hook.fn) end
  end
  for _, child in ipairs(ok and block.children or {}) do
    if wanted(self, child) then
      if child.children then run_block(self, child) else run_spec(self, child) end
    end
  end
  for _, hook in ipairs(block.hooks) do
    if hook.kind == "teardown" then try(result, hook.fn) end
  end
  if result.status == "failed" then self.options.report(result) end
end

--- Runs what was read.
function Runner:run()
  if wanted(self, self.root) then run_block(self, self.root) end
end

return M
