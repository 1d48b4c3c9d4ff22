/* tls/client_hello.h - reads the server name of a ClientHello without answering it, for connections
 * that are passed on as they are. Bounded and pure: the caller gives all bytes so far, again with
 * more when they were too few; nothing is kept.
 *
 * Sources: RFC 8446 sections 4.1.2, 4.2 and 5.1; RFC 5246 section 7.4.1.2; RFC 6066 section 3. */
#ifndef VF_TLS_CLIENT_HELLO_H
#define VF_TLS_CLIENT_HELLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    VF_CLIENT_HELLO_BODY = 16 * 1024, /* bytes of the message, its own header included */
    VF_CLIENT_HELLO_RECORDS = 64,     /* that it may be cut into */
    VF_CLIENT_HELLO_MAX = VF_CLIENT_HELLO_BODY + 5 * VF_CLIENT_HELLO_RECORDS,
    VF_CLIENT_HELLO_NAME = 254, /* bytes of a name, with a NUL */
    VF_CLIENT_HELLO_ALERT = 7,  /* bytes of an alert */
    VF_CLIENT_HELLO_RECORD = 22 /* its first byte: the type of its record */
};

/* Alerts (RFC 8446 section 6.2). */
enum vf_alert {
    VF_ALERT_UNEXPECTED_MESSAGE = 10,
    VF_ALERT_ILLEGAL_PARAMETER = 47,
    VF_ALERT_DECODE_ERROR = 50,
    VF_ALERT_INTERNAL_ERROR = 80,
    VF_ALERT_INAPPROPRIATE_FALLBACK = 86,
    VF_ALERT_UNRECOGNIZED_NAME = 112
};

struct vf_client_hello {
    char name[VF_CLIENT_HELLO_NAME]; /* asked for, in lower case without a dot at its end; empty:
                                        none, or an IP address, which is no name */
    uint32_t name_len;
    enum vf_alert alert; /* why it was refused */
    const char *fault;   /* the same in words; static */
};

/* Reads the hello that `len` bytes begin with. Returns 1 and the name; 0 when it needs more bytes,
 * which never are more than VF_CLIENT_HELLO_MAX; or VF_EMALFORMED, with alert and fault: more bytes
 * would not help. What follows the hello is not looked at. */
int vf_client_hello_read(const char *data, size_t len, struct vf_client_hello *out);

/* Looks at a whole ClientHello, its header included, for what mbedTLS lets pass: an extension that
 * comes twice (RFC 8446 section 4.2), bytes behind the last one, no method of no compression, and
 * the mark of a client that has tried a newer version before (RFC 7507), while it `is_older` than
 * the newest one here. Returns 0, or the alert that refuses it. */
int vf_client_hello_check(const uint8_t *message, size_t len, bool is_older);

/* Writes a fatal alert as a record. */
void vf_client_hello_alert(enum vf_alert alert, char out[VF_CLIENT_HELLO_ALERT]);

#endif
