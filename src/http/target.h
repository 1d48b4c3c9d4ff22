/* http/target.h - request targets: their forms, the normal form of a path, and valid hosts.
 * What two parsers could read differently is refused (encoded slashes, backslashes, NUL, climbing
 * above the root, fragments, userinfo); what browsers send although RFC 3986 forbids it (such as
 * `|` or bytes from 0x80) passes as it is.
 * Sources: RFC 9112 section 3.2, RFC 9110 sections 4.2 and 7.2, RFC 3986 sections 2, 3, 5.2.4. */
#ifndef VF_HTTP_TARGET_H
#define VF_HTTP_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum vf_target_form {
    VF_TARGET_ORIGIN = 0, /* "/path?query" */
    VF_TARGET_ABSOLUTE,   /* "http://authority/path?query" */
    VF_TARGET_AUTHORITY,  /* "host:port", with CONNECT only */
    VF_TARGET_ASTERISK    /* "*", with OPTIONS only */
};

/* Why a target is refused (all of them: 400). Returned negated. */
enum vf_target_fault {
    VF_TARGET_EMPTY = 1,
    VF_TARGET_BAD_FORM,      /* none of the forms, or not one for this method */
    VF_TARGET_BAD_BYTE,      /* control, space, backslash in the path, or the '#' of a fragment */
    VF_TARGET_BAD_ESCAPE,    /* % without two hexadecimal digits */
    VF_TARGET_ESCAPED_SLASH, /* %2F or %5C in the path */
    VF_TARGET_ESCAPED_NUL,   /* %00 in the path */
    VF_TARGET_ABOVE_ROOT,    /* dot segments that climb above the root */
    VF_TARGET_BAD_AUTHORITY, /* not a valid host with an optional port; userinfo */
    VF_TARGET_FAULTS
};

struct vf_target {
    uint32_t form;           /* enum vf_target_form */
    struct vf_str scheme;    /* absolute form: as sent, any case; else empty */
    struct vf_str authority; /* absolute and authority form: host with port; else empty */
    struct vf_str path;      /* origin: as sent; absolute: as sent, "/" when empty ("*" for OPTIONS
                                without query, RFC 9112 section 3.2.4); "*"; else empty */
    struct vf_str query;     /* without '?' */
    bool has_query;          /* there was a '?' */
};

/* Takes the request-target `raw` of a request with `method` (http/method.h) apart. All views in
 * *out point into `raw` or to static text. Returns 0 or a negated fault, and then the offset of the
 * offending byte in *fault_at. The path has been looked at for its extent only: vf_path_normalise
 * judges it. */
int vf_target_parse(struct vf_str raw, int method, struct vf_target *out, size_t *fault_at);

struct vf_path {
    struct vf_str text; /* the normal form: in the raw bytes when they are it, else in the buffer */
    bool had_dots;      /* the raw path had dot segments, encoded or not: forward the normal form */
    bool is_changed;    /* the normal form differs from the raw bytes */
};

/* Normalises the path `raw`, which begins with a slash (or is "*"): unreserved escapes are decoded,
 * the others get upper-case digits, dot segments are removed, repeated slashes stay. `buffer` has
 * room for raw.len bytes and is touched only if the form changes. Returns 0 or a negated fault, and
 * then the offset of the offending byte in *fault_at. */
int vf_path_normalise(struct vf_str raw, char *buffer, struct vf_path *out, size_t *fault_at);

struct vf_target_rule {
    const char *reason;  /* stable code, such as "target_escaped_slash" */
    const char *section; /* "RFC 9112 3.2" */
};

/* Returns the rule that `fault` (a code returned here, negated or not) broke. */
struct vf_target_rule vf_target_rule(int fault);

/* Returns true when `host` is a Host field value or authority without userinfo: a registered name,
 * IPv4 address or bracketed IP literal, with an optional port of at most 65535. An empty host is
 * not valid here: who accepts an empty Host field tests for it. */
bool vf_host_is_valid(struct vf_str host);

/* Splits a valid host into name (brackets of an IP literal kept, one trailing dot dropped) and port
 * (-1: none or empty). */
void vf_host_split(struct vf_str host, struct vf_str *name, int *port);

#endif
