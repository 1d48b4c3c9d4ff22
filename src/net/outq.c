#include "net/outq.h"

#include <stdlib.h>

struct vf_outq *vf_outq_new(void)
{
    struct vf_outq *out = malloc(sizeof(*out));
    if (out != NULL) {
        out->buffer = NULL;
        out->size = out->begin = out->end = out->slice_bytes = 0;
        out->n_slices = 0;
    }
    return out;
}

void vf_outq_free(struct vf_outq *out)
{
    free(out->buffer);
    free(out);
}

void vf_outq_free_spare(struct vf_net *net)
{
    while (net->spare != NULL) {
        struct vf_outq *next = net->spare->next;
        vf_outq_free(net->spare);
        net->spare = next;
    }
}

static bool reserve(struct vf_outq *out, size_t more)
{
    size_t used = out->end - out->begin;
    if (out->begin > 0 && used + more <= out->size) {
        memmove(out->buffer, out->buffer + out->begin, used);
        out->begin = 0;
        out->end = used;
    }
    if (out->end + more <= out->size)
        return true;
    size_t size = out->size == 0 ? 16384 : out->size;
    while (size < used + more)
        size *= 2;
    char *buffer = malloc(size);
    if (buffer == NULL)
        return false;
    if (used > 0)
        memcpy(buffer, out->buffer + out->begin, used);
    free(out->buffer);
    out->buffer = buffer;
    out->size = size;
    out->begin = 0;
    out->end = used;
    return true;
}

int vf_outq_keep_slices(struct vf_outq *out, struct vf_net *net)
{
    if (out->slice_bytes > 0 && !reserve(out, out->slice_bytes))
        return UV_ENOMEM;
    for (int i = 0; i < out->n_slices; i++) {
        memcpy(out->buffer + out->end, out->slices[i].iov_base, out->slices[i].iov_len);
        out->end += out->slices[i].iov_len;
    }
    net->buffered_bytes += out->slice_bytes;
    out->n_slices = 0;
    out->slice_bytes = 0;
    return 0;
}
