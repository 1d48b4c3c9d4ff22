/* net/stream_parts.h - a stream inside: what stream.c (its life, sending, events) and
 * stream_input.c (receiving) share. */
#ifndef VF_NET_STREAM_PARTS_H
#define VF_NET_STREAM_PARTS_H

#include "net/stream.h"

enum {
    VF_STREAM_TURN_BYTES = 48 * 1024 /* read before a flush: small messages of several streams */
};

/* Called by the reactor before the turn of events: receives what is certain to be read in it. */
void vf_stream_gather(struct vf_io *io, uint32_t events);

/* What was gathered for the stream has been read, or will not be. */
static inline void vf_stream_forget_gathered(struct vf_stream *stream)
{
    if (!stream->has_gathered)
        return;
    stream->has_gathered = false;
    if (--stream->net->n_gathered == 0)
        stream->net->gathered = 0;
}

#endif
