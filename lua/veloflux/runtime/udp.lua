--- Datagrams to and from one peer; the C side is src/net/udp.h.
local ffi = require "ffi"
local network = require "veloflux.runtime.network"

ffi.cdef [[
struct vf_udp *vf_udp_new(struct vf_sockets *sockets);
struct vf_op *vf_udp_op(struct vf_udp *udp);
int vf_udp_connect(struct vf_udp *udp, const char *host, size_t len, int port, uint64_t timeout_ms);
const char *vf_udp_why(const struct vf_udp *udp, int rc);
int vf_udp_send(struct vf_udp *udp, const char *data, size_t len);
int vf_udp_receive(struct vf_udp *udp, uint64_t timeout_ms);
void vf_udp_take(struct vf_udp *udp, struct vf_str *out);
]]
local C = ffi.C
local PENDING, CANCELLED = network.PENDING, network.CANCELLED

local Udp = {}
Udp.__index = Udp

local view = ffi.new "struct vf_str"

local M = {}

local function failed(self, rc)
  if not self.udp then return nil, "the socket was closed meanwhile", "cancelled" end
  return nil, ffi.string(C.vf_udp_why(self.udp, rc)), network.code(rc)
end

-- Waits for the operation; another task may close the socket meanwhile.
local function await(self)
  local udp = self.udp
  local rc = network.await(C.vf_udp_op(udp))
  if self.udp ~= udp then return CANCELLED end
  return rc
end

local function not_open() return nil, "the socket is closed", "closed" end

--- Makes one without a peer, which belongs to the task that runs.
-- @return udp, or nil, message, code
function M.new()
  local sockets = network.sockets()
  if sockets == nil then return nil, "the process ends", "cancelled" end
  local udp = C.vf_udp_new(sockets)
  if udp == nil then return nil, "too many sockets are open", "too_many" end
  local hold = network.hold_udp(udp, true)
  if not hold then return nil, "out of memory", "memory" end
  return setmetatable({ udp = udp, hold = hold, connect_ms = 3000, receive_ms = 60000 }, Udp)
end

--- Sets the peer (a path when `port` is nil). Returns true, or nil, message, code.
function Udp:connect(host, port)
  if not self.udp then return not_open() end
  local rc = C.vf_udp_connect(self.udp, host, #host, port or -1, self.connect_ms)
  if rc == PENDING then rc = await(self) end
  if rc == 0 then return true end
  local _, why, code = failed(self, rc)
  return nil, (port and host .. ":" .. port or "unix:" .. host) .. ": " .. why, code
end

function Udp:send(data)
  if not self.udp then return not_open() end
  local rc = C.vf_udp_send(self.udp, data, #data)
  if rc < 0 then return failed(self, rc) end
  return true
end

function Udp:receive()
  if not self.udp then return not_open() end
  local rc = C.vf_udp_receive(self.udp, self.receive_ms)
  if rc == PENDING then rc = await(self) end
  if rc < 0 then return failed(self, rc) end
  C.vf_udp_take(self.udp, view)
  return ffi.string(view.data, view.len)
end

function Udp:close()
  if not self.udp then return end
  network.free(self.hold)
  self.udp, self.hold = nil, nil
end

return M
