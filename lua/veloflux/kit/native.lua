--- What the kit calls of C: src/kit/kit.h and src/kit/wires.h.
local ffi = require "ffi"

ffi.cdef [[
struct vf_kit;
struct vf_wires;
struct vf_state;
struct vf_snapshot;
struct vf_stage;
struct vf_wire_arrival { int fd; int port; int is_datagram; char host[254]; };
int vf_kit_new(double seed, double wall_ms, struct vf_kit **out);
int vf_kit_publish(struct vf_kit *kit, int fd, char *fault, size_t fault_bytes);
int vf_kit_publish_stage(struct vf_stage *stage);
int vf_kit_open_desk(struct vf_kit *kit);
const char *vf_kit_desk_call(struct vf_kit *kit, const char *name, const char *text);
const char *vf_kit_desk_fault(const struct vf_kit *kit);
int vf_kit_turn(struct vf_kit *kit);
double vf_kit_wait_ms(const struct vf_kit *kit);
void vf_kit_move(struct vf_kit *kit, double ms);
int vf_kit_connect(struct vf_kit *kit, const char *listener, const char *ip, int port);
size_t vf_kit_log(struct vf_kit *kit, const char **lines);
double vf_kit_pending(struct vf_kit *kit);
struct vf_wires *vf_kit_wires(struct vf_kit *kit);
struct vf_state *vf_kit_state(struct vf_kit *kit);
const struct vf_snapshot *vf_kit_snapshot(const struct vf_kit *kit);
int vf_kit_free(struct vf_kit *kit);
int vf_wires_host(struct vf_wires *wires, const char *name, int port, int mode);
bool vf_wires_arrival(struct vf_wires *wires, struct vf_wire_arrival *out);
ssize_t vf_wire_read(int fd, char *buffer, size_t room);
ssize_t vf_wire_write(int fd, const char *data, size_t len);
void vf_wire_finish(int fd);
void vf_wires_close(struct vf_wires *wires, int fd, bool reset);
uint64_t vf_clock_ns(void);
uint64_t vf_clock_wall_ms(void);
const char *uv_strerror(int code);
]]

local M = { C = ffi.C }

--- Codes of results.
M.EAGAIN, M.ECONNRESET = -11, -104

--- enum vf_wire_mode
M.ACCEPTS, M.REFUSES, M.HANGS = 0, 1, 2

-- The gateway runs inside: its Lua state is another, but a signal may come, and traces are for loops of Lua.
function M.turn(kit)
  if kit == nil then error("this gateway has ended", 0) end
  return ffi.C.vf_kit_turn(kit) ~= 0
end
function M.move(kit, ms) ffi.C.vf_kit_move(kit, ms) end
jit.off(M.turn)
jit.off(M.move)

return M
