/* control/control_core.h - the control process inside: what control.c (its life: events, sockets,
 * messages of the supervisor) and control_calls.c (what Lua calls) share. */
#ifndef VF_CONTROL_CONTROL_CORE_H
#define VF_CONTROL_CONTROL_CORE_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "control/admin.h"
#include "control/alarm.h"
#include "control/channels.h"
#include "control/metering.h"
#include "control/offload.h"
#include "lua/background.h"
#include "control/turns.h"
#include "control/upkeep.h"
#include "snapshot/follower.h"

enum {
    VF_CONTROL_SOCKETS = 256,
    VF_CONTROL_NAME_BYTES = 136, /* of a listener: the schema allows 128 */
    VF_CONTROL_WATCHES = 512
};

/* A listening socket of the admin address or the command line. */
struct vf_control_socket {
    uint64_t id;
    int fd;
    char name[VF_CONTROL_NAME_BYTES];
    bool is_open;
};

struct vf_control {
    uv_loop_t loop;
    struct vf_follower follower;
    lua_State *lua;
    struct vf_admin *admin;
    struct vf_channels *channels;
    struct vf_background background;
    struct vf_metering metering;
    struct vf_upkeep upkeep;
    struct vf_alarm alarm;
    struct vf_turns turns;
    struct vf_offload offload;
    struct vf_control_socket sockets[VF_CONTROL_SOCKETS];
    size_t n_sockets;
    uv_fs_poll_t watches[VF_CONTROL_WATCHES];
    size_t n_watches;
    uint64_t reload_heard, reload_begun; /* numbers of the supervisor's requests */
    int offered; /* the memfd that was offered last, until it comes back to be prepared; or 0 */
    bool is_published;
    bool is_ending;
    int exit_code;
};

/* The one of this process; all zeros in others. */
extern struct vf_control vf_control;

/* Calls veloflux.control.on_event(name, number, text). A fault there is logged and survived. */
void vf_control_raise(const char *name, uint64_t number, const char *text);

/* Says whether `fd` is the memfd that was offered last, and forgets that. */
bool vf_control_has_offered(int fd);

/* Calls a function of a store's module without arguments. A fault there is logged. */
void vf_control_call_store(const char *module, const char *name);

#endif
