#include "http/target.h"

#include <arpa/inet.h>

#include "http/method.h"

enum byte_class {
    BYTE_CONTROL = 1,    /* control characters, space, DEL, '#': nowhere in a target */
    BYTE_UNRESERVED = 2, /* RFC 3986 section 2.3 */
    BYTE_SUB_DELIM = 4,  /* section 2.2 */
    BYTE_LOOK = 8,       /* in a path: needs more than one look */
};

static const uint8_t classes[256] = {
    [0 ... 0x20] = BYTE_CONTROL,
    [0x7f] = BYTE_CONTROL,
    ['#'] = BYTE_CONTROL,
    ['0' ... '9'] = BYTE_UNRESERVED,
    ['A' ... 'Z'] = BYTE_UNRESERVED,
    ['a' ... 'z'] = BYTE_UNRESERVED,
    ['-'] = BYTE_UNRESERVED,
    ['_'] = BYTE_UNRESERVED,
    ['~'] = BYTE_UNRESERVED,
    ['.'] = BYTE_UNRESERVED | BYTE_LOOK,
    ['%'] = BYTE_LOOK,
    ['\\'] = BYTE_LOOK,
    ['!'] = BYTE_SUB_DELIM,
    ['$'] = BYTE_SUB_DELIM,
    ['&'] = BYTE_SUB_DELIM,
    ['\''] = BYTE_SUB_DELIM,
    ['('] = BYTE_SUB_DELIM,
    [')'] = BYTE_SUB_DELIM,
    ['*'] = BYTE_SUB_DELIM,
    ['+'] = BYTE_SUB_DELIM,
    [','] = BYTE_SUB_DELIM,
    [';'] = BYTE_SUB_DELIM,
    ['='] = BYTE_SUB_DELIM,
};

static bool is_class(char c, uint8_t wanted)
{
    return (classes[(unsigned char)c] & wanted) != 0;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alpha(char c)
{
    return vf_lower(c) >= 'a' && vf_lower(c) <= 'z';
}

/* Returns the value of a hexadecimal digit, or -1. */
static int hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    c = vf_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Returns the byte behind the escape at `at`, or -1 when there is none. */
static int escape_value(struct vf_str text, size_t at)
{
    if (text.len - at < 3)
        return -1;
    int high = hex_value(text.data[at + 1]), low = hex_value(text.data[at + 2]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

static struct vf_str slice(struct vf_str text, size_t from, size_t to)
{
    return vf_str_make(text.data + from, to - from);
}

static size_t find_byte(struct vf_str text, size_t from, char byte)
{
    const char *at = from < text.len ? memchr(text.data + from, byte, text.len - from) : NULL;
    return at == NULL ? text.len : (size_t)(at - text.data);
}

static int refuse(enum vf_target_fault fault, size_t at, size_t *fault_at)
{
    *fault_at = at;
    return -(int)fault;
}

/* --- Hosts ------------------------------------------------------------------------------------ */

/* Returns the length of the IP literal in brackets at the start of `host`, or 0. */
static size_t ip_literal_len(struct vf_str host)
{
    size_t end = find_byte(host, 0, ']');
    char text[INET6_ADDRSTRLEN];
    uint8_t ip[16];
    if (end == host.len || end < 2 || end - 1 >= sizeof(text))
        return 0; /* RFC 3986's IPvFuture is not known to exist and is refused here too */
    memcpy(text, host.data + 1, end - 1);
    text[end - 1] = '\0';
    return strlen(text) == end - 1 && inet_pton(AF_INET6, text, ip) == 1 ? end + 1 : 0;
}

/* Returns the length of the registered name or IPv4 address at the start of `host`. */
static size_t name_len(struct vf_str host)
{
    size_t i = 0;
    while (i < host.len) {
        if (host.data[i] == '%' && escape_value(host, i) > 0x20)
            i += 3;
        else if (is_class(host.data[i], BYTE_UNRESERVED | BYTE_SUB_DELIM))
            i++;
        else
            break;
    }
    return i;
}

static size_t host_len(struct vf_str host)
{
    return host.len > 0 && host.data[0] == '[' ? ip_literal_len(host) : name_len(host);
}

static bool port_is_valid(struct vf_str port)
{
    uint64_t value;
    return port.len == 0 || (vf_str_to_u64(port, &value) && value <= 65535);
}

bool vf_host_is_valid(struct vf_str host)
{
    size_t len = host_len(host);
    if (len == 0)
        return false;
    return len == host.len ||
           (host.data[len] == ':' && port_is_valid(slice(host, len + 1, host.len)));
}

void vf_host_split(struct vf_str host, struct vf_str *name, int *port)
{
    uint64_t value;
    size_t len = host_len(host);
    *port = -1;
    if (len + 1 < host.len && vf_str_to_u64(slice(host, len + 1, host.len), &value))
        *port = (int)value;
    if (len > 1 && host.data[len - 1] == '.')
        len--;
    *name = slice(host, 0, len);
}

/* --- Forms ------------------------------------------------------------------------------------ */

static int parse_authority_form(struct vf_str raw, struct vf_target *out, size_t *fault_at)
{
    struct vf_str name;
    int port = -1;
    if (vf_host_is_valid(raw))
        vf_host_split(raw, &name, &port);
    if (port < 0) /* RFC 9112 section 3.2.3: the port is required */
        return refuse(VF_TARGET_BAD_AUTHORITY, 0, fault_at);
    out->form = VF_TARGET_AUTHORITY;
    out->authority = raw;
    return 0;
}

/* Takes path and query, which begin at `from`, off `raw`. */
static int parse_path(struct vf_str raw, size_t from, struct vf_target *out, size_t *fault_at)
{
    size_t mark = find_byte(raw, from, '?');
    out->path = slice(raw, from, mark);
    out->has_query = mark < raw.len;
    out->query = out->has_query ? slice(raw, mark + 1, raw.len) : vf_str_make(NULL, 0);
    for (size_t i = mark; i < raw.len; i++)
        if (is_class(raw.data[i], BYTE_CONTROL))
            return refuse(VF_TARGET_BAD_BYTE, i, fault_at);
    return 0;
}

/* Returns the length of the scheme at the start of `raw` when "://" follows, else 0. */
static size_t scheme_len(struct vf_str raw)
{
    size_t i = 0;
    if (!is_alpha(raw.data[0]))
        return 0;
    while (i < raw.len && (is_alpha(raw.data[i]) || is_digit(raw.data[i]) || raw.data[i] == '+' ||
                           raw.data[i] == '-' || raw.data[i] == '.'))
        i++;
    return raw.len - i >= 3 && memcmp(raw.data + i, "://", 3) == 0 ? i : 0;
}

static size_t authority_end(struct vf_str raw, size_t from)
{
    while (from < raw.len && raw.data[from] != '/' && raw.data[from] != '?')
        from++;
    return from;
}

static int parse_absolute_form(struct vf_str raw, int method, struct vf_target *out,
                               size_t *fault_at)
{
    size_t scheme = scheme_len(raw);
    if (scheme == 0)
        return refuse(VF_TARGET_BAD_FORM, 0, fault_at);
    size_t end = authority_end(raw, scheme + 3);
    out->form = VF_TARGET_ABSOLUTE;
    out->scheme = slice(raw, 0, scheme);
    out->authority = slice(raw, scheme + 3, end);
    if (!vf_host_is_valid(out->authority))
        return refuse(VF_TARGET_BAD_AUTHORITY, scheme + 3, fault_at);
    int rc = parse_path(raw, end, out, fault_at);
    if (rc == 0 && out->path.len == 0)
        out->path = method == VF_METHOD_OPTIONS && !out->has_query ? VF_STR("*") : VF_STR("/");
    return rc;
}

int vf_target_parse(struct vf_str raw, int method, struct vf_target *out, size_t *fault_at)
{
    *out = (struct vf_target){0};
    if (raw.len == 0)
        return refuse(VF_TARGET_EMPTY, 0, fault_at);
    if (method == VF_METHOD_CONNECT)
        return parse_authority_form(raw, out, fault_at);
    if (raw.data[0] == '/')
        return parse_path(raw, 0, out, fault_at);
    if (!vf_str_eq(raw, VF_STR("*")))
        return parse_absolute_form(raw, method, out, fault_at);
    if (method != VF_METHOD_OPTIONS)
        return refuse(VF_TARGET_BAD_FORM, 0, fault_at);
    out->form = VF_TARGET_ASTERISK;
    out->path = raw;
    return 0;
}

/* --- Paths ------------------------------------------------------------------------------------ */

/* A path on its way to its normal form: `out` is "/" first and ends with '/' between segments. */
struct rewriting {
    struct vf_str raw;
    size_t at; /* next byte of raw */
    char *out;
    size_t len;
    bool had_dots;
};

/* Returns the first offset from which `raw` may not be in normal form: at most raw.len. */
static size_t plain_len(struct vf_str raw)
{
    for (size_t i = 0; i < raw.len; i++) {
        uint8_t class = classes[(unsigned char)raw.data[i]];
        if (class & BYTE_CONTROL)
            return i;
        if ((class & BYTE_LOOK) && (raw.data[i] != '.' || raw.data[i - 1] == '/'))
            return i;
    }
    return raw.len;
}

/* Copies the escape at `re->at` in its normal form. */
static int copy_escape(struct rewriting *re)
{
    static const char digits[] = "0123456789ABCDEF";
    int value = escape_value(re->raw, re->at);
    if (value < 0)
        return -VF_TARGET_BAD_ESCAPE;
    if (value == 0)
        return -VF_TARGET_ESCAPED_NUL;
    if (value == '/' || value == '\\')
        return -VF_TARGET_ESCAPED_SLASH;
    re->at += 3;
    if (is_class((char)value, BYTE_UNRESERVED)) {
        re->out[re->len++] = (char)value;
        return 0;
    }
    re->out[re->len++] = '%';
    re->out[re->len++] = digits[value >> 4];
    re->out[re->len++] = digits[value & 15];
    return 0;
}

/* Copies bytes up to the next slash or the end. */
static int copy_segment(struct rewriting *re)
{
    int rc = 0;
    while (rc == 0 && re->at < re->raw.len && re->raw.data[re->at] != '/') {
        char c = re->raw.data[re->at];
        if (c == '%')
            rc = copy_escape(re);
        else if (c == '\\' || is_class(c, BYTE_CONTROL))
            rc = -VF_TARGET_BAD_BYTE;
        else
            re->out[re->len++] = re->raw.data[re->at++];
    }
    return rc;
}

/* Takes the last segment and its slash off `out`. Returns false at the root. */
static bool drop_segment(struct rewriting *re)
{
    if (re->len == 1)
        return false;
    re->len--;
    while (re->out[re->len - 1] != '/')
        re->len--;
    return true;
}

/* Copies one segment with the slash behind it, or removes what a dot segment says. */
static int rewrite_segment(struct rewriting *re)
{
    size_t raw_start = re->at, start = re->len;
    int rc = copy_segment(re);
    if (rc < 0)
        return rc;
    struct vf_str segment = vf_str_make(re->out + start, re->len - start);
    bool is_dot = vf_str_eq(segment, VF_STR(".")), is_up = vf_str_eq(segment, VF_STR(".."));
    bool has_slash = re->at < re->raw.len;
    if (has_slash)
        re->at++;
    if (!is_dot && !is_up) {
        if (has_slash)
            re->out[re->len++] = '/';
        return 0;
    }
    re->had_dots = true;
    re->len = start;
    if (is_up && !drop_segment(re)) {
        re->at = raw_start;
        return -VF_TARGET_ABOVE_ROOT;
    }
    return 0;
}

static int rewrite(struct vf_str raw, char *buffer, struct vf_path *out, size_t *fault_at)
{
    struct rewriting re = {.raw = raw, .at = 1, .out = buffer, .len = 1};
    int rc = 0;
    buffer[0] = '/';
    while (rc == 0 && re.at < raw.len)
        rc = rewrite_segment(&re);
    if (rc < 0) {
        *fault_at = re.at;
        return rc;
    }
    struct vf_str text = vf_str_make(buffer, re.len);
    out->had_dots = re.had_dots;
    out->is_changed = !vf_str_eq(text, raw);
    out->text = out->is_changed ? text : raw;
    return 0;
}

int vf_path_normalise(struct vf_str raw, char *buffer, struct vf_path *out, size_t *fault_at)
{
    *out = (struct vf_path){.text = raw};
    if (vf_str_eq(raw, VF_STR("*")))
        return 0;
    if (raw.len == 0)
        return refuse(VF_TARGET_EMPTY, 0, fault_at);
    if (raw.data[0] != '/')
        return refuse(VF_TARGET_BAD_FORM, 0, fault_at);
    if (plain_len(raw) == raw.len)
        return 0;
    return rewrite(raw, buffer, out, fault_at);
}

/* --- Faults ----------------------------------------------------------------------------------- */

static const struct vf_target_rule rules[VF_TARGET_FAULTS] = {
    [0] = {"target_unknown", "RFC 9112 3.2"},
    [VF_TARGET_EMPTY] = {"target_empty", "RFC 9112 3.2"},
    [VF_TARGET_BAD_FORM] = {"target_bad_form", "RFC 9112 3.2"},
    [VF_TARGET_BAD_BYTE] = {"target_bad_byte", "RFC 3986 3.3"},
    [VF_TARGET_BAD_ESCAPE] = {"target_bad_escape", "RFC 3986 2.1"},
    [VF_TARGET_ESCAPED_SLASH] = {"target_escaped_slash", "RFC 3986 6.2.2.2"},
    [VF_TARGET_ESCAPED_NUL] = {"target_escaped_nul", "RFC 3986 7.3"},
    [VF_TARGET_ABOVE_ROOT] = {"target_above_root", "RFC 3986 5.2.4"},
    [VF_TARGET_BAD_AUTHORITY] = {"target_bad_authority", "RFC 9110 4.2"},
};

struct vf_target_rule vf_target_rule(int fault)
{
    int index = fault < 0 ? -fault : fault;
    return rules[index < VF_TARGET_FAULTS ? index : 0];
}
