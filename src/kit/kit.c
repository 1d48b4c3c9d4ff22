#define _GNU_SOURCE
#include "kit/kit.h"

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "kit/desk.h"
#include "kit/wires.h"
#include "lua/plugins.h"
#include "proxy/core.h"
#include "proxy/downstream.h"
#include "proxy/proxy.h"
#include "snapshot/address.h"
#include "snapshot/snapshot.h"
#include "snapshot/state.h"
#include "snapshot/table/stage.h"

enum { LOG_BYTES = 1024 * 1024, CLOSING_TURNS = 1000 };

/* The monotonic clock at the start: on a tick of the timer wheel, so that whole seconds pass as
 * whole seconds. */
static const uint64_t START_NS = 1000000ULL * 1000000000ULL;

struct vf_kit {
    uv_loop_t loop;
    struct vf_wires wires;
    struct vf_state *state;
    struct vf_proxy *proxy;
    struct vf_plugins *plugins; /* NULL until a configuration has some */
    struct vf_desk *desk;       /* NULL unless control is under test, too */
    struct vf_snapshot *snapshot;
    int block;
    char *log[2]; /* what is logged, and what was given out */
    size_t log_len;
};

static struct vf_kit *current; /* whose log is caught */

/* The log */

/* A spec that logs more than there is room for loses the rest. */
static void on_line(const char *line, size_t len)
{
    if (current->log_len + len > LOG_BYTES)
        return;
    memcpy(current->log[0] + current->log_len, line, len);
    current->log_len += len;
}

size_t vf_kit_log(struct vf_kit *kit, const char **lines)
{
    char *taken = kit->log[0];
    size_t len = kit->log_len;
    kit->log[0] = kit->log[1];
    kit->log[1] = taken;
    kit->log_len = 0;
    *lines = taken;
    return len;
}

static int catch_log(struct vf_kit *kit)
{
    kit->log[0] = malloc(LOG_BYTES);
    kit->log[1] = malloc(LOG_BYTES);
    if (kit->log[0] == NULL || kit->log[1] == NULL)
        return UV_ENOMEM;
    current = kit;
    vf_log_setup(VF_LOG_INFO, VF_LOG_JSON, "kit");
    vf_log_divert(on_line);
    return 0;
}

/* Life */

static int make_state(struct vf_kit *kit)
{
    int fd = vf_state_create(&kit->state);
    if (fd < 0)
        return fd;
    close(fd);
    kit->block = vf_state_lease(kit->state, VF_PROCESS_WORKER, 0, 1);
    return kit->block < 0 ? UV_ENOSPC : 0;
}

static int make_parts(struct vf_kit *kit)
{
    int rc;
    if ((rc = catch_log(kit)) < 0 || (rc = make_state(kit)) < 0)
        return rc;
    return vf_proxy_new(&kit->loop, kit->state, kit->block, NULL, &kit->proxy);
}

int vf_kit_new(double seed, double wall_ms, struct vf_kit **out)
{
    struct vf_kit *kit = calloc(1, sizeof(*kit));
    if (kit == NULL)
        return UV_ENOMEM;
    int rc = uv_loop_init(&kit->loop);
    if (rc < 0) {
        free(kit);
        return rc;
    }
    signal(SIGPIPE, SIG_IGN); /* as in every process that serves */
    vf_clock_hold(START_NS, (uint64_t)wall_ms);
    vf_random_hold((uint64_t)seed);
    vf_wires_init(&kit->wires);
    rc = make_parts(kit);
    if (rc < 0) {
        vf_kit_free(kit);
        return rc;
    }
    *out = kit;
    return 0;
}

/* Runs until all handles have closed and threads have come back. */
static int close_loop(uv_loop_t *loop)
{
    for (int i = 0; i < CLOSING_TURNS && uv_run(loop, UV_RUN_ONCE) != 0; i++)
        ;
    return uv_loop_close(loop);
}

int vf_kit_free(struct vf_kit *kit)
{
    if (kit == NULL)
        return 0;
    vf_desk_stop(kit->desk);
    vf_plugins_stop(kit->plugins);
    vf_proxy_free(kit->proxy);
    vf_plugins_free(kit->plugins);
    vf_desk_free(kit->desk);
    vf_snapshot_release(&kit->snapshot);
    int rc = close_loop(&kit->loop);
    vf_state_unmap(kit->state);
    vf_wires_deinit(&kit->wires);
    vf_log_divert(NULL);
    vf_log_override("");
    vf_random_release();
    vf_clock_release();
    current = NULL;
    free(kit->log[0]);
    free(kit->log[1]);
    if (rc == 0) /* else the loop still knows it */
        free(kit);
    return rc;
}

/* Configuration */

static int prepare(struct vf_kit *kit, struct vf_snapshot *snapshot, char *fault,
                   size_t fault_bytes)
{
    int rc = vf_proxy_prepare(kit->proxy, snapshot);
    if (rc == 0 && kit->plugins == NULL && vf_snap_count(snapshot, VF_SNAP_PLUGINS) > 0)
        rc = vf_plugins_new(&kit->loop, kit->proxy, kit->state, kit->block, &kit->plugins);
    if (rc == 0 && kit->plugins != NULL)
        rc = vf_plugins_prepare(kit->plugins, snapshot, fault, fault_bytes);
    return rc;
}

/* Nobody ever comes by this descriptor: connections are handed over, see vf_kit_connect. */
static int listen_on_all(struct vf_kit *kit)
{
    uint32_t n = vf_snap_count(kit->snapshot, VF_SNAP_LISTENERS);
    for (uint32_t i = 0; i < n; i++) {
        const struct vf_snap_listener *listener = vf_snap_listener(kit->snapshot, i);
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        int rc = fd < 0
                     ? UV_EMFILE
                     : vf_proxy_listen(kit->proxy, vf_snap_str(kit->snapshot, listener->name), fd);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int publish(struct vf_kit *kit, struct vf_snapshot *snapshot)
{
    struct vf_snapshot *old = kit->snapshot;
    kit->snapshot = snapshot;
    const struct vf_snap_settings *settings = vf_snap_settings(snapshot);
    vf_log_setup((enum vf_log_level)settings->log_level, VF_LOG_JSON, "kit");
    if (kit->plugins != NULL)
        vf_plugins_publish(kit->plugins, snapshot);
    vf_proxy_publish(kit->proxy, snapshot);
    if (kit->desk != NULL)
        vf_desk_publish(kit->desk, snapshot);
    if (old == NULL)
        return listen_on_all(kit);
    vf_snapshot_release(&old);
    return 0;
}

int vf_kit_publish(struct vf_kit *kit, int fd, char *fault, size_t fault_bytes)
{
    struct vf_snapshot *snapshot = NULL;
    fault[0] = '\0';
    int rc = vf_snapshot_open(fd, &snapshot);
    close(fd);
    if (rc < 0) {
        snprintf(fault, fault_bytes, "%s", vf_snapshot_fault());
        return rc;
    }
    if ((rc = prepare(kit, snapshot, fault, fault_bytes)) < 0) {
        if (fault[0] == '\0')
            snprintf(fault, fault_bytes, "%s", uv_strerror(rc));
        vf_snapshot_release(&snapshot);
        return rc;
    }
    return publish(kit, snapshot);
}

static void offer_to_nobody(uint32_t kind, uint64_t sequence, int generation_fd, int delta_fd)
{
    (void)kind;
    (void)sequence;
    (void)generation_fd;
    (void)delta_fd;
}

int vf_kit_publish_stage(struct vf_stage *stage)
{
    return vf_stage_publish(stage, offer_to_nobody);
}

/* Control */

int vf_kit_open_desk(struct vf_kit *kit)
{
    int rc = vf_desk_new(&kit->loop, kit->proxy, kit->state, &kit->desk);
    if (rc == 0 && kit->snapshot != NULL)
        vf_desk_publish(kit->desk, kit->snapshot);
    return rc;
}

const char *vf_kit_desk_call(struct vf_kit *kit, const char *name, const char *text)
{
    return vf_desk_call(kit->desk, name, text);
}

const char *vf_kit_desk_fault(const struct vf_kit *kit)
{
    return vf_desk_fault(kit->desk);
}

struct vf_kit *vf_kit_current(void)
{
    return current;
}

/* Running */

/* Work in other threads (password hashes) takes real time, in which the clocks stand still. */
static bool threads_work(const struct vf_kit *kit)
{
    return kit->loop.active_reqs.count > 0;
}

int vf_kit_turn(struct vf_kit *kit)
{
    struct pollfd ready = {.fd = uv_backend_fd(&kit->loop), .events = POLLIN};
    uv_run(&kit->loop, threads_work(kit) ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    return threads_work(kit) || uv_backend_timeout(&kit->loop) == 0 || poll(&ready, 1, 0) > 0;
}

double vf_kit_wait_ms(const struct vf_kit *kit)
{
    uint64_t due_ms = vf_reactor_due_ms(kit->proxy->reactor);
    if (due_ms == UINT64_MAX)
        return -1;
    uint64_t now_ms = vf_clock_ns() / 1000000;
    return due_ms > now_ms ? (double)(due_ms - now_ms) : 0;
}

void vf_kit_move(struct vf_kit *kit, double ms)
{
    vf_clock_move((uint64_t)(ms * 1e6));
    vf_reactor_run_timers(kit->proxy->reactor);
}

/* Clients */

static struct vf_acceptor *find_acceptor(const struct vf_kit *kit, const char *name)
{
    struct vf_acceptor *acceptor = kit->proxy->acceptors;
    while (acceptor != NULL && strcmp(acceptor->name, name) != 0)
        acceptor = acceptor->next;
    return acceptor;
}

static int parse_address(const char *ip, int port, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof(*out));
    return strchr(ip, ':') != NULL ? uv_ip6_addr(ip, port, (struct sockaddr_in6 *)out)
                                   : uv_ip4_addr(ip, port, (struct sockaddr_in *)out);
}

int vf_kit_connect(struct vf_kit *kit, const char *listener, const char *ip, int port)
{
    struct vf_acceptor *acceptor = find_acceptor(kit, listener);
    struct sockaddr_storage address;
    int fds[2], rc;
    if (acceptor == NULL)
        return UV_ENOENT;
    if ((rc = parse_address(ip, port, &address)) < 0 ||
        (rc = vf_wires_open(&kit->wires, SOCK_STREAM, fds)) < 0)
        return rc;
    struct vf_snap_address peer = vf_address_from_socket(&address);
    vf_reactor_refresh(kit->proxy->reactor);
    vf_downstream_accept(acceptor, fds[0], &peer);
    vf_proxy_flush(kit->proxy);
    return fds[1];
}

/* What it is made of */

double vf_kit_pending(struct vf_kit *kit)
{
    return kit->plugins != NULL ? vf_plugins_pending(kit->plugins) : 0;
}

struct vf_wires *vf_kit_wires(struct vf_kit *kit)
{
    return &kit->wires;
}

struct vf_state *vf_kit_state(struct vf_kit *kit)
{
    return kit->state;
}

const struct vf_snapshot *vf_kit_snapshot(const struct vf_kit *kit)
{
    return kit->snapshot;
}
