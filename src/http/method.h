/* http/method.h - request methods by number. The numbers are llhttp's (llhttp_method_t), below 64,
 * so that a set of methods is a 64-bit mask. Methods of other protocols that llhttp knows (RTSP,
 * Icecast, the HTTP/2 preface) are no methods here. Every other token is an extension method: they
 * share one number, and their names tell them apart.
 * Source: RFC 9110 sections 9 and 16.1 and the IANA registry of HTTP methods. */
#ifndef VF_HTTP_METHOD_H
#define VF_HTTP_METHOD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum { VF_METHOD_BYTES = 32 }; /* of the longest method: the registry's have 17 at most */

/* The methods that this code names; all others are known by number and name only. */
enum {
    VF_METHOD_DELETE = 0,
    VF_METHOD_GET = 1,
    VF_METHOD_HEAD = 2,
    VF_METHOD_POST = 3,
    VF_METHOD_PUT = 4,
    VF_METHOD_CONNECT = 5,
    VF_METHOD_OPTIONS = 6,
    VF_METHOD_TRACE = 7,
    VF_METHOD_PATCH = 28,
    VF_METHOD_OTHER = 63, /* an extension method: see its name */
    VF_METHODS = 64       /* numbers are below this */
};

/* Returns the name ("GET"), or an empty view for a number that has none of its own. */
struct vf_str vf_method_name(int method);

/* Returns the number of the method called `name` (methods are case-sensitive), or -1. */
int vf_method_from_name(const char *name, size_t len);

/* The same for the method of a request: a token that is no method known here is an extension
 * method, VF_METHOD_OTHER. Returns -1 for what is not forwarded: no token, one longer than
 * VF_METHOD_BYTES, the HTTP/2 preface's PRI, and a known method in other case, which some backends
 * take for that method and others do not. */
int vf_method_read(const char *name, size_t len);

/* RFC 9110 section 9.2.1: GET, HEAD, OPTIONS, TRACE and those registered as safe. */
bool vf_method_is_safe(int method);

/* RFC 9110 section 9.2.2: PUT, DELETE, the safe ones and those registered as idempotent. */
bool vf_method_is_idempotent(int method);

/* Writes the methods of `mask` as an Allow field value ("GET, HEAD") at `out`, which has room for
 * VF_METHOD_LIST_BYTES. Returns its length in bytes; no NUL. */
size_t vf_method_list(uint64_t mask, char *out);

enum { VF_METHOD_LIST_BYTES = 512 };

#endif
