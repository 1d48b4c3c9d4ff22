/* net/stream_parts.h - a stream inside: what stream.c (its life, and events), stream_input.c
 * (receiving) and stream_output.c (sending) share. */
#ifndef VF_NET_STREAM_PARTS_H
#define VF_NET_STREAM_PARTS_H

#include "net/stream.h"

enum {
    VF_STREAM_TURN_BYTES = 48 * 1024, /* read before a flush: small messages of several streams */
    VF_STREAM_JOIN_BYTES = 8192       /* up to here a copy costs less than sending slices */
};

/* Offers to the kernel what is queued and what is kept below. Returns true when everything was
 * sent. */
bool vf_stream_offer(struct vf_stream *stream);

/* Tells the owner, who may take what was not sent (vf_stream_move_output); the rest is dropped. */
void vf_stream_fail(struct vf_stream *stream, int error);

/* Takes it off the list of those that have something to offer. */
void vf_stream_unlink_dirty(struct vf_stream *stream);

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
