/* supervisor/supervisor.h - the first process: sockets, shared memory, children, signals, upgrade.
 * It holds what must not go down with anything else, keeps its privileges for its life, parses
 * nothing that comes from outside and runs no Lua. Everything else happens in children, which are
 * this same program executed again (hidden option --role) and may be killed at any time. */
#ifndef VF_SUPERVISOR_SUPERVISOR_H
#define VF_SUPERVISOR_SUPERVISOR_H

#include <stdbool.h>
#include <stddef.h>

struct vf_supervisor_options {
    const char *conf;        /* path of the conf file; or what to call the text */
    int conf_fd;             /* memfd with the conf's text instead of a file; -1: none */
    bool watch;              /* reload when the conf file changes */
    const char *private_dir; /* removed at the end (`veloflux proxy`), or NULL */
};

/* Runs until it is told to stop. Borrows the strings of `options`, owns conf_fd. Returns the exit
 * code: 0 after a stop, 1 when the start failed (and was explained on standard error). */
int vf_supervisor_run(const struct vf_supervisor_options *options);

/* As vf_supervisor_run for a binary that was executed in place: `table_fd` is the handover table,
 * which holds the options too. */
int vf_supervisor_take_over(int table_fd);

enum { VF_PROBE_TABLE_FD = 3 /* where a probe finds the handover table */ };

/* Reads a handover table as a probe does: can this binary take over? Returns 0 and where the conf
 * is: its path in `conf` (NUL-terminated, cut at conf_bytes) and its text in *conf_fd, or -1 there;
 * or -errno. */
int vf_supervisor_probe(int table_fd, char *conf, size_t conf_bytes, int *conf_fd);

/* Tells who runs the probe, in the handover table, that it passed. Returns 0 or -errno. */
int vf_supervisor_vouch(int table_fd);

#endif
