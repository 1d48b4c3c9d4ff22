#include "net/proxy_protocol.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum {
    V1_LINE_MAX = 107, /* with CRLF, without a NUL: section 2.1 */
    V1_TOKEN_MAX = 45, /* longest text of an IPv6 address */
    V2_FIXED_BYTES = 16,
    V2_SIGNATURE_BYTES = 12,
    V2_LOCAL = 0x20, /* version 2, command LOCAL */
    V2_PROXY = 0x21,
    V2_TCP4 = 0x11, /* AF_INET, STREAM */
    V2_TCP6 = 0x21,
    V2_TCP4_BYTES = 12, /* two addresses, two ports */
    V2_TCP6_BYTES = 36,
    V2_UNIX_BYTES = 216,
    TLV_HEAD_BYTES = 3,
    TLV_CRC32C = 0x03
};

static const char v1_start[] = "PROXY ";
static const unsigned char v2_signature[V2_SIGNATURE_BYTES] = "\r\n\r\n\0\r\nQUIT\n";

/* An address and port as both versions write them. */
struct endpoint {
    int family;     /* AF_UNSPEC, AF_INET, AF_INET6 */
    uint16_t port;  /* host order */
    uint8_t ip[16]; /* network order; IPv4 in the first four */
};

struct endpoints {
    struct endpoint source, destination;
};

static void to_storage(const struct endpoint *from, struct sockaddr_storage *to)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(from->port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(from->port)};
    memset(to, 0, sizeof(*to));
    memcpy(&v4.sin_addr, from->ip, sizeof(v4.sin_addr));
    memcpy(&v6.sin6_addr, from->ip, sizeof(v6.sin6_addr));
    if (from->family == AF_INET)
        memcpy(to, &v4, sizeof(v4));
    else if (from->family == AF_INET6)
        memcpy(to, &v6, sizeof(v6));
}

static struct endpoint from_storage(const struct sockaddr_storage *from)
{
    struct endpoint to = {.family = AF_UNSPEC};
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    if (from->ss_family == AF_INET) {
        memcpy(&v4, from, sizeof(v4));
        to = (struct endpoint){.family = AF_INET, .port = ntohs(v4.sin_port)};
        memcpy(to.ip, &v4.sin_addr, sizeof(v4.sin_addr));
    } else if (from->ss_family == AF_INET6) {
        memcpy(&v6, from, sizeof(v6));
        to = (struct endpoint){.family = AF_INET6, .port = ntohs(v6.sin6_port)};
        memcpy(to.ip, &v6.sin6_addr, sizeof(v6.sin6_addr));
    }
    return to;
}

/* Version 1: one line of text */

/* What is left of a line. */
struct line {
    const char *next, *end;
};

static bool take_literal(struct line *line, const char *text)
{
    size_t len = strlen(text);
    if ((size_t)(line->end - line->next) < len || memcmp(line->next, text, len) != 0)
        return false;
    line->next += len;
    return true;
}

/* Takes an address of digits, dots and colons. `inet_pton` refuses leading zeros and scopes. */
static bool take_ip(struct line *line, struct endpoint *address)
{
    char text[V1_TOKEN_MAX + 1];
    size_t len = 0;
    while (line->next < line->end && *line->next != ' ' && len < V1_TOKEN_MAX)
        text[len++] = *line->next++;
    text[len] = '\0';
    if (strlen(text) != len) /* a NUL would hide what follows it */
        return false;
    return inet_pton(address->family, text, address->ip) == 1;
}

static bool take_port(struct line *line, struct endpoint *address)
{
    const char *start = line->next;
    uint32_t port = 0;
    while (line->next < line->end && *line->next >= '0' && *line->next <= '9' && port <= UINT16_MAX)
        port = port * 10 + (uint32_t)(*line->next++ - '0');
    address->port = (uint16_t)port;
    return line->next > start && port <= UINT16_MAX && (*start != '0' || line->next == start + 1);
}

static bool read_line(struct line *line, struct endpoints *out)
{
    struct endpoint *source = &out->source, *destination = &out->destination;
    if (!take_literal(line, v1_start))
        return false;
    if (take_literal(line, "UNKNOWN")) /* whatever follows is to be ignored */
        return line->next == line->end || *line->next == ' ';
    if (take_literal(line, "TCP4 "))
        source->family = destination->family = AF_INET;
    else if (take_literal(line, "TCP6 "))
        source->family = destination->family = AF_INET6;
    else
        return false;
    return take_ip(line, source) && take_literal(line, " ") && take_ip(line, destination) &&
           take_literal(line, " ") && take_port(line, source) && take_literal(line, " ") &&
           take_port(line, destination) && line->next == line->end;
}

static int read_v1(const char *data, size_t len, struct endpoints *out)
{
    size_t start_len = sizeof(v1_start) - 1;
    if (memcmp(data, v1_start, len < start_len ? len : start_len) != 0)
        return -1;
    size_t seen = len < V1_LINE_MAX ? len : V1_LINE_MAX;
    const char *cr = memchr(data, '\r', seen);
    size_t line_len = cr != NULL ? (size_t)(cr - data) : seen;
    if (memchr(data, '\n', line_len) != NULL || line_len + 2 > V1_LINE_MAX)
        return -1;
    if (line_len + 2 > len)
        return 0;
    struct line line = {data, data + line_len};
    if (data[line_len + 1] != '\n' || !read_line(&line, out))
        return -1;
    return (int)line_len + 2;
}

/* Version 2: fixed part, addresses, type-length-values */

static uint32_t get16(const unsigned char *data)
{
    return (uint32_t)data[0] << 8 | data[1];
}

static uint32_t get32(const unsigned char *data)
{
    return get16(data) << 16 | get16(data + 2);
}

/* CRC-32C (Castagnoli), bit by bit: headers are short, and few carry a checksum. */
static uint32_t crc32c(uint32_t crc, const unsigned char *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78U : 0);
    }
    return crc;
}

/* Section 2.2.4: the checksum of the whole header with zeros in place of itself. */
static bool is_checksum_right(const unsigned char *data, size_t total, size_t at)
{
    static const unsigned char zeros[4];
    uint32_t crc = crc32c(UINT32_MAX, data, at);
    crc = crc32c(crc, zeros, sizeof(zeros));
    crc = crc32c(crc, data + at + 4, total - at - 4);
    return ~crc == get32(data + at);
}

/* Every TLV must end within the header (section 2.2.7); only the checksum is looked at. */
static bool are_tlvs_valid(const unsigned char *data, size_t total, size_t at)
{
    while (at < total) {
        if (total - at < TLV_HEAD_BYTES)
            return false;
        size_t value = at + TLV_HEAD_BYTES, value_len = get16(data + at + 1);
        if (value_len > total - value)
            return false;
        if (data[at] == TLV_CRC32C && (value_len != 4 || !is_checksum_right(data, total, value)))
            return false;
        at = value + value_len;
    }
    return true;
}

/* Returns how many bytes of addresses the family and protocol byte announces, or -1 for a value
 * that section 2.2 leaves undefined. */
static int address_bytes(unsigned family)
{
    switch (family) {
    case 0x00: /* UNSPEC: TLVs alone */
        return 0;
    case V2_TCP4:
    case 0x12: /* UDP over IPv4 */
        return V2_TCP4_BYTES;
    case V2_TCP6:
    case 0x22: /* UDP over IPv6 */
        return V2_TCP6_BYTES;
    case 0x31: /* UNIX stream and datagram */
    case 0x32:
        return V2_UNIX_BYTES;
    default:
        return -1;
    }
}

static void get_addresses(const unsigned char *data, int family, struct endpoints *out)
{
    size_t ip_bytes = family == AF_INET ? 4 : 16;
    out->source.family = out->destination.family = family;
    memcpy(out->source.ip, data, ip_bytes);
    memcpy(out->destination.ip, data + ip_bytes, ip_bytes);
    out->source.port = (uint16_t)get16(data + 2 * ip_bytes);
    out->destination.port = (uint16_t)get16(data + 2 * ip_bytes + 2);
}

/* Checks a complete header and takes its addresses. LOCAL's are to be ignored, and so are those of
 * families other than TCP over IP. */
static bool read_block(const unsigned char *data, size_t total, struct endpoints *out)
{
    unsigned family = data[13];
    if (data[12] == V2_LOCAL)
        return true;
    int n_address = address_bytes(family);
    if (n_address < 0 || total < V2_FIXED_BYTES + (size_t)n_address ||
        !are_tlvs_valid(data, total, V2_FIXED_BYTES + (size_t)n_address))
        return false;
    if (family == V2_TCP4)
        get_addresses(data + V2_FIXED_BYTES, AF_INET, out);
    else if (family == V2_TCP6)
        get_addresses(data + V2_FIXED_BYTES, AF_INET6, out);
    return true;
}

static int read_v2(const unsigned char *data, size_t len, struct endpoints *out)
{
    if (memcmp(data, v2_signature, len < V2_SIGNATURE_BYTES ? len : V2_SIGNATURE_BYTES) != 0)
        return -1;
    if (len > 12 && data[12] != V2_LOCAL && data[12] != V2_PROXY)
        return -1;
    if (len < V2_FIXED_BYTES)
        return 0;
    size_t total = V2_FIXED_BYTES + get16(data + 14);
    if (total > VF_PROXY_HEADER_MAX)
        return -1;
    if (len < total)
        return 0;
    return read_block(data, total, out) ? (int)total : -1;
}

int vf_proxy_header_read(const char *data, size_t len, struct vf_proxy_header *out)
{
    struct endpoints found = {{.family = AF_UNSPEC}, {.family = AF_UNSPEC}};
    if (len == 0)
        return 0;
    int used = (unsigned char)data[0] == v2_signature[0]
                   ? read_v2((const unsigned char *)data, len, &found)
                   : read_v1(data, len, &found);
    if (used > 0) {
        to_storage(&found.source, &out->source);
        to_storage(&found.destination, &out->destination);
    }
    return used;
}

/* Writing */

/* Turns an IPv4 address into an IPv4-mapped IPv6 one (RFC 4291 section 2.5.5.2). */
static void map_to_ipv6(struct endpoint *address)
{
    if (address->family != AF_INET)
        return;
    address->family = AF_INET6;
    memcpy(address->ip + 12, address->ip, 4);
    memset(address->ip, 0, 10);
    memset(address->ip + 10, 0xff, 2);
}

/* A header has one family: IPv6 when either address needs it, AF_UNSPEC when either is unknown. */
static struct endpoints with_one_family(struct endpoints ends)
{
    if (ends.source.family == AF_UNSPEC || ends.destination.family == AF_UNSPEC) {
        ends.source.family = ends.destination.family = AF_UNSPEC;
    } else if (ends.source.family != ends.destination.family) {
        map_to_ipv6(&ends.source);
        map_to_ipv6(&ends.destination);
    }
    return ends;
}

static size_t write_v1(const struct endpoints *ends, char *out)
{
    char source[INET6_ADDRSTRLEN], destination[INET6_ADDRSTRLEN];
    bool is_ipv4 = ends->source.family == AF_INET;
    int family = is_ipv4 ? AF_INET : AF_INET6;
    if (ends->source.family == AF_UNSPEC)
        return (size_t)snprintf(out, VF_PROXY_HEADER_OUT, "PROXY UNKNOWN\r\n");
    inet_ntop(family, ends->source.ip, source, sizeof(source));
    inet_ntop(family, ends->destination.ip, destination, sizeof(destination));
    return (size_t)snprintf(out, VF_PROXY_HEADER_OUT, "PROXY TCP%c %s %s %u %u\r\n",
                            is_ipv4 ? '4' : '6', source, destination, ends->source.port,
                            ends->destination.port);
}

static unsigned char *put_bytes(unsigned char *out, const void *data, size_t len)
{
    memcpy(out, data, len);
    return out + len;
}

static unsigned char *put16(unsigned char *out, uint32_t value)
{
    return put_bytes(out, (unsigned char[]){(unsigned char)(value >> 8), (unsigned char)value}, 2);
}

static size_t write_v2(const struct endpoints *ends, unsigned char *out)
{
    unsigned char *next = put_bytes(out, v2_signature, V2_SIGNATURE_BYTES);
    bool is_local = ends->source.family == AF_UNSPEC;
    bool is_ipv4 = ends->source.family == AF_INET;
    size_t ip_bytes = is_ipv4 ? 4 : 16;
    *next++ = is_local ? V2_LOCAL : V2_PROXY;
    *next++ = is_local ? 0 : is_ipv4 ? V2_TCP4 : V2_TCP6;
    next = put16(next, is_local ? 0 : is_ipv4 ? V2_TCP4_BYTES : V2_TCP6_BYTES);
    if (is_local)
        return V2_FIXED_BYTES;
    next = put_bytes(next, ends->source.ip, ip_bytes);
    next = put_bytes(next, ends->destination.ip, ip_bytes);
    next = put16(next, ends->source.port);
    next = put16(next, ends->destination.port);
    return (size_t)(next - out);
}

size_t vf_proxy_header_write(unsigned version, const struct vf_proxy_header *header, char *out)
{
    struct endpoints ends = with_one_family(
        (struct endpoints){from_storage(&header->source), from_storage(&header->destination)});
    assert(version == 1 || version == 2);
    return version == 1 ? write_v1(&ends, out) : write_v2(&ends, (unsigned char *)out);
}
