#include "control/websocket_guard.h"

#include <string.h>

#include "lua/utf8.h"

enum { CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };
enum { FIN = 0x80, RSV = 0x70, OPCODE = 0x0f, MASKED = 0x80, LENGTH = 0x7f, MASK_BYTES = 4 };

void vf_websocket_guard_init(struct vf_websocket_guard *guard, uint64_t max_message)
{
    *guard = (struct vf_websocket_guard){.max_message = max_message, .need = 2};
}

size_t vf_websocket_guard_close(struct vf_websocket_guard *guard, uint16_t code, const char *why,
                                char *out)
{
    size_t len = strlen(why), at = 0;
    if (guard->code != 0)
        return 0;
    guard->code = code;
    guard->why = why;
    out[at++] = (char)(FIN | CLOSE);
    out[at++] = (char)(MASKED | (2 + len));
    memset(out + at, 0, MASK_BYTES); /* masked with zeros: as it is */
    at += MASK_BYTES;
    out[at++] = (char)(code >> 8);
    out[at++] = (char)(code & 0xff);
    memcpy(out + at, why, len);
    return at + len;
}

/* What is wrong with the first two bytes of a frame (RFC 6455 sections 5.1, 5.2, 5.4, 5.5). */
static const char *fault_of_start(const struct vf_websocket_guard *guard)
{
    unsigned char first = guard->held[0], second = guard->held[1];
    unsigned char opcode = first & OPCODE;
    if (first & RSV)
        return "reserved bits are set";
    if (!(second & MASKED))
        return "a frame is not masked";
    if (opcode > PONG || (opcode > BINARY && opcode < CLOSE))
        return "the opcode is not known";
    if (opcode >= CLOSE && !(first & FIN))
        return "a control frame is fragmented";
    if (opcode >= CLOSE && (second & LENGTH) > VF_WS_CONTROL_BYTES)
        return "a control frame is too long";
    if (opcode == CONTINUATION && !guard->in_message)
        return "there is nothing to continue";
    if ((opcode == TEXT || opcode == BINARY) && guard->in_message)
        return "the message before is not complete";
    return NULL;
}

static uint32_t header_bytes(const struct vf_websocket_guard *guard)
{
    uint32_t length = guard->held[1] & LENGTH;
    return 2 + (length == 126 ? 2 : length == 127 ? 8 : 0) + MASK_BYTES;
}

/* The payload's length; UINT64_MAX when it is not written in the shortest way, or has its first bit
 * set. */
static uint64_t payload_bytes(const struct vf_websocket_guard *guard)
{
    uint32_t length = guard->held[1] & LENGTH, n = length == 126 ? 2 : length == 127 ? 8 : 0;
    uint64_t value = 0;
    if (n == 0)
        return length;
    for (uint32_t i = 0; i < n; i++)
        value = value << 8 | guard->held[2 + i];
    bool is_short = value <= (n == 2 ? 125 : UINT16_MAX);
    return is_short || value >> 63 != 0 ? UINT64_MAX : value;
}

/* Codes that an endpoint may send (RFC 6455 section 7.4, and the registry that it sets up). */
static bool may_be_sent(uint16_t code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

static bool is_utf8(const char *at, const char *end)
{
    while (at < end) {
        int len = vf_utf8_next(at, end);
        if (len == 0)
            return false;
        at += len;
    }
    return true;
}

static size_t emit_held(struct vf_websocket_guard *guard, char *out)
{
    size_t len = guard->n_held;
    memcpy(out, guard->held, len);
    guard->n_held = 0;
    guard->need = 2;
    return len;
}

/* A whole close frame of the client's. */
static size_t judge_close(struct vf_websocket_guard *guard, char *out)
{
    const unsigned char *mask = guard->held + 2, *payload = mask + MASK_BYTES;
    uint32_t len = guard->held[1] & LENGTH;
    char text[VF_WS_CONTROL_BYTES];
    for (uint32_t i = 0; i < len; i++)
        text[i] = (char)(payload[i] ^ mask[i & 3]);
    if (len == 1)
        return vf_websocket_guard_close(guard, VF_WS_CLOSE_PROTOCOL, "half a close code", out);
    uint16_t code = VF_WS_CLOSE_NO_STATUS;
    if (len >= 2) {
        code = (uint16_t)((unsigned char)text[0] << 8 | (unsigned char)text[1]);
        if (!may_be_sent(code))
            return vf_websocket_guard_close(guard, VF_WS_CLOSE_PROTOCOL,
                                            "a close code that may not be sent", out);
        if (!is_utf8(text + 2, text + len))
            return vf_websocket_guard_close(guard, VF_WS_CLOSE_INVALID, "the reason is not UTF-8",
                                            out);
        if (code >= 1012 && code <= 1014) /* registered since: libwebsockets does not know them */
            return vf_websocket_guard_close(guard, VF_WS_CLOSE_NORMAL, "", out);
    }
    guard->code = code;
    return emit_held(guard, out);
}

/* A whole header of another frame. */
static size_t judge_header(struct vf_websocket_guard *guard, char *out)
{
    uint64_t len = payload_bytes(guard);
    unsigned char opcode = guard->held[0] & OPCODE;
    bool is_final = (guard->held[0] & FIN) != 0;
    if (len == UINT64_MAX)
        return vf_websocket_guard_close(guard, VF_WS_CLOSE_PROTOCOL,
                                        "a length is not in its shortest form", out);
    if (opcode < CLOSE) {
        if (opcode != CONTINUATION)
            guard->message_bytes = 0;
        if (len > guard->max_message - guard->message_bytes)
            return vf_websocket_guard_close(guard, VF_WS_CLOSE_TOO_LARGE,
                                            "the message is too large", out);
        guard->message_bytes += len;
        guard->in_message = !is_final;
    }
    guard->payload_left = len;
    return emit_held(guard, out);
}

/* There are guard->need bytes. Returns what goes out; may want more bytes first. */
static size_t judge(struct vf_websocket_guard *guard, char *out)
{
    if (guard->n_held == 2) {
        guard->n_frames++;
        const char *fault = fault_of_start(guard);
        if (fault != NULL)
            return vf_websocket_guard_close(guard, VF_WS_CLOSE_PROTOCOL, fault, out);
        guard->need = header_bytes(guard);
        if ((guard->held[0] & OPCODE) == CLOSE)
            guard->need += guard->held[1] & LENGTH;
        return 0;
    }
    return (guard->held[0] & OPCODE) == CLOSE ? judge_close(guard, out) : judge_header(guard, out);
}

size_t vf_websocket_guard_feed(struct vf_websocket_guard *guard, const char *data, size_t len,
                               char *out)
{
    size_t at = 0, n_out = 0;
    while (at < len && guard->code == 0) {
        if (guard->payload_left > 0) {
            size_t n = len - at < guard->payload_left ? len - at : (size_t)guard->payload_left;
            memcpy(out + n_out, data + at, n);
            n_out += n;
            at += n;
            guard->payload_left -= n;
            continue;
        }
        guard->held[guard->n_held++] = (unsigned char)data[at++];
        if (guard->n_held == guard->need)
            n_out += judge(guard, out + n_out);
    }
    return n_out;
}
