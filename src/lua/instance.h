/* lua/instance.h - the running instance of a data directory, as the command line reaches it. Calls
 * block: the process has nothing else to do. */
#ifndef VF_LUA_INSTANCE_H
#define VF_LUA_INSTANCE_H

#include <stddef.h>
#include <sys/types.h>

/* Returns the pid in `lock_path` when somebody holds the lock on that file (supervisor/datadir.h),
 * 0 when nobody does or there is no such file, or -errno. */
pid_t vf_instance_pid(const char *lock_path);

/* Asks process `pid` to stop (SIGTERM) and waits until it has ended, at most `timeout_ms` (-1: for
 * ever). Returns 0, -ETIMEDOUT, or -errno (-ESRCH: it has ended already; -EPERM: not ours). */
int vf_instance_stop(pid_t pid, int timeout_ms);

/* Sends `len` bytes to `address` and reads the answer until its end, waiting at most `timeout_ms`
 * for the connection and for each piece. An address with a slash is the path of a unix socket;
 * others are HOST:PORT or [IPv6]:PORT. Stores the answer (NUL-terminated, to be freed with
 * vf_instance_free) in *answer. Returns its length or -errno (-EMSGSIZE: more than 64 MiB; -EINVAL:
 * not an address; -ENXIO: no such host). */
ssize_t vf_instance_ask(const char *address, const char *request, size_t len, int timeout_ms,
                        char **answer);
void vf_instance_free(char *answer);

#endif
