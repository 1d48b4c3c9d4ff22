--- What control says to the supervisor, and what it is told by the state area: functions of
-- src/control/control.c. Specs put another table in its place.
local ffi = require "ffi"

ffi.cdef [[
void vf_control_offer(uint64_t version, int fd);
void vf_control_commit(uint64_t version);
void vf_control_reloading(int is_reloading);
uint64_t vf_control_published(void);
void vf_control_set_config(int is_ok, const char *message);
int vf_control_drop(uint32_t uid, uint32_t gid);
int vf_control_watch(const char *path);
void vf_control_give_up(void);
void vf_control_log(const char *level, const char *event, uint64_t version, const char *message);
]]
local C = ffi.C

local M = {}

--- Offers a snapshot to all processes; the descriptor is the supervisor's from here on.
function M.offer(version, fd) C.vf_control_offer(version, fd) end

--- Publishes what was offered and prepared.
function M.commit(version) C.vf_control_commit(version) end

--- Says that a reload has begun or ended.
function M.reloading(is_reloading) C.vf_control_reloading(is_reloading and 1 or 0) end

--- Returns the published version, 0 before the first.
function M.published() return tonumber(C.vf_control_published()) end

--- Says in the state area what became of the last configuration.
function M.set_config(is_ok, message) C.vf_control_set_config(is_ok and 1 or 0, message) end

--- Becomes another user. Returns 0 or a negative error.
function M.drop(uid, gid) return C.vf_control_drop(uid, gid) end

--- Watches a file or folder. Returns false when that is not possible.
function M.watch(path) return C.vf_control_watch(path) == 0 end

--- Ends the process with exit code 1.
function M.give_up() C.vf_control_give_up() end

function M.log(level, event, message, version) C.vf_control_log(level, event, version or 0, message) end

return M
