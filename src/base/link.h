/* base/link.h - messages between the supervisor and a child: one packet each, with descriptors.
 * A link is a pair of SOCK_SEQPACKET unix sockets, so messages keep their borders and their order,
 * and the death of one side is end of file on the other. A message is a type, a few numbers, a
 * short text and up to a few descriptors (SCM_RIGHTS); whatever is large travels as a memfd.
 *
 * After an upgrade the new supervisor talks to children of the old binary: types and the meaning of
 * their numbers are never changed, only added; what a receiver does not know it ignores. */
#ifndef VF_BASE_LINK_H
#define VF_BASE_LINK_H

#include <stdint.h>

enum {
    VF_LINK_FD = 3,            /* where a child finds its end of the link */
    VF_LINK_ARGS = 8,          /* numbers of a message */
    VF_LINK_TEXT_BYTES = 2048, /* longest text of a message */
    VF_LINK_FDS = 2            /* most descriptors of a message */
};

enum vf_link_type {
    VF_LINK_NONE = 0,

    /* supervisor to any child */
    VF_LINK_START = 1,    /* first of all. args: block, slot (0 based), generation, log level, log
                             format, enum vf_link_mode, 1: watch the conf file; fds: state area [,
                             memfd with the conf's text]; text: path of the conf file (control) */
    VF_LINK_DRAIN = 2,    /* finish what is under way, then exit 0 */
    VF_LINK_LISTEN = 3,   /* args: socket id, enum vf_link_socket; fds: it; text: listener name */
    VF_LINK_UNLISTEN = 4, /* args: socket id, 1: take what waits in its queue first */
    VF_LINK_PREPARE = 5,  /* args: version; fds: snapshot (the checker's: without secrets). Answer:
                             PREPARED or REFUSED */
    VF_LINK_PUBLISH = 6,  /* args: version. Answer: RUNNING */
    VF_LINK_ABANDON = 7,  /* args: version, which was prepared */
    VF_LINK_REOPEN = 8,   /* open log files anew */
    VF_LINK_USAGE = 9,    /* fds: the file of usage counters */
    VF_LINK_TABLE = 10,   /* args: enum vf_table_kind, sequence; fds: generation, delta (writable
                             for control). From here on lookups are answered from it */
    VF_LINK_LOG = 11,     /* text: levels at run time, as vf_log_override takes them */

    /* any child to the supervisor */
    VF_LINK_PREPARED = 32,   /* args: version. The supervisor to control: write it down, COMMIT */
    VF_LINK_REFUSED = 33,    /* args: version, enum vf_link_refusal; text: why. Also the supervisor
                                to control */
    VF_LINK_RUNNING = 34,    /* args: version */
    VF_LINK_UNLISTENED = 35, /* args: socket id */

    /* control and supervisor */
    VF_LINK_RELOAD = 64,    /* supervisor: read the conf file again. args: number of the request */
    VF_LINK_OFFER = 65,     /* control. args: version; fds: snapshot. Answer: PREPARED or REFUSED */
    VF_LINK_COMMIT = 66,    /* control. args: version. Answer: LIVE */
    VF_LINK_LIVE = 67,      /* supervisor. args: version, workers that do not run it yet */
    VF_LINK_RELOADING = 68, /* control. args: 1 a reload has begun, 0 it has ended; newest request
                                that had come when it began */
    VF_LINK_OFFER_TABLE = 69, /* control. args and fds of TABLE, which the supervisor sends to all
                                 before it handles what control says next */
    VF_LINK_SET_LOG = 70,     /* control. text of LOG, which the supervisor sends to all */
    VF_LINK_STOP = 71         /* control. drain and end, as after SIGTERM */
};

/* What control does first. */
enum vf_link_mode {
    VF_LINK_FRESH = 0, /* compile the conf file and offer it; exit 1 when it has problems */
    VF_LINK_RESUME,    /* a predecessor published: offer its last model if that is newer */
    VF_LINK_RECOMPILE  /* as RESUME, but offer in any case: the layout changed with the binary */
};

/* Why a snapshot is refused. */
enum vf_link_refusal {
    VF_LINK_UNFIT = 0, /* the configuration cannot be served */
    VF_LINK_UNABLE     /* it could, but for want of memory or the like: a moment later it may be */
};

/* What a listening socket is for. */
enum vf_link_socket {
    VF_LINK_SOCKET_PROXY = 0, /* clients of the proxy; to workers */
    VF_LINK_SOCKET_ADMIN,     /* the admin address; to control */
    VF_LINK_SOCKET_CLI        /* control.sock in the data directory; to control */
};

struct vf_link_message {
    uint32_t type; /* enum vf_link_type */
    uint32_t n_fds;
    uint64_t args[VF_LINK_ARGS];
    int fds[VF_LINK_FDS]; /* sent: stay the sender's; received: the receiver's, close-on-exec */
    uint32_t text_len;
    char text[VF_LINK_TEXT_BYTES + 1]; /* NUL-terminated, may not contain NUL */
};

/* Makes a message of `type` with zeros for numbers and no text. */
void vf_link_message_init(struct vf_link_message *message, enum vf_link_type type);

/* Sets the text, cut to what fits. */
void vf_link_message_text(struct vf_link_message *message, const char *text);

/* Appends a descriptor; there must be room. */
void vf_link_message_fd(struct vf_link_message *message, int fd);

/* Takes descriptor `index` out of a received message: the caller owns it. Returns -1 if there is
 * none. */
int vf_link_take_fd(struct vf_link_message *message, uint32_t index);

/* Closes the descriptors of a received message that nobody took. */
void vf_link_message_deinit(struct vf_link_message *message);

/* Makes a link: both ends non-blocking and close-on-exec, owned by the caller. Returns 0 or
 * -errno. */
int vf_link_pair(int ends[2]);

/* Sends `message` without waiting. Returns 0; -EAGAIN when the other side has stopped reading;
 * -EPIPE when it is gone; or another -errno. */
int vf_link_send(int link, const struct vf_link_message *message);

/* As vf_link_send, but waits up to `wait_ms` for room. */
int vf_link_send_wait(int link, const struct vf_link_message *message, int wait_ms);

/* Returns 1 while the other side has taken most of what was sent: then there is room for many small
 * messages (a few hundred fit a link); and when it is gone. Else 0. */
int vf_link_has_room(int link);

/* Receives one message without waiting. Returns 1, and the caller calls vf_link_message_deinit; 0
 * at end of file; -EAGAIN when there is none; -EBADMSG for a packet that is not a message (it is
 * gone, its descriptors are closed); or another -errno. */
int vf_link_receive(int link, struct vf_link_message *message);

#endif
