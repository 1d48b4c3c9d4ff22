/* control/control.h - the control process: model and compiler in Lua, the admin address, reloads.
 * Executed as `veloflux --role=control`. The data plane never needs it to be alive.
 *
 * lua/veloflux/control decides; control.c moves messages between the supervisor and Lua. What Lua
 * calls through FFI is in control_calls.c: */
#ifndef VF_CONTROL_CONTROL_H
#define VF_CONTROL_CONTROL_H

#include <stddef.h>
#include <stdint.h>

struct vf_database_host;
struct vf_redis_host;
struct vf_snapb;
struct vf_stage;
struct vf_turn_figures;

/* Runs control until the supervisor ends it. Returns the exit code; 1 when the conf file has
 * problems at a fresh start. */
int vf_control_main(void);

/* Loads and compiles the conf as a new binary would: the path `conf`, or the text in the memfd
 * `conf_fd` unless it is -1. Problems go to standard error. Returns the exit code. */
int vf_control_probe(const char *conf, int conf_fd);

/* Offers the snapshot in the memfd `fd`, which is control's from here on: the supervisor binds, has
 * it prepared and answers with an event "prepared" or "refused". */
void vf_control_offer(uint64_t version, int fd);

/* The model is written down: publish. The event "live" follows. */
void vf_control_commit(uint64_t version);

/* Sets the log levels of all processes, as vf_log_override (base/log.h) takes them. Returns 0 or
 * -EINVAL. */
int vf_control_set_log(const char *text);

/* Calls veloflux.control.alarms.ring in `delay_ms`, instead of what was asked for before. */
void vf_control_alarm(uint64_t delay_ms);

/* Work on a thread: see control/offload.h. */
int vf_control_parse(double token, const char *data, size_t len);
int vf_control_replace(double token, const char *path, const char *data, size_t len, uint32_t mode);
int vf_control_finish(double token, struct vf_snapb *builder, uint64_t version);
void vf_control_free_snapshot(struct vf_snapb *builder);
void vf_control_trim(void);

/* Tells how long the turns of the loop took (control/turns.h). Returns 1, or 0 when this process is
 * not control; then *out is left alone. */
int vf_control_turns(struct vf_turn_figures *out);

/* Asks the supervisor to drain this node and end it, as after SIGTERM. */
void vf_control_stop_node(void);

/* A reload has begun (1) or ended (0); for the service manager. */
void vf_control_reloading(int is_reloading);

/* Returns the version that is published now. */
uint64_t vf_control_published(void);

/* Shows in the state area what became of the last configuration. `message` is NUL-terminated. */
void vf_control_set_config(int is_ok, const char *message);

/* Gives up root for good: sets the ids and no_new_privs. Does nothing for who is not root. Returns
 * 0 or -errno. */
int vf_control_drop(uint32_t uid, uint32_t gid);

/* Hands a new table to the workers, through the supervisor: before what is committed next. A
 * vf_table_offer. */
void vf_control_offer_table(uint32_t kind, uint64_t sequence, int generation_fd, int delta_fd);

/* vf_stage_publish (snapshot/table/stage.h) that offers to the workers. */
int vf_control_publish_stage(struct vf_stage *stage);

/* Returns where answers of databases come to (lua/database/database.h):
 * veloflux.store.database.ready. */
const struct vf_database_host *vf_control_database_host(void);

/* And events of Redis servers (lua/redis_client.h): veloflux.store.redis.wire.ready. */
const struct vf_redis_host *vf_control_redis_host(void);

/* Raises the event "changed" when the file or folder changes. Returns 0 or UV_E*. */
int vf_control_watch(const char *path);

/* Ends the process with exit code 1: nothing can be served. */
void vf_control_give_up(void);

/* Writes one event of `level` ("info", "warn", "error") to the log, with a version unless it is 0.
 */
void vf_control_log(const char *level, const char *event, uint64_t version, const char *message);

#endif
