/* http/message.h - message heads: what any codec hands to the exchange, and takes from it.
 * All views point into memory of the caller's arena and live as long as it. */
#ifndef VF_HTTP_MESSAGE_H
#define VF_HTTP_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"

/* Fields that the proxy itself looks at or writes. */
enum vf_field_id {
    VF_FIELD_OTHER = 0,
    VF_FIELD_ACCEPT,
    VF_FIELD_CONNECTION,
    VF_FIELD_CONTENT_LENGTH,
    VF_FIELD_COOKIE,
    VF_FIELD_DATE,
    VF_FIELD_EXPECT,
    VF_FIELD_FORWARDED,
    VF_FIELD_HOST,
    VF_FIELD_HTTP2_SETTINGS,
    VF_FIELD_KEEP_ALIVE,
    VF_FIELD_MAX_FORWARDS,
    VF_FIELD_PROXY_CONNECTION,
    VF_FIELD_TE,
    VF_FIELD_TRAILER,
    VF_FIELD_TRANSFER_ENCODING,
    VF_FIELD_UPGRADE,
    VF_FIELD_VIA,
    VF_FIELD_X_FORWARDED_FOR,
    VF_FIELD_X_FORWARDED_HOST,
    VF_FIELD_X_FORWARDED_PROTO,
    VF_FIELD_X_REQUEST_ID,
    VF_FIELD_IDS
};

struct vf_field {
    struct vf_str name;  /* as received */
    struct vf_str value; /* without surrounding white space */
    enum vf_field_id id;
    bool dropped; /* not forwarded: hop-by-hop, replaced by a line of our own, or removed */
    bool removed; /* by a plugin: it sees it no more, as it sees what is only not forwarded */
    bool is_ours; /* of a request: for the backend only, the client did not send it */
};

struct vf_fields {
    struct vf_field *list; /* in the arena, in the order received */
    uint32_t count, room;
    uint32_t present; /* bit 1 << id for every id in the list (VF_FIELD_OTHER excluded) */
};

/* How the end of a body is known (RFC 9112 section 6.3). */
enum vf_framing {
    VF_FRAMING_NONE = 0, /* no body */
    VF_FRAMING_LENGTH,   /* content_length bytes */
    VF_FRAMING_CHUNKED,
    VF_FRAMING_CLOSE /* answers only: until the connection closes */
};

struct vf_head {
    struct vf_fields fields;
    struct vf_fields trailers; /* behind the content; complete when that is */
    uint32_t version_minor;    /* of HTTP/1.x; 1 for HTTP/2, which can do as much */
    bool is_h2;
    enum vf_framing framing;
    uint64_t content_length; /* for VF_FRAMING_LENGTH; of a HEAD answer: as declared */
    bool has_content_length;
    bool keep_alive;                  /* the sender lets the connection persist */
    bool wants_upgrade;               /* Connection: upgrade and an Upgrade field */
    bool te_trailers;                 /* TE: trailers */
    struct vf_str connection_upgrade; /* value of Upgrade when wants_upgrade */

    /* requests */
    uint32_t method;           /* http/method.h */
    struct vf_str method_name; /* as received */
    struct vf_str target;      /* request-target as received */
    struct vf_str host;        /* of the target's authority, else the Host field; may be empty */
    bool expects_continue;

    /* answers */
    uint32_t status;
    struct vf_str reason; /* may be empty */
};

/* Returns the version of a message: 10, 11 or 20. */
static inline uint32_t vf_head_version(const struct vf_head *head)
{
    return head->is_h2 ? 20 : 10 + head->version_minor;
}

/* Why a message was refused. */
struct vf_fault {
    uint32_t status;     /* to answer with: 400, 413, 414, 417, 431, 501, 505; for answers 502 */
    const char *code;    /* stable reason code: "malformed_request" */
    const char *rule;    /* what was broken, one line */
    const char *section; /* "RFC 9112 section 6.1" */
    size_t offset;       /* bytes from the start of the message */
};

/* Returns the id of a field name (any case). */
enum vf_field_id vf_field_id(struct vf_str name);

/* Appends a field; the views are kept, not copied. Returns 0 or UV_ENOMEM. */
int vf_fields_add(struct vf_fields *fields, struct vf_arena *arena, struct vf_str name,
                  struct vf_str value);

/* Appends the field `id` (not VF_FIELD_OTHER) under its usual name, as who writes fields himself
 * does. Returns 0 or UV_ENOMEM. */
int vf_fields_add_known(struct vf_fields *fields, struct vf_arena *arena, enum vf_field_id id,
                        struct vf_str value);

/* Returns the first field called `name` in any case, dropped ones included, or NULL. */
struct vf_field *vf_fields_find(const struct vf_fields *fields, struct vf_str name);

/* Returns the first field with `id`, or NULL. */
struct vf_field *vf_fields_get(const struct vf_fields *fields, enum vf_field_id id);

static inline bool vf_fields_have(const struct vf_fields *fields, enum vf_field_id id)
{
    return (fields->present >> id & 1) != 0;
}

/* Returns the values of all fields with `id` joined by ", " in the arena (one field: its value
 * itself). An empty view when there is none; data is NULL when out of memory. */
struct vf_str vf_fields_joined(const struct vf_fields *fields, enum vf_field_id id,
                               struct vf_arena *arena);

/* Marks every hop-by-hop field as dropped: the known ones and those that Connection names (RFC 9110
 * section 7.6.1). Host and framing fields cannot be named away: they are always dropped, because
 * their lines are written anew. A Connection that was dropped before names nothing any more: what
 * was added since is not its sender's to take away. */
void vf_fields_drop_hop_by_hop(struct vf_fields *fields);

extern const bool vf_token_chars[256];

/* Returns true when `c` may stand in a token. */
static inline bool vf_is_token_char(char c)
{
    return vf_token_chars[(unsigned char)c];
}

/* Returns true when `name` is a token (RFC 9110 section 5.6.2). */
bool vf_is_token(struct vf_str name);

/* Returns true when `value` has only characters that a field value may have (section 5.5). */
bool vf_is_field_value(struct vf_str value);

/* Returns the usual reason phrase of `status`, "Unknown" when there is none. */
struct vf_str vf_status_reason(uint32_t status);

#endif
