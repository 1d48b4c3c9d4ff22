#include "lua/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int prepare_files(posix_spawn_file_actions_t *files, int output)
{
    int rc = posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(files, output, STDOUT_FILENO);
    if (rc == 0)
        rc = posix_spawn_file_actions_addopen(files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_addclosefrom_np(files, STDERR_FILENO + 1);
    return rc;
}

/* Signals that we ignore or block are as usual for it, and it has a group of its own. */
static int prepare_attributes(posix_spawnattr_t *attributes)
{
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    int rc = posix_spawnattr_setsigdefault(attributes, &all);
    if (rc == 0)
        rc = posix_spawnattr_setsigmask(attributes, &none);
    if (rc == 0)
        rc = posix_spawnattr_setpgroup(attributes, 0);
    if (rc == 0)
        rc = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK |
                                                      POSIX_SPAWN_SETPGROUP);
    return rc;
}

static int spawn(const char *const *argv, int output, pid_t *pid)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    int rc = posix_spawn_file_actions_init(&files);
    if (rc != 0)
        return -rc;
    rc = posix_spawnattr_init(&attributes);
    if (rc == 0) {
        rc = prepare_files(&files, output);
        if (rc == 0)
            rc = prepare_attributes(&attributes);
        if (rc == 0)
            rc = posix_spawnp(pid, argv[0], &files, &attributes, (char *const *)argv, environ);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&files);
    return -rc;
}

int vf_command_start(const char *const *argv, struct vf_command *out)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return -errno;
    /* the writer's end blocks, as programs expect of their output */
    int rc = fcntl(ends[1], F_SETFL, 0) == 0 ? 0 : -errno;
    pid_t pid = 0;
    if (rc == 0)
        rc = spawn(argv, ends[1], &pid);
    close(ends[1]);
    if (rc < 0) {
        close(ends[0]);
        return rc;
    }
    out->pid = (int32_t)pid;
    out->fd = ends[0];
    return 0;
}

static void close_output(struct vf_command *command)
{
    close(command->fd);
    command->fd = -1;
}

/* Returns 1 when it has ended. Its output may be closed before. */
static int reap(struct vf_command *command, int32_t *status)
{
    int how = 0;
    pid_t pid = waitpid(command->pid, &how, WNOHANG);
    if (pid == 0 || (pid < 0 && errno == EINTR))
        return 0;
    if (pid < 0)
        return -errno;
    close_output(command);
    *status = WIFSIGNALED(how) ? -WTERMSIG(how) : WEXITSTATUS(how);
    return 1;
}

int vf_command_read(struct vf_command *command, uint32_t wait_ms, char *buffer, size_t room,
                    size_t *used, int32_t *status)
{
    if (wait_ms > 0) {
        struct pollfd wanted = {.fd = command->fd, .events = POLLIN};
        poll(&wanted, 1, (int)wait_ms);
    }
    for (;;) {
        char beyond;
        bool is_full = *used == room;
        ssize_t n =
            read(command->fd, is_full ? &beyond : buffer + *used, is_full ? 1 : room - *used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? 0 : -errno;
        if (n == 0) { /* closed: it ends soon, or has ended */
            int rc = reap(command, status);
            if (rc == 0 && wait_ms > 0)
                usleep(wait_ms * 1000);
            return rc;
        }
        if (is_full)
            return -ENOBUFS;
        *used += (size_t)n;
    }
}

void vf_command_kill(struct vf_command *command)
{
    if (command->fd < 0)
        return;
    kill(-command->pid, SIGKILL);
    while (waitpid(command->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    close_output(command);
}
