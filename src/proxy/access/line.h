/* proxy/access/line.h - one exchange as one line of the access log: JSON, text or Apache combined.
 * Whatever a client sent, a line stays one line and valid in its format: control bytes, quotes,
 * backslashes and bytes that are not UTF-8 are escaped, and long values are cut ("..."). Numbers
 * and times are formatted here, without stdio: a line costs well below a microsecond. */
#ifndef VF_PROXY_ACCESS_LINE_H
#define VF_PROXY_ACCESS_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "snapshot/layout.h"

enum {
    VF_ACCESS_TARGET_BYTES = 8192, /* longest target and Referer logged, before escaping */
    VF_ACCESS_VALUE_BYTES = 1024   /* longest other value */
};

/* What is known of an exchange that has ended. Texts are borrowed for the call; len 0: does not
 * apply. A number that does not apply is 0. */
struct vf_access_record {
    uint64_t wall_ms; /* when it ended */
    struct vf_str request_id, tenant, listener, client;
    struct vf_str method, host, path; /* path: the target as received */
    uint32_t http_version;            /* 10, 11 or 20; in combined */
    uint32_t status;                  /* 0: the client went away before an answer */
    struct vf_str reason;             /* code of an answer made by VeloFlux itself */
    struct vf_str route, pool, backend;
    uint32_t upstream_status;
    uint32_t tries; /* backends asked */
    uint64_t bytes_in, bytes_out;
    uint64_t duration_us, connect_us, first_byte_us;
    struct vf_str consumer;
    struct vf_str tls_version, tls_cipher, server_name; /* without TLS: not in the line */
    struct vf_str referer, user_agent;                  /* in combined */
};

/* How lines look, and the texts of the second that was formatted last. One thread. */
struct vf_access_style {
    enum vf_snap_log_format format; /* not VF_ACCESS_AUTO */
    bool with_query;                /* false: ?a=1&b becomes ?a=***&*** */
    uint64_t second;                /* what the texts are for, plus 1; 0: none */
    char rfc3339[24], apache[32];   /* the latter with brackets: 28 bytes */
};

/* Makes a style. `format` is not VF_ACCESS_AUTO. */
void vf_access_style_init(struct vf_access_style *style, enum vf_snap_log_format format,
                          bool with_query);

/* Returns an upper bound of the bytes that vf_access_line writes for `record`: less than 256 KiB
 * whatever it holds. */
size_t vf_access_line_bound(const struct vf_access_record *record);

/* Writes `record` with a final newline at `out`, which has room for vf_access_line_bound bytes.
 * Returns the length; no other byte of the line is a newline. */
size_t vf_access_line(struct vf_access_style *style, const struct vf_access_record *record,
                      char *out);

#endif
