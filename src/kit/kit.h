/* kit/kit.h - a gateway inside the command line, for the specs of plugins: the data plane of a
 * worker with its plugins, driven by hand. What its clients and backends are is the spec's business
 * (kit/wires.h); its clocks stand still until the spec moves them, its choices follow from a seed,
 * its log is caught. Called by lua/veloflux/kit through FFI, in a Lua state that has nothing to do
 * with that of the plugins: they cannot reach any of this.
 *
 * One gateway at a time: clocks, log and network are the process's. */
#ifndef VF_KIT_KIT_H
#define VF_KIT_KIT_H

#include <stddef.h>
#include <stdint.h>

struct vf_kit;
struct vf_snapshot;
struct vf_stage;
struct vf_state;
struct vf_wires;

/* Makes a gateway that has no configuration yet; the wall clock begins at `wall_ms`. Owned by the
 * caller. Returns 0 or UV_E*. */
int vf_kit_new(double seed, double wall_ms, struct vf_kit **out);

/* Uses the snapshot in the memfd `fd`, which is closed. Returns 0, or UV_E* with a message for
 * people in `fault`; nothing has changed then. */
int vf_kit_publish(struct vf_kit *kit, int fd, char *fault, size_t fault_bytes);

/* Opens control in it, once (kit/desk.h). Returns 0 or UV_E*. */
int vf_kit_open_desk(struct vf_kit *kit);

/* vf_desk_call and vf_desk_fault of that. */
const char *vf_kit_desk_call(struct vf_kit *kit, const char *name, const char *text);
const char *vf_kit_desk_fault(const struct vf_kit *kit);

/* The gateway that there is, for the Lua of its control. */
struct vf_kit *vf_kit_current(void);

/* Makes a table say what its stage says (snapshot/table/stage.h). Returns 0 or UV_E*. */
int vf_kit_publish_stage(struct vf_stage *stage);

/* Runs the loop once, without waiting for a clock. Returns 1 when there may be more to do at once,
 * 0 when everything waits: for the spec's ends of wires, or for time. */
int vf_kit_turn(struct vf_kit *kit);

/* Returns in how many milliseconds the gateway has something to do at the latest, or -1. */
double vf_kit_wait_ms(const struct vf_kit *kit);

/* Moves the clocks by `ms` and runs the timers that are due. */
void vf_kit_move(struct vf_kit *kit, double ms);

/* Connects a client with this address to the listener called `listener`. Returns the client's end,
 * owned by the caller, or UV_E*. */
int vf_kit_connect(struct vf_kit *kit, const char *listener, const char *ip, int port);

/* Takes the lines logged since the last call: JSON, each with its newline; valid until the next
 * call. Returns their length. */
size_t vf_kit_log(struct vf_kit *kit, const char **lines);

/* Returns how many items queues of plugins hold. */
double vf_kit_pending(struct vf_kit *kit);

struct vf_wires *vf_kit_wires(struct vf_kit *kit);
struct vf_state *vf_kit_state(struct vf_kit *kit);
const struct vf_snapshot *vf_kit_snapshot(const struct vf_kit *kit);

/* Ends everything at once and gives clocks, log and network back. Returns 0, or UV_EBUSY when a
 * handle of the loop was not closed: a fault of ours. */
int vf_kit_free(struct vf_kit *kit);

#endif
