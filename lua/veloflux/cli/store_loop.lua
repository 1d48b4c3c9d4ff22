--- Stores for commands, which wait: a libuv loop that runs until there is an answer.
local databases = require "veloflux.store.database"
local ffi = require "ffi"
local stores = require "veloflux.store"
local wires = require "veloflux.store.redis.wire"

ffi.cdef [[
size_t uv_loop_size(void);
int uv_loop_init(uv_loop_t *loop);
int uv_loop_close(uv_loop_t *loop);
int uv_run(uv_loop_t *loop, int mode);
]]
local C = ffi.C

local RUN_ONCE = 1

local Loop = {}
Loop.__index = Loop

local M = {}

--- Makes a loop.
function M.new()
  local memory = ffi.new("uint64_t[?]", math.ceil(tonumber(C.uv_loop_size()) / 8))
  local self = setmetatable({ memory = memory, raw = ffi.cast("uv_loop_t *", memory), stores = {} }, Loop)
  if C.uv_loop_init(self.raw) ~= 0 then error("the event loop cannot be made", 0) end
  self.host, self.redis_host = ffi.new "struct vf_database_host", ffi.new "struct vf_redis_host"
  self.host.loop, self.redis_host.loop = self.raw, self.raw
  return self
end

--- Runs the loop until `is_done()`. Nobody is called from inside of it: answers are looked for.
local function run_until(self, is_done)
  while not is_done() do
    C.uv_run(self.raw, RUN_ONCE)
    databases.ready()
    wires.ready()
  end
end

--- Opens a store.
-- @param settings of store.open
-- @return the store, or nil and a message
function Loop:open(settings)
  settings.host, settings.redis_host = self.host, self.redis_host
  local store, message = stores.open(settings)
  if store then self.stores[#self.stores + 1] = store end
  return store, message
end

--- Makes calls, all at once, and waits for all answers. Raises the first error: { code, message }.
-- @param calls list of { store, method, ..., n = how many }
-- @return the list of results
function Loop:ask_all(calls)
  local results, left, fault = {}, #calls, nil
  for i, call in ipairs(calls) do
    local args = { unpack(call, 3, call.n) }
    args[call.n - 1] = function(err, result)
      left, fault, results[i] = left - 1, fault or err, result
    end
    call[1][call[2]](call[1], unpack(args, 1, call.n - 1))
  end
  run_until(self, function() return left == 0 end)
  if fault then error(fault, 0) end
  return results
end

--- Makes a call and waits for the answer. Raises its error.
function Loop:ask(store, method, ...)
  return self:ask_all({ { store, method, n = select("#", ...) + 2, ... } })[1]
end

--- Closes all stores and the loop.
function Loop:close()
  for _, store in ipairs(self.stores) do self:ask(store, "close") end
  while C.uv_loop_close(self.raw) ~= 0 do C.uv_run(self.raw, RUN_ONCE) end
end

return M
