#include "proxy/access/line.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "proxy/access/value.h"

enum {
    LINE_FIXED_BYTES = 1280, /* names, punctuation, numbers and times of any format, and room */
    WIDEST_ESCAPE = 6,       /* \u00XX for one byte */
    CUT_MARK_BYTES = 3
};

void vf_access_style_init(struct vf_access_style *style, enum vf_snap_log_format format,
                          bool with_query)
{
    assert(format != VF_ACCESS_AUTO);
    memset(style, 0, sizeof(*style));
    style->format = format;
    style->with_query = with_query;
}

/* Times */

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
    vf_put_thousandths(out + 20, (unsigned)(wall_ms % 1000));
    return out + VF_CLOCK_RFC3339_BYTES;
}

/* Targets */

/* The parameters of a query with *** for each value. One without "=" counts as a value: it may be a
 * token as well as a name. */
static char *put_masked_query(char *out, const char *data, size_t len, unsigned plain,
                              vf_escape_fn *escape)
{
    const char *end = data + len;
    while (data < end) {
        const char *ampersand = memchr(data, '&', (size_t)(end - data));
        const char *item_end = ampersand != NULL ? ampersand : end;
        const char *equals = memchr(data, '=', (size_t)(item_end - data));
        if (equals != NULL)
            out = vf_put_escaped(out, data, (size_t)(equals + 1 - data), plain, escape);
        if (item_end > data)
            out = VF_PUT_LITERAL(out, "***");
        if (ampersand != NULL)
            *out++ = '&';
        data = ampersand != NULL ? ampersand + 1 : end;
    }
    return out;
}

/* A target or Referer, whose query is masked unless asked for. */
static char *put_target(char *out, const struct vf_access_style *style, struct vf_str target,
                        unsigned plain, vf_escape_fn *escape)
{
    size_t len = target.len < VF_ACCESS_TARGET_BYTES ? target.len : VF_ACCESS_TARGET_BYTES;
    const char *query = style->with_query || len == 0 ? NULL : memchr(target.data, '?', len);
    size_t path_len = query != NULL ? (size_t)(query + 1 - target.data) : len;
    out = vf_put_escaped(out, target.data, path_len, plain, escape);
    if (query != NULL)
        out = put_masked_query(out, query + 1, len - path_len, plain, escape);
    return len < target.len ? VF_PUT_LITERAL(out, "...") : out;
}

/* JSON */

#define JSON_KEY(out, key) VF_PUT_LITERAL(out, ",\"" key "\":")

static char *put_json_string(char *out, struct vf_str value)
{
    if (value.len == 0)
        return VF_PUT_LITERAL(out, "null");
    *out++ = '"';
    out = vf_put_value(out, value, VF_ACCESS_VALUE_BYTES, VF_PUT_QUOTED, vf_escape_json);
    *out++ = '"';
    return out;
}

static char *put_json_number(char *out, uint64_t value)
{
    return value != 0 ? vf_put_number(out, value) : VF_PUT_LITERAL(out, "null");
}

static char *put_json_ms(char *out, uint64_t us)
{
    return us != 0 ? vf_put_ms(out, us) : VF_PUT_LITERAL(out, "null");
}

static char *put_json_target(char *out, const struct vf_access_style *style, struct vf_str target)
{
    if (target.len == 0)
        return VF_PUT_LITERAL(out, "null");
    *out++ = '"';
    out = put_target(out, style, target, VF_PUT_QUOTED, vf_escape_json);
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
    out = vf_put_number(JSON_KEY(out, "tries"), record->tries);
    out = vf_put_number(JSON_KEY(out, "bytes_in"), record->bytes_in);
    out = vf_put_number(JSON_KEY(out, "bytes_out"), record->bytes_out);
    out = vf_put_ms(JSON_KEY(out, "duration_ms"), record->duration_us);
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
    out = VF_PUT_LITERAL(out, "{\"time\":\"");
    out = put_time(out, style, record->wall_ms);
    *out++ = '"';
    out = put_json_request(out, style, record);
    out = put_json_outcome(out, record);
    out = put_json_tls(out, record);
    return VF_PUT_LITERAL(out, "}\n");
}

/* Text */

/* One of the values with a fixed place: without spaces, so that columns stay columns. */
static char *put_column(char *out, struct vf_str value, vf_escape_fn *escape)
{
    if (value.len == 0)
        return VF_PUT_LITERAL(out, "-");
    return vf_put_value(out, value, VF_ACCESS_VALUE_BYTES, VF_PUT_BARE, escape);
}

static char *put_number_column(char *out, uint64_t value)
{
    return value != 0 ? vf_put_number(out, value) : VF_PUT_LITERAL(out, "-");
}

static bool is_bare(struct vf_str value)
{
    for (size_t i = 0; i < value.len; i++)
        if ((vf_put_class[(unsigned char)value.data[i]] & VF_PUT_BARE) == 0)
            return false;
    return value.len <= VF_ACCESS_VALUE_BYTES;
}

/* ` key=value`, in quotes when that is needed; nothing for a value that does not apply. */
static char *put_pair(char *out, struct vf_str key, struct vf_str value)
{
    if (value.len == 0)
        return out;
    *out++ = ' ';
    out = vf_put_bytes(out, key.data, key.len);
    *out++ = '=';
    if (is_bare(value))
        return vf_put_bytes(out, value.data, value.len);
    *out++ = '"';
    out = vf_put_value(out, value, VF_ACCESS_VALUE_BYTES, VF_PUT_QUOTED, vf_escape_text);
    *out++ = '"';
    return out;
}

static char *put_text_columns(char *out, const struct vf_access_style *style,
                              const struct vf_access_record *record)
{
    out = put_time(out, style, record->wall_ms);
    *out++ = ' ';
    out = put_column(out, record->client, vf_escape_text);
    out = VF_PUT_LITERAL(out, " \"");
    out = put_column(out, record->method, vf_escape_text);
    *out++ = ' ';
    out = put_column(out, record->host, vf_escape_text);
    *out++ = ' ';
    out = record->path.len == 0 ? VF_PUT_LITERAL(out, "-")
                                : put_target(out, style, record->path, VF_PUT_BARE, vf_escape_text);
    out = put_number_column(VF_PUT_LITERAL(out, "\" "), record->status);
    *out++ = ' ';
    out = vf_put_number(out, record->bytes_out);
    *out++ = ' ';
    out = vf_put_ms(out, record->duration_us);
    return VF_PUT_LITERAL(out, "ms");
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
        out = vf_put_number(VF_PUT_LITERAL(out, " upstream_status="), record->upstream_status);
    out = vf_put_number(VF_PUT_LITERAL(out, " tries="), record->tries);
    out = vf_put_number(VF_PUT_LITERAL(out, " bytes_in="), record->bytes_in);
    if (record->connect_us != 0)
        out = vf_put_ms(VF_PUT_LITERAL(out, " connect_ms="), record->connect_us);
    if (record->first_byte_us != 0)
        out = vf_put_ms(VF_PUT_LITERAL(out, " first_byte_ms="), record->first_byte_us);
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
        return VF_PUT_LITERAL(out, "-");
    out = vf_put_value(out, record->method, VF_ACCESS_VALUE_BYTES, VF_PUT_QUOTED, vf_escape_apache);
    *out++ = ' ';
    out = put_target(out, style, record->path, VF_PUT_QUOTED, vf_escape_apache);
    out = vf_put_number(VF_PUT_LITERAL(out, " HTTP/"), record->http_version / 10);
    *out++ = '.';
    return vf_put_number(out, record->http_version % 10);
}

static char *put_combined(char *out, const struct vf_access_style *style,
                          const struct vf_access_record *record)
{
    out = put_column(out, record->client, vf_escape_apache);
    out = put_column(VF_PUT_LITERAL(out, " - "), record->consumer, vf_escape_apache);
    *out++ = ' ';
    out = vf_put_bytes(out, style->apache, 28);
    out = put_request_line(VF_PUT_LITERAL(out, " \""), style, record);
    out = put_number_column(VF_PUT_LITERAL(out, "\" "), record->status);
    *out++ = ' ';
    out = put_number_column(out, record->bytes_out);
    out = VF_PUT_LITERAL(out, " \"");
    out = record->referer.len == 0
              ? VF_PUT_LITERAL(out, "-")
              : put_target(out, style, record->referer, VF_PUT_QUOTED, vf_escape_apache);
    out = VF_PUT_LITERAL(out, "\" \"");
    out = record->user_agent.len == 0 ? VF_PUT_LITERAL(out, "-")
                                      : vf_put_value(out, record->user_agent, VF_ACCESS_VALUE_BYTES,
                                                     VF_PUT_QUOTED, vf_escape_apache);
    return VF_PUT_LITERAL(out, "\"\n");
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
