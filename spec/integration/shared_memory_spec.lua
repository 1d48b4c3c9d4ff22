--- Dictionaries and rate-limit cells outlive processes, reloads and upgrades in place. Read and written here as another
-- process would: through the state area that the supervisor has open.
local ffi = require "ffi"
local uv = require "luv"
local loop = require "support.loop"
local children = require "support.children"
local clients = require "support.client"
local lib = require "support.library"
local origins = require "support.origin"
local servers = require "support.server"
local memory = require "veloflux.shared_memory"

ffi.cdef [[
struct vf_state *vf_state_map(int fd);
int open(const char *path, int flags);
int close(int);
]]

local O_RDWR = 2

-- The state area of a running server. The mapping stays as long as the runner.
local function state_of(server)
  local folder = ("/proc/%d/fd"):format(server.pid)
  for name in uv.fs_scandir_next, uv.fs_scandir(folder) do
    if (uv.fs_readlink(folder .. "/" .. name) or ""):find("veloflux-state", 1, true) then
      local fd = ffi.C.open(folder .. "/" .. name, O_RDWR)
      local state = lib.vf_state_map(fd)
      ffi.C.close(fd)
      assert.is_true(state ~= nil)
      return state
    end
  end
  error "the supervisor has no state area"
end

local function entries_in_metrics(server)
  local text = clients.get(server.ports.admin, "/metrics").body
  return tonumber(text:match '\nveloflux_shared_dict_entries{dict="default"} (%d+)'),
    tonumber(text:match "\nveloflux_rate_limit_cells_busy (%d+)")
end

describe("memory that plugins share", function()
  it("is the same before and after a kill, a reload and an upgrade", loop.spec(function()
    local origin = origins.start()
    local server = servers.start { conf = {
      pools = { { name = "web", backends = { { address = "127.0.0.1:" .. origin.port } } } },
      routes = { { name = "all", pool = "web" } },
    } }
    local state = state_of(server)
    local dict, now = assert(memory.dict(state, memory.DEFAULT)), lib.vf_clock_ns()
    local sum, init = ffi.new "double[1]", ffi.new("double[1]", 0)
    assert.equal(0, lib.vf_dict_incr(dict, "visits", 6, 5, init, 0, now, sum))
    local limit, answer = ffi.new("struct vf_gcra", 3600e9, 0), ffi.new "struct vf_cells_answer"
    assert.equal(lib.VF_CELLS_ADMITTED, lib.vf_cells_take(memory.cells(state), "ana", 3, limit, 1, now, answer))
    assert.same({ 1, 1 }, { entries_in_metrics(server) })

    for _, victim in ipairs { children.of(server.pid).control[1], children.of(server.pid).worker[1][1] } do
      uv.kill(victim, "sigkill")
      children.wait_gone(victim)
    end
    server:wait_log("control%.started", server:wait_log "control%.exited")
    assert.is_true((server:reload()))
    server:signal "sigusr2"
    server:wait_log "upgrade%.done"
    assert.same({ 1, 1 }, { entries_in_metrics(server) })
    local after = state_of(server)
    assert.equal(0, lib.vf_dict_incr(assert(memory.dict(after, memory.DEFAULT)), "visits", 6, 1, nil, 0, now, sum))
    assert.equal(6, sum[0])
    assert.equal(lib.VF_CELLS_REFUSED, lib.vf_cells_take(memory.cells(after), "ana", 3, limit, 1, now, answer))
    server:stop()
  end))
end)
