--- Stores on a libuv loop, whose calls are made as if they returned: a spec drives the loop until the answer has come.
local ffi = require "ffi"
local callbacks = require "support.callbacks"
local library = require "support.library"
local cloop = require "unit.net.cloop"
local databases = require "veloflux.store.database"
local wires = require "veloflux.store.redis.wire"
local store = require "veloflux.store"

local M = {}

local fault -- what a callback has raised
local function noting(ready)
  return callbacks.new("void (*)(void *)", function()
    local ok, problem = pcall(ready)
    if not ok then fault = problem end
  end)
end
local on_ready, on_redis_ready = noting(databases.ready), noting(wires.ready)

local Bench = {}
Bench.__index = Bench

--- Returns a loop with its host.
function M.new()
  local loop = cloop.new()
  local host = ffi.new "struct vf_database_host"
  host.loop, host.on_ready = loop.raw, on_ready
  local redis_host = ffi.new "struct vf_redis_host"
  redis_host.loop, redis_host.on_ready = loop.raw, on_redis_ready
  return setmetatable({ loop = loop, host = host, redis_host = redis_host, stores = {}, library = library }, Bench)
end

--- Opens a store in Redis.
-- @param settings of store.open: url and the like
function Bench:open_redis(settings)
  settings.driver, settings.redis_host = "redis", self.redis_host
  local opened = assert(store.open(settings))
  self.stores[opened] = true
  return opened
end

--- Opens a store of the file `path`.
-- @param now_ms function, or nil
-- @param busy_ms number, or nil
function Bench:open(path, now_ms, busy_ms)
  local opened = assert(store.open { path = path, host = self.host, now_ms = now_ms, busy_ms = busy_ms })
  self.stores[opened] = true
  return opened
end

--- Runs the loop until `done()`; raises what a callback has raised meanwhile.
function Bench:drive(done, what)
  self.loop:drive(function() return fault or done() end, what)
  if fault then
    local raised = fault
    fault = nil
    error(raised, 0)
  end
end

--- Calls a method of a store (or of anything that ends in a callback) and waits for the answer.
-- @return err and result of its callback
function Bench:call(object, method, ...)
  local answer
  local args = { n = select("#", ...) + 1, ... }
  args[args.n] = function(...) answer = { ... } end
  object[method](object, unpack(args, 1, args.n))
  assert(answer == nil, method .. " answered from inside the call")
  self:drive(function() return answer end, method)
  return answer[1], answer[2]
end

--- As `call`, for what must go well.
-- @return the result
function Bench:ask(object, method, ...)
  local err, result = self:call(object, method, ...)
  if err then error(("%s: %s: %s"):format(method, err.code, err.message), 2) end
  return result
end

function Bench:close(opened)
  self.stores[opened] = nil
  self:ask(opened, "close")
end

--- Closes the stores and the loop: fails when a handle is left open.
function Bench:finish()
  for opened in pairs(self.stores) do self:close(opened) end
  self.loop:close()
end

--- Returns a change with what a commit needs.
function M.change(version, puts, deletes)
  return { version = version, time_ms = 1000 * version, author = "ana", source = "api", reason = "because",
    request_id = "r" .. version, summary = "change " .. version, puts = puts, deletes = deletes }
end

function M.put(kind, key, json, created_ms) return { kind = kind, key = key, json = json, created_ms = created_ms } end

return M
