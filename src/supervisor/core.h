/* supervisor/core.h - what the parts of the supervisor share: one thread, one poll loop.
 *
 *   supervisor.c  command line to exit code: loop, signals
 *   stop.c        the way to the end
 *   child.c       one child process: start it, talk to it, reap it
 *   crew.c        who should run: posts and replacements, and whether they are alive
 *   crew_sockets.c  who serves which listening socket
 *   crew_events.c   what children say, and what follows from their ends
 *   publish.c     a configuration on its way: offered, bound, prepared, committed, published
 *   offer.c       whether what is offered can be
 *   settings.c    what the supervisor itself takes from what is published
 *   copies.c      a snapshot for those who may see all of it, and for the others
 *   shelf.c       tables that are kept for the children
 *   upgrade.c     the next binary: probe, handover table, execution in place
 *
 * Other code includes supervisor/supervisor.h only. */
#ifndef VF_SUPERVISOR_CORE_H
#define VF_SUPERVISOR_CORE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/link.h"
#include "base/timer.h"
#include "snapshot/state.h"
#include "snapshot/table/layout.h"
#include "snapshot/usage_file.h"
#include "supervisor/datadir.h"
#include "supervisor/ports.h"
#include "supervisor/supervisor.h"

struct vf_snapshot;
struct vf_supervisor;

/* The object of `type` whose `member` is at `pointer`. */
#define VF_OWNER_OF(pointer, type, member)                                                         \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* STARTING -> READY -> LEAVING;  any of them ends when the process does. */
enum vf_child_state { VF_CHILD_STARTING = 0, VF_CHILD_READY, VF_CHILD_LEAVING };

/* A listening socket that a child holds. */
struct vf_held {
    uint64_t socket_id;
    bool is_released; /* UNLISTEN was sent, UNLISTENED has not come yet */
};

/* One incarnation of a child process. Owned by the supervisor's list until it is reaped. */
struct vf_child {
    struct vf_child *next;
    enum vf_process_kind kind;
    enum vf_child_state state;
    pid_t pid;
    int link;  /* owned; -1 after its end */
    int block; /* leased for it; -1: in a state area of another layout, before an upgrade */
    uint32_t slot;
    uint32_t generation; /* of the binary it runs */
    uint64_t incarnation;
    uint64_t started_ns;
    uint64_t running_version; /* acknowledged */
    uint64_t sent_version;    /* sent to it for preparation last */
    bool is_awaited;          /* the transaction waits for its answer */
    bool is_full;             /* its link: what is said about sockets waits until it is not */
    const char *killed_for;   /* why we killed it, or NULL; static text */
    struct vf_held *held;     /* owned */
    uint32_t n_held, held_room;
};

/* A place that is always to be filled: control, checker, each worker slot. */
struct vf_post {
    struct vf_supervisor *super;
    enum vf_process_kind kind;
    uint32_t slot;
    bool is_wanted;
    struct vf_child *child; /* the holder, or NULL */
    uint64_t backoff_ms;    /* before the next replacement; 0: at once */
    struct vf_timer restart;
};

/* IDLE -> PREPARING -> WRITING -> PUBLISHING -> IDLE;  PREPARING, WRITING -> IDLE when refused */
enum vf_publish_state {
    VF_PUBLISH_IDLE = 0,
    VF_PUBLISH_PREPARING, /* children map it */
    VF_PUBLISH_WRITING,   /* control writes the model down */
    VF_PUBLISH_PUBLISHING /* committed; acknowledgements come in */
};

/* A snapshot for children. We map neither: both have keys. Owned; -1: there is none. */
struct vf_copies {
    int whole;   /* for control and workers */
    int checker; /* without what the checker has no business with; see snapshot/extract.h */
};

struct vf_publish {
    enum vf_publish_state state;
    struct vf_supervisor *super;
    struct vf_copies copies;      /* the offered snapshot */
    struct vf_snapshot *snapshot; /* the same without secrets, mapped; owned */
    struct vf_timer deadline;
};

struct vf_upgrade {
    struct vf_supervisor *super;
    pid_t probe;    /* running, or 0 */
    int binary_fd;  /* what is probed and then executed; -1: none */
    int table_fd;   /* the table given to the probe; -1: none */
    bool is_passed; /* probe passed; executed as soon as no transaction is under way */
    struct vf_timer deadline;
};

/* A table, for present and future children; see snapshot/table/layout.h. */
enum {
    VF_KEPT_GENERATION = 0,
    VF_KEPT_DELTA,
    VF_KEPT_READER /* the delta, read only */,
    VF_KEPT_FDS
};
struct vf_kept_table {
    uint64_t sequence;
    int fds[VF_KEPT_FDS]; /* owned; -1: there is none */
};

/* BOOTING -> RUNNING -> STOPPING -> DONE;  BOOTING -> DONE when the start fails */
enum vf_supervisor_phase {
    VF_SUPER_BOOTING = 0,
    VF_SUPER_RUNNING,
    VF_SUPER_STOPPING,
    VF_SUPER_DONE
};

struct vf_supervisor {
    struct vf_supervisor_options options;
    enum vf_supervisor_phase phase;
    int exit_code;
    bool is_stop_sent; /* the workers were told */
    bool is_ready;     /* the `ready` line is written */
    bool is_reloading; /* as the service manager knows it */
    bool is_upgrading; /* after an upgrade: the new children are not all READY yet */
    bool is_unsettled; /* sockets came back, or a link has room again: to be settled in this turn */

    int binary_fd;              /* our own image */
    char binary_path[PATH_MAX]; /* where it was, or where the next one is */
    int signal_fd;
    struct vf_timers timers;
    uint64_t woken_ns; /* when the loop turned last; see crew.c */
    struct vf_timer tick;
    struct vf_timer stop_grace;  /* until who was on the way is in the queues ... */
    uint64_t stop_due_ms;        /* ... at the latest by then */
    struct vf_timer close_grace; /* before sockets that nobody is sent to are closed */

    int state_fd;
    struct vf_state *state;
    struct vf_copies copies;      /* of the snapshot published last */
    struct vf_snapshot *snapshot; /* the same without secrets, mapped */
    uint64_t version;
    uint32_t generation;
    uint64_t last_incarnation;

    struct vf_kept_table shelf[VF_TABLES];
    struct vf_datadir datadir;
    struct vf_usage_file usage; /* in the data directory */
    char pid_file[PATH_MAX];    /* written; empty: none */
    struct vf_ports ports;
    struct vf_child *children;
    struct vf_post control, checker, workers[VF_SLOTS_MAX];
    uint32_t n_workers; /* wanted */
    uint32_t n_boot_deaths;
    bool is_reload_wanted;          /* SIGHUP came while control could not hear it */
    bool is_reload_repeated;        /* its replacement was told once more: not again */
    uint64_t reload_sent;           /* number of the last reload that control was told */
    uint64_t reload_ended;          /* of the last of which control has said the end */
    enum vf_link_mode control_mode; /* for the next control */
    struct vf_publish publish;
    struct vf_upgrade upgrade;
};

/* --- child.c --- */

/* Starts a child of `kind` for `slot`. Returns 0 and appends it to the list, or -errno. */
int vf_child_spawn(struct vf_supervisor *super, enum vf_process_kind kind, uint32_t slot,
                   struct vf_child **out);

/* Sends a message; a child that does not read its link is killed. */
void vf_child_send(struct vf_child *child, const struct vf_link_message *message);

/* As vf_child_send for a message of a type and two numbers. */
void vf_child_tell(struct vf_child *child, enum vf_link_type type, uint64_t a, uint64_t b);

/* Tells it the log levels that were set at run time. */
void vf_child_share_log(struct vf_child *child);

/* Gives it the file of usage counters, if there is one yet. */
void vf_child_share_usage(const struct vf_supervisor *super, struct vf_child *child);

/* Sends the copy of the snapshot that is for its kind, for preparation. */
void vf_child_prepare(struct vf_child *child, uint64_t version, const struct vf_copies *copies);

/* Remembers that it holds a socket. Returns false when out of memory. */
bool vf_child_hold(struct vf_child *child, uint64_t socket_id, bool is_released);

/* Gives it a listening socket, or asks it back. There may be more of these than a link holds: when
 * it is full nothing happens, and vf_crew_settle tries again once there is room. */
void vf_child_listen(struct vf_child *child, const struct vf_port *port, uint32_t slot);
void vf_child_unlisten(struct vf_child *child, uint64_t socket_id, bool drain_queue);

/* Forgets a held socket (UNLISTENED came). */
void vf_child_forget_socket(struct vf_child *child, uint64_t socket_id);

/* Returns the record of a held socket or NULL. */
struct vf_held *vf_child_find_socket(const struct vf_child *child, uint64_t socket_id);

/* Tells it to finish what is under way and exit. */
void vf_child_drain(struct vf_child *child);

/* Kills it at once; `reason` (static text) is logged when it is reaped. */
void vf_child_kill(struct vf_child *child, const char *reason);

/* Takes it out of the list and frees it; the process has ended, or becomes somebody else's. */
void vf_child_free(struct vf_supervisor *super, struct vf_child *child);

/* Returns "worker", "control" or "checker". */
const char *vf_child_name(enum vf_process_kind kind);

/* --- crew.c --- */

void vf_crew_init(struct vf_supervisor *super);

/* Returns the post that a child of this kind and slot is for. */
struct vf_post *vf_crew_post(struct vf_supervisor *super, enum vf_process_kind kind, uint32_t slot);

/* Fills empty posts that are wanted, and lets go of workers beyond n_workers. */
void vf_crew_fill(struct vf_supervisor *super);

/* Handles a message of a child. */
void vf_crew_message(struct vf_supervisor *super, struct vf_child *child,
                     struct vf_link_message *message);

/* Handles the end of a child with the wait status `status`. */
void vf_crew_ended(struct vf_supervisor *super, struct vf_child *child, int status);

/* Brings the sockets to those who should serve them now, steers new connections to slots with a
 * worker, closes what is to be closed and lets superseded children leave. Repeatable: called after
 * whatever changes any of this. */
void vf_crew_settle(struct vf_supervisor *super);

/* Kills who shows no heartbeat. Once a second. */
void vf_crew_check_heartbeats(struct vf_supervisor *super);

/* Returns true when every wanted post has a READY holder. */
bool vf_crew_is_complete(const struct vf_supervisor *super);

/* Asks the workers to take what waits and drain; the rest follows when they have ended. */
void vf_crew_stop(struct vf_supervisor *super);

/* --- publish.c --- */

void vf_publish_init(struct vf_supervisor *super);

/* Control offers the snapshot in `message`. */
void vf_publish_offer(struct vf_supervisor *super, struct vf_link_message *message);

/* A child has prepared `version`, has refused it by `message`, runs it, or has ended. */
void vf_publish_prepared(struct vf_supervisor *super, struct vf_child *child, uint64_t version);
void vf_publish_refused(struct vf_supervisor *super, struct vf_child *child,
                        const struct vf_link_message *message);
void vf_publish_running(struct vf_supervisor *super, struct vf_child *child);
void vf_publish_lost(struct vf_supervisor *super, struct vf_child *child);

/* Control has written `version` down: the point of no return. */
void vf_publish_commit(struct vf_supervisor *super, uint64_t version);

/* --- offer.c --- */

enum { VF_OFFER_FAULT_BYTES = 1024 };

/* Maps publish->copies.whole, which control offers as `version`, and judges it; opens what it needs
 * first: the data directory, ports, places for tenants. Returns 0, or a negative code with the
 * reason in *refusal and `fault` (VF_OFFER_FAULT_BYTES); then ports are as before. */
int vf_offer_accept(struct vf_supervisor *super, uint64_t version, enum vf_link_refusal *refusal,
                    char *fault);

/* --- settings.c --- */

/* Copies a text of a snapshot, cut at `size`, NUL-terminated. */
void vf_settings_text(const struct vf_snapshot *snapshot, struct vf_snap_text text, char *out,
                      size_t size);

/* Logs as the snapshot says, from here on. */
void vf_settings_set_up_log(const struct vf_snapshot *snapshot);

/* Takes from the published snapshot what is for us: log, pid file, workers. */
void vf_settings_apply(struct vf_supervisor *super);

/* --- copies.c --- */

/* Makes what the checker and we may see of the snapshot copies->whole: fills in copies->checker and
 * maps our own. Returns 0, or a negative code with the reason in `fault`. */
int vf_copies_map(struct vf_copies *copies, struct vf_snapshot **out, char *fault,
                  size_t fault_size);

/* Closes what there is of them. */
void vf_copies_close(struct vf_copies *copies);

/* --- shelf.c --- */

void vf_shelf_init(struct vf_supervisor *super);
void vf_shelf_close(struct vf_supervisor *super);

/* Closes the descriptors of one table. */
void vf_shelf_drop(struct vf_kept_table *kept);

/* Gives a new child all tables, before anything that may need them. */
void vf_shelf_give(const struct vf_supervisor *super, struct vf_child *child);

/* The control `from` offers the table in `message`: it is kept instead of its predecessor and given
 * to all others. A control that offers what cannot be read is killed. */
void vf_shelf_offer(struct vf_supervisor *super, struct vf_child *from,
                    struct vf_link_message *message);

/* After an upgrade: drops what this binary cannot read. Returns false when there was such a table:
 * control has to make it anew. */
bool vf_shelf_check(struct vf_supervisor *super);

/* --- upgrade.c --- */

void vf_upgrade_init(struct vf_supervisor *super);

/* Begins an upgrade to the binary that is at binary_path now, or logs why not. */
void vf_upgrade_start(struct vf_supervisor *super);

/* Returns true when `pid` was the probe, which ended with the wait status `status`. */
bool vf_upgrade_probe_ended(struct vf_supervisor *super, pid_t pid, int status);

/* Executes the probed binary if nothing stands against it now; then it does not return. */
void vf_upgrade_continue(struct vf_supervisor *super);

/* Takes over from the table in `fd`, which it closes. Returns 0 or -errno. */
int vf_upgrade_take_over(struct vf_supervisor *super, int fd);

/* --- supervisor.c --- */

/* Monotonic milliseconds, the clock of super->timers. */
uint64_t vf_supervisor_now_ms(void);

/* Starts `timer` to fire in `delay_ms`. */
void vf_supervisor_timer(struct vf_supervisor *super, struct vf_timer *timer, uint64_t delay_ms);

/* Tells control to reload, as soon as there is one that is READY. */
void vf_supervisor_request_reload(struct vf_supervisor *super);

/* Control has begun or ended a reload: tells the service manager. */
void vf_supervisor_reloading(struct vf_supervisor *super, bool has_begun);

/* Ends everything with an exit code; children are killed. The loop returns soon after. */
void vf_supervisor_quit(struct vf_supervisor *super, int exit_code);

/* Logs why the start failed and quits with 1. */
void vf_supervisor_fail_start(struct vf_supervisor *super, const char *why);

/* --- stop.c --- */

void vf_stop_init(struct vf_supervisor *super);

/* Drains and stops; nothing when that is under way, or nothing is served yet. */
void vf_stop_begin(struct vf_supervisor *super);

#endif
