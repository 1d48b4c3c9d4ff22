/* http/h1_write.h - heads as HTTP/1.1 text. Start line, framing and connection fields are always
 * written here; the other field lines are those of the head that were not dropped. */
#ifndef VF_HTTP_H1_WRITE_H
#define VF_HTTP_H1_WRITE_H

#include "http/message.h"

/* The Connection field to write. */
enum vf_h1_connection {
    VF_H1_PERSIST = 0, /* none: HTTP/1.1 connections persist */
    VF_H1_KEEP_ALIVE,  /* keep-alive, for HTTP/1.0 clients */
    VF_H1_CLOSE,
    VF_H1_UPGRADE,       /* with the head's Upgrade value */
    VF_H1_CLOSE_UPGRADE, /* both */
    VF_H1_TRAILERS       /* TE: trailers */
};

struct vf_h1_framing_lines {
    bool length;  /* Content-Length: head->content_length */
    bool chunked; /* Transfer-Encoding: chunked */
    enum vf_h1_connection connection;
};

/* Returns the text of a request head for `method`, `target` and `host`, in the arena; NULL data
 * when out of memory. */
struct vf_str vf_h1_write_request(struct vf_arena *arena, const struct vf_head *head,
                                  struct vf_str method, struct vf_str target, struct vf_str host,
                                  const struct vf_h1_framing_lines *lines);

/* Returns the text of an answer's head, in the arena; NULL data when out of memory. */
struct vf_str vf_h1_write_response(struct vf_arena *arena, const struct vf_head *head,
                                   const struct vf_h1_framing_lines *lines);

/* Returns the last chunk with its trailer section, in the arena. `trailers` may be NULL; fields
 * that may not stand in a trailer (framing, routing, RFC 9110 section 6.5.1) are left out. */
struct vf_str vf_h1_write_last_chunk(struct vf_arena *arena, const struct vf_fields *trailers);

enum { VF_H1_CHUNK_LINE_BYTES = 18 };

/* Writes the line before a chunk of `len` bytes at `out` (VF_H1_CHUNK_LINE_BYTES). Returns its
 * length. */
size_t vf_h1_chunk_line(uint64_t len, char *out);

#endif
