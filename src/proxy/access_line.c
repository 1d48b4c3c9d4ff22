#include "proxy/access_line.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"

enum {
    LINE_FIXED_BYTES = 1280, /* names, punctuation, numbers and times of any format, and room */
    WIDEST_ESCAPE = 6,       /* \u00XX for one byte */
    CUT_MARK_BYTES = 3
};

/* How a byte may stand in a line as it is. */
enum { QUOTED = 1 /* between quotes */, BARE = 2 /* without quotes: no space either */ };

/* Writes what stands for the first of `len` bytes (at least 1) at `data`, which is not QUOTED, at
 * *out and moves it. Returns how many bytes that was for. */
typedef size_t escape_fn(char **out, const unsigned char *data, size_t len);

static const unsigned char byte_class[256] = {
    [' '] = QUOTED,
    ['!'] = QUOTED | BARE,
    ['#' ... '['] = QUOTED | BARE,
    [']' ... '~'] = QUOTED | BARE,
};

void vf_access_style_init(struct vf_access_style *style, enum vf_snap_log_format format,
                          bool with_query)
{
    assert(format != VF_ACCESS_AUTO);
    memset(style, 0, sizeof(*style));
    style->format = format;
    style->with_query = with_query;
}

/* Numbers and times */

static inline char *put_bytes(char *out, const char *data, size_t len)
{
    memcpy(out, data, len);
    return out + len;
}

#define PUT_LITERAL(out, text) put_bytes(out, text, sizeof(text) - 1)

static char *put_number(char *out, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    return put_bytes(out, digits + at, sizeof(digits) - at);
}

static char *put_thousandths(char *out, unsigned value)
{
    *out++ = (char)('0' + value / 100);
    *out++ = (char)('0' + value / 10 % 10);
    *out++ = (char)('0' + value % 10);
    return out;
}

/* Microseconds as milliseconds: 1234 is "1.234". */
static char *put_ms(char *out, uint64_t us)
{
    out = put_number(out, us / 1000);
    *out++ = '.';
    return put_thousandths(out, (unsigned)(us % 1000));
}

/* "Mon, 23 Nov 2026 18:40:00 GMT" becomes "[23/Nov/2026:18:40:00 +0000]". */
static void make_apache_time(uint64_t wall_ms, char *out)
{
    char date[VF_CLOCK_HTTP_DATE_BYTES];
    vf_clock_http_date(wall_ms, date);
    memcpy(out, "[dd/mmm/yyyy:hh:mm:ss +0000]", 28);
    memcpy(out + 1, date + 5, 2);
    memcpy(out + 4, date + 8, 3);
    memcpy(out + 8, date + 12, 4);
    memcpy(out + 13, date + 17, 8);
}

static void follow_clock(struct vf_access_style *style, uint64_t wall_ms)
{
    if (style->second == wall_ms / 1000 + 1)
        return;
    style->second = wall_ms / 1000 + 1;
    vf_clock_rfc3339(wall_ms, style->rfc3339);
    make_apache_time(wall_ms, style->apache);
}

/* RFC 3339 with milliseconds: the second is cached, the rest is written into it. */
static char *put_time(char *out, const struct vf_access_style *style, uint64_t wall_ms)
{
    memcpy(out, style->rfc3339, VF_CLOCK_RFC3339_BYTES);
    put_thousandths(out + 20, (unsigned)(wall_ms % 1000));
    return out + VF_CLOCK_RFC3339_BYTES;
}

/* Escapes */

static bool is_tail(unsigned char c)
{
    return (c & 0xc0) == 0x80;
}

/* Returns the length of the UTF-8 sequence (RFC 3629 section 4) that `data` begins with, or 0 when
 * it begins with none, or one of ASCII. */
static size_t utf8_len(const unsigned char *data, size_t len)
{
    unsigned char c = data[0];
    if (c < 0xc2 || c > 0xf4 || len < 2 || !is_tail(data[1]))
        return 0;
    if (c < 0xe0)
        return 2;
    if (len < 3 || !is_tail(data[2]) || (c == 0xe0 && data[1] < 0xa0) ||
        (c == 0xed && data[1] > 0x9f))
        return 0;
    if (c < 0xf0)
        return 3;
    if (len < 4 || !is_tail(data[3]) || (c == 0xf0 && data[1] < 0x90) ||
        (c == 0xf4 && data[1] > 0x8f))
        return 0;
    return 4;
}

static char *put_hex(char *out, const char *prefix, unsigned char c)
{
    static const char digits[] = "0123456789abcdef";
    out = put_bytes(out, prefix, strlen(prefix));
    *out++ = digits[c >> 4];
    *out++ = digits[c & 15];
    return out;
}

/* RFC 8259 section 7. A byte that is not UTF-8 is written as the code point of its value. */
static size_t escape_json(char **out, const unsigned char *data, size_t len)
{
    size_t sequence = utf8_len(data, len);
    if (sequence > 0) {
        *out = put_bytes(*out, (const char *)data, sequence);
        return sequence;
    }
    if (data[0] == '"' || data[0] == '\\') {
        *(*out)++ = '\\';
        *(*out)++ = (char)data[0];
    } else {
        *out = put_hex(*out, "\\u00", data[0]);
    }
    return 1;
}

/* As Apache's ap_escape_logitem: all that is not printable ASCII. */
static size_t escape_apache(char **out, const unsigned char *data, size_t len)
{
    static const char controls[] = "\b\n\r\t\v", letters[] = "bnrtv";
    const char *control = data[0] != '\0' ? strchr(controls, data[0]) : NULL;
    (void)len;
    if (data[0] == '"' || data[0] == '\\' || control != NULL) {
        *(*out)++ = '\\';
        *(*out)++ = control != NULL ? letters[control - controls] : (char)data[0];
    } else {
        *out = put_hex(*out, "\\x", data[0]);
    }
    return 1;
}

/* As escape_apache, but people's letters stay; the controls U+0080 to U+009F do not. */
static size_t escape_text(char **out, const unsigned char *data, size_t len)
{
    size_t sequence = utf8_len(data, len);
    if (sequence == 0 || (data[0] == 0xc2 && data[1] < 0xa0))
        return escape_apache(out, data, len);
    *out = put_bytes(*out, (const char *)data, sequence);
    return sequence;
}

/* Writes `len` bytes; those that are not of `plain` (QUOTED or BARE) are escaped. */
static char *put_escaped(char *out, const char *data, size_t len, unsigned plain, escape_fn *escape)
{
    const unsigned char *next = (const unsigned char *)data, *end = next + len;
    while (next < end) {
        if (byte_class[*next] & plain)
            *out++ = (char)*next++;
        else
            next += escape(&out, next, (size_t)(end - next));
    }
    return out;
}

static char *put_value(char *out, struct vf_str value, size_t max, unsigned plain,
                       escape_fn *escape)
{
    if (value.len <= max)
        return put_escaped(out, value.data, value.len, plain, escape);
    out = put_escaped(out, value.data, max, plain, escape);
    return PUT_LITERAL(out, "...");
}

/* Targets */

/* The parameters of a query with *** for each value. One without "=" counts as a value: it may be a
 * token as well as a name. */
static char *put_masked_query(char *out, const char *data, size_t len, unsigned plain,
                              escape_fn *escape)
{
    const char *end = data + len;
    while (data < end) {
        const char *ampersand = memchr(data, '&', (size_t)(end - data));
        const char *item_end = ampersand != NULL ? ampersand : end;
        const char *equals = memchr(data, '=', (size_t)(item_end - data));
        if (equals != NULL)
            out = put_escaped(out, data, (size_t)(equals + 1 - data), plain, escape);
        if (item_end > data)
            out = PUT_LITERAL(out, "***");
        if (ampersand != NULL)
            *out++ = '&';
        data = ampersand != NULL ? ampersand + 1 : end;
    }
    return out;
}

/* A target or Referer, whose query is masked unless asked for. */
static char *put_target(char *out, const struct vf_access_style *style, struct vf_str target,
                        unsigned plain, escape_fn *escape)
{
    size_t len = target.len < VF_ACCESS_TARGET_BYTES ? target.len : VF_ACCESS_TARGET_BYTES;
    const char *query = style->with_query || len == 0 ? NULL : memchr(target.data, '?', len);
    size_t path_len = query != NULL ? (size_t)(query + 1 - target.data) : len;
    out = put_escaped(out, target.data, path_len, plain, escape);
    if (query != NULL)
        out = put_masked_query(out, query + 1, len - path_len, plain, escape);
    return len < target.len ? PUT_LITERAL(out, "...") : out;
}

/* JSON */

#define JSON_KEY(out, key) PUT_LITERAL(out, ",\"" key "\":")

static char *put_json_string(char *out, struct vf_str value)
{
    if (value.len == 0)
        return PUT_LITERAL(out, "null");
    *out++ = '"';
    out = put_value(out, value, VF_ACCESS_VALUE_BYTES, QUOTED, escape_json);
    *out++ = '"';
    return out;
}

static char *put_json_number(char *out, uint64_t value)
{
    return value != 0 ? put_number(out, value) : PUT_LITERAL(out, "null");
}

static char *put_json_ms(char *out, uint64_t us)
{
    return us != 0 ? put_ms(out, us) : PUT_LITERAL(out, "null");
}

static char *put_json_target(char *out, const struct vf_access_style *style, struct vf_str target)
{
    if (target.len == 0)
        return PUT_LITERAL(out, "null");
    *out++ = '"';
    out = put_target(out, style, target, QUOTED, escape_json);
    *out++ = '"';
    return out;
}

static char *put_json_request(char *out, const struct vf_access_style *style,
                              const struct vf_access_record *record)
{
    out = put_json_string(JSON_KEY(out, "request_id"), record->request_id);
    out = put_json_string(JSON_KEY(out, "tenant"), record->tenant);
    out = put_json_string(JSON_KEY(out, "listener"), record->listener);
    out = put_json_string(JSON_KEY(out, "client"), record->client);
    out = put_json_string(JSON_KEY(out, "method"), record->method);
    out = put_json_string(JSON_KEY(out, "host"), record->host);
    return put_json_target(JSON_KEY(out, "path"), style, record->path);
}

static char *put_json_outcome(char *out, const struct vf_access_record *record)
{
    out = put_json_number(JSON_KEY(out, "status"), record->status);
    out = put_json_string(JSON_KEY(out, "reason"), record->reason);
    out = put_json_string(JSON_KEY(out, "route"), record->route);
    out = put_json_string(JSON_KEY(out, "pool"), record->pool);
    out = put_json_string(JSON_KEY(out, "backend"), record->backend);
    out = put_json_number(JSON_KEY(out, "upstream_status"), record->upstream_status);
    out = put_number(JSON_KEY(out, "tries"), record->tries);
    out = put_number(JSON_KEY(out, "bytes_in"), record->bytes_in);
    out = put_number(JSON_KEY(out, "bytes_out"), record->bytes_out);
    out = put_ms(JSON_KEY(out, "duration_ms"), record->duration_us);
    out = put_json_ms(JSON_KEY(out, "connect_ms"), record->connect_us);
    out = put_json_ms(JSON_KEY(out, "first_byte_ms"), record->first_byte_us);
    return put_json_string(JSON_KEY(out, "consumer"), record->consumer);
}

static char *put_json_tls(char *out, const struct vf_access_record *record)
{
    if (record->tls_version.len == 0)
        return out;
    out = put_json_string(JSON_KEY(out, "tls_version"), record->tls_version);
    out = put_json_string(JSON_KEY(out, "tls_cipher"), record->tls_cipher);
    return put_json_string(JSON_KEY(out, "sni"), record->server_name);
}

static char *put_json(char *out, const struct vf_access_style *style,
                      const struct vf_access_record *record)
{
    out = PUT_LITERAL(out, "{\"time\":\"");
    out = put_time(out, style, record->wall_ms);
    *out++ = '"';
    out = put_json_request(out, style, record);
    out = put_json_outcome(out, record);
    out = put_json_tls(out, record);
    return PUT_LITERAL(out, "}\n");
}

/* Text */

/* One of the values with a fixed place: without spaces, so that columns stay columns. */
static char *put_column(char *out, struct vf_str value, escape_fn *escape)
{
    if (value.len == 0)
        return PUT_LITERAL(out, "-");
    return put_value(out, value, VF_ACCESS_VALUE_BYTES, BARE, escape);
}

static char *put_number_column(char *out, uint64_t value)
{
    return value != 0 ? put_number(out, value) : PUT_LITERAL(out, "-");
}

static bool is_bare(struct vf_str value)
{
    for (size_t i = 0; i < value.len; i++)
        if ((byte_class[(unsigned char)value.data[i]] & BARE) == 0)
            return false;
    return value.len <= VF_ACCESS_VALUE_BYTES;
}

/* ` key=value`, in quotes when that is needed; nothing for a value that does not apply. */
static char *put_pair(char *out, struct vf_str key, struct vf_str value)
{
    if (value.len == 0)
        return out;
    *out++ = ' ';
    out = put_bytes(out, key.data, key.len);
    *out++ = '=';
    if (is_bare(value))
        return put_bytes(out, value.data, value.len);
    *out++ = '"';
    out = put_value(out, value, VF_ACCESS_VALUE_BYTES, QUOTED, escape_text);
    *out++ = '"';
    return out;
}

static char *put_text_columns(char *out, const struct vf_access_style *style,
                              const struct vf_access_record *record)
{
    out = put_time(out, style, record->wall_ms);
    *out++ = ' ';
    out = put_column(out, record->client, escape_text);
    out = PUT_LITERAL(out, " \"");
    out = put_column(out, record->method, escape_text);
    *out++ = ' ';
    out = put_column(out, record->host, escape_text);
    *out++ = ' ';
    out = record->path.len == 0 ? PUT_LITERAL(out, "-")
                                : put_target(out, style, record->path, BARE, escape_text);
    out = put_number_column(PUT_LITERAL(out, "\" "), record->status);
    *out++ = ' ';
    out = put_number(out, record->bytes_out);
    *out++ = ' ';
    out = put_ms(out, record->duration_us);
    return PUT_LITERAL(out, "ms");
}

static char *put_text(char *out, const struct vf_access_style *style,
                      const struct vf_access_record *record)
{
    out = put_text_columns(out, style, record);
    out = put_pair(out, VF_STR("request_id"), record->request_id);
    out = put_pair(out, VF_STR("tenant"), record->tenant);
    out = put_pair(out, VF_STR("listener"), record->listener);
    out = put_pair(out, VF_STR("reason"), record->reason);
    out = put_pair(out, VF_STR("route"), record->route);
    out = put_pair(out, VF_STR("pool"), record->pool);
    out = put_pair(out, VF_STR("backend"), record->backend);
    if (record->upstream_status != 0)
        out = put_number(PUT_LITERAL(out, " upstream_status="), record->upstream_status);
    out = put_number(PUT_LITERAL(out, " tries="), record->tries);
    out = put_number(PUT_LITERAL(out, " bytes_in="), record->bytes_in);
    if (record->connect_us != 0)
        out = put_ms(PUT_LITERAL(out, " connect_ms="), record->connect_us);
    if (record->first_byte_us != 0)
        out = put_ms(PUT_LITERAL(out, " first_byte_ms="), record->first_byte_us);
    out = put_pair(out, VF_STR("consumer"), record->consumer);
    out = put_pair(out, VF_STR("tls_version"), record->tls_version);
    out = put_pair(out, VF_STR("tls_cipher"), record->tls_cipher);
    out = put_pair(out, VF_STR("sni"), record->server_name);
    *out++ = '\n';
    return out;
}

/* Apache combined: "%h - %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\"" */

static char *put_request_line(char *out, const struct vf_access_style *style,
                              const struct vf_access_record *record)
{
    if (record->method.len == 0)
        return PUT_LITERAL(out, "-");
    out = put_value(out, record->method, VF_ACCESS_VALUE_BYTES, QUOTED, escape_apache);
    *out++ = ' ';
    out = put_target(out, style, record->path, QUOTED, escape_apache);
    out = put_number(PUT_LITERAL(out, " HTTP/"), record->http_version / 10);
    *out++ = '.';
    return put_number(out, record->http_version % 10);
}

static char *put_combined(char *out, const struct vf_access_style *style,
                          const struct vf_access_record *record)
{
    out = put_column(out, record->client, escape_apache);
    out = put_column(PUT_LITERAL(out, " - "), record->consumer, escape_apache);
    *out++ = ' ';
    out = put_bytes(out, style->apache, 28);
    out = put_request_line(PUT_LITERAL(out, " \""), style, record);
    out = put_number_column(PUT_LITERAL(out, "\" "), record->status);
    *out++ = ' ';
    out = put_number_column(out, record->bytes_out);
    out = PUT_LITERAL(out, " \"");
    out = record->referer.len == 0 ? PUT_LITERAL(out, "-")
                                   : put_target(out, style, record->referer, QUOTED, escape_apache);
    out = PUT_LITERAL(out, "\" \"");
    out = record->user_agent.len == 0
              ? PUT_LITERAL(out, "-")
              : put_value(out, record->user_agent, VF_ACCESS_VALUE_BYTES, QUOTED, escape_apache);
    return PUT_LITERAL(out, "\"\n");
}

/* Lines */

static size_t bound_of(struct vf_str value, size_t max)
{
    return value.len <= max ? value.len : max + CUT_MARK_BYTES;
}

size_t vf_access_line_bound(const struct vf_access_record *record)
{
    const struct vf_str *values[] = {
        &record->tls_version, &record->tls_cipher, &record->server_name, &record->request_id,
        &record->tenant,      &record->listener,   &record->client,      &record->method,
        &record->host,        &record->reason,     &record->route,       &record->pool,
        &record->backend,     &record->consumer,   &record->user_agent};
    size_t bytes = bound_of(record->path, VF_ACCESS_TARGET_BYTES) +
                   bound_of(record->referer, VF_ACCESS_TARGET_BYTES);
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        bytes += bound_of(*values[i], VF_ACCESS_VALUE_BYTES);
    return LINE_FIXED_BYTES + WIDEST_ESCAPE * bytes;
}

size_t vf_access_line(struct vf_access_style *style, const struct vf_access_record *record,
                      char *out)
{
    follow_clock(style, record->wall_ms);
    switch (style->format) {
    case VF_ACCESS_TEXT:
        return (size_t)(put_text(out, style, record) - out);
    case VF_ACCESS_COMBINED:
        return (size_t)(put_combined(out, style, record) - out);
    default:
        return (size_t)(put_json(out, style, record) - out);
    }
}
