/* lua/command.h - a command whose output is wanted: started without a shell's help and without
 * blocking, asked now and then, ended when it takes too long. */
#ifndef VF_LUA_COMMAND_H
#define VF_LUA_COMMAND_H

#include <stddef.h>
#include <stdint.h>

struct vf_command { /* the caller's memory; between start and its end, what runs is the caller's */
    int32_t pid;
    int32_t fd; /* where its output is read from; -1: it has ended */
};

/* Starts `argv` (NULL behind the last), found by PATH, in a process group of its own: standard
 * input and error are /dev/null, other descriptors are closed. Returns 0 or -errno. */
int vf_command_start(const char *const *argv, struct vf_command *out);

/* Appends what it has written to `buffer`, of which *used of `room` bytes are in use. Waits for at
 * most `wait_ms` until there is something. Returns 1 when it has ended: *status is its exit code,
 * or minus the signal; 0 while it runs; -ENOBUFS when it writes too much, or another -errno: it
 * still runs, and is to be killed. */
int vf_command_read(struct vf_command *command, uint32_t wait_ms, char *buffer, size_t room,
                    size_t *used, int32_t *status);

/* Ends it and what it has started. Does nothing when it has ended. */
void vf_command_kill(struct vf_command *command);

#endif
