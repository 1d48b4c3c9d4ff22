/* http/h2_fields.h - fields on their way out by HTTP/2, as nghttp2 takes them: names in lower case,
 * and none that HTTP/2 has frames for or that is written by us (RFC 9113 sections 8.2.1, 8.2.2). */
#ifndef VF_HTTP_H2_FIELDS_H
#define VF_HTTP_H2_FIELDS_H

#include <nghttp2/nghttp2.h>

#include "http/message.h"

/* Returns true for a field that was not dropped and that HTTP/2 may have. */
bool vf_h2_may_be_sent(const struct vf_field *field);

/* The views are kept, not copied. */
nghttp2_nv vf_h2_pair(struct vf_str name, struct vf_str value);

/* Writes the name in lower case at `at`, which has room for it. */
void vf_h2_put_lower(char *at, struct vf_str name);

/* Copies trailer fields into one block of memory, which the caller frees. Returns their number; 0
 * with *out NULL when there are none (`trailers` may be NULL), or no memory for them. */
size_t vf_h2_copy_trailers(const struct vf_fields *trailers, nghttp2_nv **out);

#endif
