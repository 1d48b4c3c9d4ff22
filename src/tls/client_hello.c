#include "tls/client_hello.h"

#include <string.h>

#include "base/error.h"
#include "base/str.h"

enum {
    RECORD_HEADER = 5,
    RECORD_BYTES = 16 * 1024, /* of a record that is not encrypted (RFC 8446 section 5.1) */
    MESSAGE_HEADER = 4,
    CLIENT_HELLO = 1,
    RANDOM_BYTES = 32,
    SESSION_ID_BYTES = 32,
    EXTENSION_SERVER_NAME = 0,
    NAME_TYPE_HOST = 0,
    FALLBACK_SCSV = 0x5600,
    EXTENSIONS = 64, /* that are compared: more than anybody sends */
    LABEL_BYTES = 63
};

static int refuse(struct vf_client_hello *out, enum vf_alert alert, const char *fault)
{
    out->alert = alert;
    out->fault = fault;
    out->name_len = 0;
    out->name[0] = '\0';
    return VF_EMALFORMED;
}

/* Records */

/* The handshake message, put together from its records. */
struct message {
    uint8_t bytes[VF_CLIENT_HELLO_BODY];
    size_t len;
    size_t want; /* all of it; 0: its header is not there yet */
};

/* Looks at the header of the message as soon as it is there. */
static int judge_message(struct message *message, struct vf_client_hello *out)
{
    const uint8_t *at = message->bytes;
    if (message->len > 0 && at[0] != CLIENT_HELLO)
        return refuse(out, VF_ALERT_UNEXPECTED_MESSAGE, "not_a_client_hello");
    if (message->len < MESSAGE_HEADER)
        return 0;
    message->want = MESSAGE_HEADER + ((size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3]);
    if (message->want > VF_CLIENT_HELLO_BODY)
        return refuse(out, VF_ALERT_ILLEGAL_PARAMETER, "hello_too_large");
    return 0;
}

/* Looks at as many bytes of a record's header as there are. */
static int judge_record(const uint8_t *at, size_t len, struct vf_client_hello *out)
{
    if (len > 0 && at[0] != VF_CLIENT_HELLO_RECORD)
        return refuse(out, VF_ALERT_UNEXPECTED_MESSAGE, "not_a_handshake");
    if (len > 1 && at[1] != 3)
        return refuse(out, VF_ALERT_DECODE_ERROR, "record_version");
    if (len < RECORD_HEADER)
        return 0;
    size_t bytes = (size_t)at[3] << 8 | at[4];
    if (bytes == 0 || bytes > RECORD_BYTES)
        return refuse(out, VF_ALERT_DECODE_ERROR, "record_length");
    return 0;
}

/* Appends what there is of one record's content, at most as far as the message goes. */
static void append(struct message *message, const uint8_t *data, size_t len)
{
    size_t room = (message->want > 0 ? message->want : MESSAGE_HEADER) - message->len;
    size_t n = len < room ? len : room;
    memcpy(message->bytes + message->len, data, n);
    message->len += n;
}

/* Returns 1 when the message is complete, 0 when bytes are missing, or VF_EMALFORMED. */
static int collect(const uint8_t *data, size_t len, struct message *message,
                   struct vf_client_hello *out)
{
    for (unsigned n = 0; len > 0; n++) {
        if (n == VF_CLIENT_HELLO_RECORDS)
            return refuse(out, VF_ALERT_DECODE_ERROR, "too_many_records");
        if (judge_record(data, len, out) < 0)
            return VF_EMALFORMED;
        if (len < RECORD_HEADER)
            return 0;
        size_t bytes = (size_t)data[3] << 8 | data[4];
        size_t there = len - RECORD_HEADER < bytes ? len - RECORD_HEADER : bytes;
        size_t before = message->len;
        append(message, data + RECORD_HEADER, there); /* at first the message's header alone */
        if (message->want == 0 && judge_message(message, out) < 0)
            return VF_EMALFORMED;
        size_t used = message->len - before;
        if (message->want > 0)
            append(message, data + RECORD_HEADER + used, there - used);
        if (message->want > 0 && message->len == message->want)
            return 1;
        data += RECORD_HEADER + there;
        len -= RECORD_HEADER + there;
    }
    return 0;
}

/* Fields */

/* A piece of the message that is read from its beginning. */
struct input {
    const uint8_t *at;
    size_t left;
};

static bool take(struct input *in, size_t bytes, struct input *out)
{
    if (in->left < bytes)
        return false;
    *out = (struct input){in->at, bytes};
    in->at += bytes;
    in->left -= bytes;
    return true;
}

static bool take_number(struct input *in, unsigned bytes, size_t *out)
{
    struct input number;
    if (!take(in, bytes, &number))
        return false;
    *out = 0;
    for (unsigned i = 0; i < bytes; i++)
        *out = *out << 8 | number.at[i];
    return true;
}

/* Takes a vector whose length stands before it in `length_bytes`. */
static bool take_vector(struct input *in, unsigned length_bytes, struct input *out)
{
    size_t bytes;
    return take_number(in, length_bytes, &bytes) && take(in, bytes, out);
}

/* Names */

static bool is_name_byte(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

/* A digit, then digits and dots; or anything with a colon: the literals that RFC 6066 does not
 * allow, and that some clients send all the same. */
static bool is_ip_literal(struct input name)
{
    bool digits = name.at[0] != '.';
    for (size_t i = 0; i < name.left; i++) {
        uint8_t c = name.at[i];
        bool is_digit = c >= '0' && c <= '9';
        bool is_hex = is_digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
        if (!is_hex && c != '.' && c != ':')
            return false;
        digits = digits && (is_digit || c == '.');
    }
    return digits || memchr(name.at, ':', name.left) != NULL;
}

/* Labels of letters, digits, dashes and underscores between single dots. */
static bool is_host(struct input name)
{
    size_t label = 0;
    for (size_t i = 0; i < name.left; i++) {
        bool is_dot = name.at[i] == '.';
        if (is_dot ? label == 0 : !is_name_byte(name.at[i]))
            return false;
        label = is_dot ? 0 : label + 1;
        if (label > LABEL_BYTES)
            return false;
    }
    return label > 0;
}

static int read_name(struct input name, struct vf_client_hello *out)
{
    if (name.left > 1 && name.at[name.left - 1] == '.')
        name.left--;
    if (name.left == 0 || name.left >= VF_CLIENT_HELLO_NAME)
        return refuse(out, VF_ALERT_DECODE_ERROR, "name_length");
    if (is_ip_literal(name))
        return 0;
    if (!is_host(name))
        return refuse(out, VF_ALERT_ILLEGAL_PARAMETER, "name_bytes");
    for (size_t i = 0; i < name.left; i++)
        out->name[i] = vf_lower((char)name.at[i]);
    out->name[name.left] = '\0';
    out->name_len = (uint32_t)name.left;
    return 0;
}

static int read_server_name(struct input extension, struct vf_client_hello *out)
{
    struct input list, name;
    bool has_host = false;
    if (!take_vector(&extension, 2, &list) || extension.left > 0 || list.left == 0)
        return refuse(out, VF_ALERT_DECODE_ERROR, "server_name");
    while (list.left > 0) {
        size_t type;
        if (!take_number(&list, 1, &type) || !take_vector(&list, 2, &name))
            return refuse(out, VF_ALERT_DECODE_ERROR, "server_name");
        if (type != NAME_TYPE_HOST)
            continue;
        if (has_host)
            return refuse(out, VF_ALERT_ILLEGAL_PARAMETER, "several_names");
        has_host = true;
        if (read_name(name, out) < 0)
            return VF_EMALFORMED;
    }
    return 0;
}

static int read_extensions(struct input list, struct vf_client_hello *out)
{
    struct input extension;
    bool has_name = false;
    while (list.left > 0) {
        size_t type;
        if (!take_number(&list, 2, &type) || !take_vector(&list, 2, &extension))
            return refuse(out, VF_ALERT_DECODE_ERROR, "extensions");
        if (type != EXTENSION_SERVER_NAME)
            continue; /* GREASE (RFC 8701) and all others */
        if (has_name)
            return refuse(out, VF_ALERT_ILLEGAL_PARAMETER, "server_name_twice");
        has_name = true;
        if (read_server_name(extension, out) < 0)
            return VF_EMALFORMED;
    }
    return 0;
}

/* Takes what stands in front of the extensions. */
static bool take_front(struct input *in, size_t *version, struct input *suites,
                       struct input *methods)
{
    struct input skipped;
    return take_number(in, 2, version) && take(in, RANDOM_BYTES, &skipped) &&
           take_vector(in, 1, &skipped) && skipped.left <= SESSION_ID_BYTES &&
           take_vector(in, 2, suites) && suites->left > 0 && suites->left % 2 == 0 &&
           take_vector(in, 1, methods) && methods->left > 0;
}

static int read_hello(struct input in, struct vf_client_hello *out)
{
    struct input suites, methods, extensions;
    size_t version;
    if (!take_front(&in, &version, &suites, &methods))
        return refuse(out, VF_ALERT_DECODE_ERROR, "hello");
    if (version >> 8 != 3)
        return refuse(out, VF_ALERT_DECODE_ERROR, "hello_version");
    if (in.left == 0)
        return 0; /* extensions may be missing (RFC 5246 section 7.4.1.2) */
    if (!take_vector(&in, 2, &extensions) || in.left > 0)
        return refuse(out, VF_ALERT_DECODE_ERROR, "extensions");
    return read_extensions(extensions, out);
}

int vf_client_hello_read(const char *data, size_t len, struct vf_client_hello *out)
{
    struct message message;
    message.len = message.want = 0;
    *out = (struct vf_client_hello){.name_len = 0};
    int rc = collect((const uint8_t *)data, len, &message, out);
    if (rc <= 0)
        return rc;
    struct input body = {message.bytes + MESSAGE_HEADER, message.len - MESSAGE_HEADER};
    return read_hello(body, out) < 0 ? VF_EMALFORMED : 1;
}

/* Checks */

static bool has_suite(struct input suites, size_t wanted)
{
    size_t suite;
    while (take_number(&suites, 2, &suite))
        if (suite == wanted)
            return true;
    return false;
}

static int check_extensions(struct input list)
{
    uint16_t seen[EXTENSIONS];
    struct input extension;
    size_t n = 0, type;
    while (list.left > 0) {
        if (!take_number(&list, 2, &type) || !take_vector(&list, 2, &extension))
            return VF_ALERT_DECODE_ERROR;
        for (size_t i = 0; i < n; i++)
            if (seen[i] == type)
                return VF_ALERT_ILLEGAL_PARAMETER;
        if (n < EXTENSIONS)
            seen[n++] = (uint16_t)type;
    }
    return 0;
}

int vf_client_hello_check(const uint8_t *message, size_t len, bool is_older)
{
    struct input in = {message + MESSAGE_HEADER, len - MESSAGE_HEADER};
    struct input suites, methods, extensions;
    size_t version;
    if (len < MESSAGE_HEADER || !take_front(&in, &version, &suites, &methods))
        return VF_ALERT_DECODE_ERROR;
    if (memchr(methods.at, 0, methods.left) == NULL)
        return VF_ALERT_ILLEGAL_PARAMETER;
    if (is_older && has_suite(suites, FALLBACK_SCSV))
        return VF_ALERT_INAPPROPRIATE_FALLBACK;
    if (in.left == 0)
        return 0;
    if (!take_vector(&in, 2, &extensions) || in.left > 0)
        return VF_ALERT_DECODE_ERROR;
    return check_extensions(extensions);
}

void vf_client_hello_alert(enum vf_alert alert, char out[VF_CLIENT_HELLO_ALERT])
{
    const char record[VF_CLIENT_HELLO_ALERT] = {21, 3, 1, 0, 2, 2, (char)alert};
    memcpy(out, record, sizeof(record));
}
