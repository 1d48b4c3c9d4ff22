/* snapshot/follower.h - the child's end of the link: what worker, checker and control share.
 * A follower maps the state area, shows that it lives (heartbeat), maps the tables it is given
 * (snapshot/table/set.h, ahead of the snapshots that need them), maps the snapshots it is given
 * and keeps each until nobody uses it. What only one kind of child understands goes to its handler.
 *
 *   START, then: PREPARE -> on_prepare -> PREPARED or REFUSED;  PUBLISH -> on_publish -> RUNNING
 *
 * When the supervisor is gone the link ends: on_orphaned. A follower belongs to one loop. */
#ifndef VF_SNAPSHOT_FOLLOWER_H
#define VF_SNAPSHOT_FOLLOWER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/link.h"
#include "base/log.h"
#include "snapshot/state.h"
#include "snapshot/usage.h"

struct vf_snapshot;

struct vf_follower_handlers {
    void *owner; /* passed back as the first argument */
    /* Is `fd` a sealed snapshot that this process has made, and checked, itself? Then it is not
     * checked again. May be NULL: no. */
    bool (*is_checked)(void *owner, int fd);
    /* Could `snapshot` be served? Returns 0, or UV_E* and nothing has changed (follower->fault
     * may say more). May be NULL: yes. */
    int (*on_prepare)(void *owner, struct vf_snapshot *snapshot);
    /* `snapshot`, prepared before, is the configuration from here on. May be NULL. */
    void (*on_publish)(void *owner, struct vf_snapshot *snapshot);
    /* Any other message, and USAGE when it is mapped. The handler takes the descriptors that it
     * wants to keep. */
    void (*on_message)(void *owner, struct vf_link_message *message);
    /* The supervisor is gone: finish what is under way. No message comes any more. */
    void (*on_orphaned)(void *owner);
};

struct vf_follower {
    uv_loop_t *loop;
    struct vf_state *state;
    int block;                         /* ours in `state` */
    uint32_t slot;                     /* worker slot, from 0 */
    enum vf_link_mode mode;            /* of control */
    bool watches_conf;                 /* control: reload when the conf file changes */
    char conf[VF_LINK_TEXT_BYTES + 1]; /* path of the conf file (control) */
    struct vf_usage usage; /* mapped before the first PREPARE comes; goes with the process */
    int conf_fd;           /* memfd with the conf's text instead of a file, or -1; owned */
    char process[32];      /* for the log: "worker-1" */
    struct vf_follower_handlers handlers;

    /* private */
    int link;
    char fault[512]; /* filled in by on_prepare where its error has more to say */
    bool is_closing;
    uv_poll_t poll;
    uv_timer_t heartbeat;
    uint64_t beat_ns;             /* when the last heartbeat was */
    struct vf_snapshot *prepared; /* waits for PUBLISH, or NULL */
    struct vf_snapshot *running;  /* what new work gets, or NULL */
    struct vf_snapshot **old;     /* replaced, but somebody else holds a reference still */
    uint32_t n_old, old_room;
    void (*on_closed)(void *owner);
    int n_open; /* handles */
};

/* Waits for START on VF_LINK_FD, maps the state area and sets up the log as `name` ("worker-%u"
 * with the slot from 1). Ignores the signals that are the supervisor's business. Returns 0,
 * UV_EPROTO when nobody speaks the protocol there (the program was not started by a supervisor) or
 * another UV_E* code. The caller then makes what it needs and calls start. */
int vf_follower_open(struct vf_follower *follower, uv_loop_t *loop, const char *name);

/* Begins to follow: handlers are called from the loop from here on. Returns 0 or UV_E*. */
int vf_follower_start(struct vf_follower *follower, const struct vf_follower_handlers *handlers);

/* Sends a message to the supervisor. Failure means that it is gone or stuck, and is dealt with when
 * the link ends. */
void vf_follower_send(struct vf_follower *follower, const struct vf_link_message *message);

/* As vf_follower_send for a message of a type and one number. */
void vf_follower_tell(struct vf_follower *follower, enum vf_link_type type, uint64_t arg);

/* Releases the snapshots, closes the handles and the link; `on_closed` (may be NULL) is called from
 * the loop when they are closed and the memory may go. */
void vf_follower_close(struct vf_follower *follower, void (*on_closed)(void *owner));

#endif
