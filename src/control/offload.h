/* control/offload.h - work for Lua on the threads of the loop: what would keep others waiting for
 * long and needs no Lua. Each answer goes to a function of veloflux.control.offload, from the loop.
 * What is under way keeps the loop alive. */
#ifndef VF_CONTROL_OFFLOAD_H
#define VF_CONTROL_OFFLOAD_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct lua_State;
struct vf_snapb;

struct vf_offload { /* the caller's memory; stays until the loop has ended */
    uv_loop_t *loop;
    struct lua_State *lua;
};

/* Begins. `lua` outlives the loop. */
void vf_offload_open(struct vf_offload *offload, uv_loop_t *loop, struct lua_State *lua);

/* Parses `len` bytes at `data` (lua/yaml.h), which the caller keeps until `parsed(token, document)`
 * is called: a pointer that is Lua's to free, or nil when there was no memory. Returns 0 or UV_E*;
 * then nothing is called. */
int vf_offload_parse(struct vf_offload *offload, double token, const char *data, size_t len);

/* Replaces a file (lua/files.h) by bytes that the caller keeps until `replaced(token, rc)` is
 * called. Returns 0 or UV_E*; then nothing is called. */
int vf_offload_replace(struct vf_offload *offload, double token, const char *path, const char *data,
                       size_t len, uint32_t mode);

/* Finishes a builder (snapshot/builder.h), which the caller leaves alone, with all that it was
 * carried over from, until `finished(token, fault)` is called: why it could not be, or nil. Returns
 * 0 or UV_E*; then nothing is called. */
int vf_offload_finish(struct vf_offload *offload, double token, struct vf_snapb *builder,
                      uint64_t version);

/* Frees a finished builder: its snapshot, which may be large, on a thread, or at once when that is
 * not possible. */
void vf_offload_free(struct vf_offload *offload, struct vf_snapb *builder);

/* Gives memory that was freed back to the system, sooner or later. */
void vf_offload_trim(struct vf_offload *offload);

#endif
