/* lua/view_parts.h - what the files behind view.h share: view.c (the request, and the exchange as a
 * whole), view_route.c (its route, and the pool of that), view_fields.c (header fields),
 * view_backend.c (what the backend gets, and which one), view_upstream_tls.c (the TLS to it),
 * view_answer.c (answers and their content). */
#ifndef VF_LUA_VIEW_PARTS_H
#define VF_LUA_VIEW_PARTS_H

#include "lua/view.h"

struct vf_fields;

/* Copies into the exchange's arena. Data is NULL when out of memory. */
struct vf_str vf_view_keep(struct vf_exchange *ex, const char *data, size_t len);

/* Edits a list of fields, `how` being enum vf_view_edit. Returns enum vf_view_result. */
int vf_view_edit(struct vf_exchange *ex, struct vf_fields *fields, int how, struct vf_str name,
                 struct vf_str value);

#endif
