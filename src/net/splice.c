#define _GNU_SOURCE
#include "net/splice.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { PIPE_BYTES = 1024 * 1024, SPARE_PIPES = 16 };

static void close_pipe(struct vf_splice *pipes)
{
    close(pipes->ends[0]);
    close(pipes->ends[1]);
    free(pipes);
}

struct vf_splice *vf_splice_take(struct vf_net *net)
{
    struct vf_splice *pipes = net->spare_pipes;
    if (pipes != NULL) {
        net->spare_pipes = pipes->next;
        net->n_spare_pipes--;
        return pipes;
    }
    pipes = calloc(1, sizeof(*pipes));
    if (pipes == NULL)
        return NULL;
    if (pipe2(pipes->ends, O_CLOEXEC | O_NONBLOCK) < 0) {
        free(pipes);
        return NULL;
    }
    fcntl(pipes->ends[1], F_SETPIPE_SZ, PIPE_BYTES); /* a smaller one works as well */
    return pipes;
}

void vf_splice_give(struct vf_net *net, struct vf_splice *pipes)
{
    if (pipes == NULL)
        return;
    if (pipes->held > 0 || net->n_spare_pipes >= SPARE_PIPES) {
        close_pipe(pipes);
        return;
    }
    pipes->next = net->spare_pipes;
    net->spare_pipes = pipes;
    net->n_spare_pipes++;
}

void vf_splice_trim(struct vf_net *net)
{
    while (net->spare_pipes != NULL) {
        struct vf_splice *next = net->spare_pipes->next;
        close_pipe(net->spare_pipes);
        net->spare_pipes = next;
    }
    net->n_spare_pipes = 0;
}

ssize_t vf_splice_fill(struct vf_splice *pipes, struct vf_stream *from, size_t len)
{
    ssize_t n =
        splice(from->io.fd, NULL, pipes->ends[1], NULL, len, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (n > 0)
        pipes->held += (size_t)n;
    if (n >= 0)
        return n;
    from->readable = false;
    return uv_translate_sys_error(errno);
}

ssize_t vf_splice_drain(struct vf_splice *pipes, struct vf_stream *to, bool more)
{
    unsigned flags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK | (more ? SPLICE_F_MORE : 0);
    ssize_t moved = 0;
    while (pipes->held > 0) {
        ssize_t n = splice(pipes->ends[0], NULL, to->io.fd, NULL, pipes->held, flags);
        if (n < 0 && errno == EAGAIN) {
            to->blocked = true;
            break;
        }
        if (n <= 0)
            return n < 0 ? uv_translate_sys_error(errno) : UV_EPIPE;
        pipes->held -= (size_t)n;
        to->bytes_out += (uint64_t)n;
        moved += n;
    }
    return moved;
}
