/* http/cookie.h - reading the Cookie field (RFC 6265 section 4.2.1), leniently as its section 5
 * asks: pairs are separated by semicolons, white space around names and values goes, quotes
 * around a value too. A pair without "=" has an empty name. */
#ifndef VF_HTTP_COOKIE_H
#define VF_HTTP_COOKIE_H

#include <stdbool.h>

#include "base/str.h"

/* Takes the next pair off the front of `*rest`, the value of a Cookie field. Views point into it.
 * Returns false when nothing is left. */
bool vf_cookie_next(struct vf_str *rest, struct vf_str *name, struct vf_str *value);

/* Stores the value of the first cookie called `name` (case matters) in *value. Returns false when
 * the field has none. */
bool vf_cookie_find(struct vf_str cookie, struct vf_str name, struct vf_str *value);

#endif
