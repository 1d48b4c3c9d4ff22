/* TLS with somebody in between: our client and our server shake hands, say something and end, and
 * the input says which of the bytes on their way are changed, lost, doubled, or the last. Whatever
 * happens, neither gets content that the other has not sent; when nothing is changed, both get all
 * of it. An input that begins with an odd byte is a client by itself, and talks to the server. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/error.h"
#include "net/op.h"
#include "net/transport.h"
#include "tls/client.h"
#include "tls/server.h"
#include "tls/transport.h"
#include "tls_identity.h"

enum { MAX_EDITS = 8, EDIT_BYTES = 4, MAX_CONTENT = 40000, MAX_TURNS = 400 };

enum edit_kind { CHANGE = 0, DROP, DOUBLE, CUT };

struct edit {
    unsigned side, kind, position;
    unsigned char value;
};

/* One end: what it sends, and how much of what the other sends it got. */
struct end {
    struct vf_stream stream; /* first member */
    struct end *peer;
    size_t sent, received;
    int wire;      /* the other end of its socket: ours */
    size_t passed; /* bytes that it has sent on the wire */
    bool is_open, has_failed, has_ended;
};

static uv_loop_t loop;
static struct vf_reactor *reactor;
static struct vf_net net;
static struct vf_tls *tls;
static struct vf_tls_identity *identity;
static char content[MAX_CONTENT];

static struct edit edits[MAX_EDITS];
static unsigned n_edits;
static struct end ends[2]; /* client, server */
static size_t n_content;

static void say(struct end *end)
{
    end->is_open = true;
    end->sent = n_content;
    vf_stream_add(&end->stream, vf_str_make(content, n_content));
    vf_stream_shutdown(&end->stream);
}

static void on_connected(struct vf_stream *stream)
{
    say((struct end *)stream);
}

static void on_failed(struct vf_stream *stream, int error)
{
    (void)error;
    ((struct end *)stream)->has_failed = true;
}

static void on_readable(struct vf_stream *stream)
{
    struct end *end = (struct end *)stream;
    char buffer[5000];
    ssize_t n;
    while ((n = vf_stream_recv(stream, buffer, sizeof(buffer))) > 0) {
        if (end->received + (size_t)n > end->peer->sent ||
            memcmp(buffer, content + end->received, (size_t)n) != 0)
            abort(); /* nobody has said that */
        end->received += (size_t)n;
    }
    if (end == &ends[1] && !end->is_open && stream->transport->is_open)
        say(end);
    if (n == UV_EAGAIN)
        return;
    end->has_failed |= n < 0;
    end->has_ended |= n == 0;
}

static const struct vf_stream_events EVENTS = {
    .on_connected = on_connected, .on_readable = on_readable, .on_failed = on_failed};

static int choose(void *owner, uint64_t context, struct vf_str name, struct vf_tls_identity **out,
                  int room)
{
    (void)owner, (void)context, (void)name;
    if (room < 1)
        return 0;
    out[0] = vf_tls_identity_retain(identity);
    return 1;
}

static void flush_net(void *owner)
{
    (void)owner;
    vf_net_flush(&net);
}

static void set_up(void)
{
    if (tls != NULL)
        return;
    for (size_t i = 0; i < sizeof(content); i++)
        content[i] = (char)(i * 7 + i / 251);
    if (uv_loop_init(&loop) < 0 || vf_reactor_new(&loop, flush_net, NULL, &reactor) < 0 ||
        vf_net_init(&net, reactor, UINT64_MAX) < 0 || vf_tls_new(&net, &tls) < 0 ||
        vf_tls_identity_new(vf_str_make((const char *)CHAIN, sizeof(CHAIN)),
                            vf_str_make((const char *)KEY, sizeof(KEY)), &identity) < 0)
        abort();
}

static void open_end(struct end *end, struct end *peer)
{
    int sockets[2];
    memset(end, 0, sizeof(*end));
    end->peer = peer;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets) < 0)
        abort();
    end->wire = sockets[1];
    vf_stream_init(&end->stream, &net, &EVENTS, sockets[0]);
}

static void close_end(struct end *end)
{
    if (end->stream.io.fd >= 0)
        vf_stream_close(&end->stream, false);
    if (end->wire >= 0)
        close(end->wire);
}

/* Passes a byte of a side on, as the edits say. Returns false when it was the last one. */
static bool pass(unsigned side, char byte, char *out, size_t *len)
{
    size_t position = ends[side].passed++;
    int times = 1;
    for (unsigned i = 0; i < n_edits; i++) {
        const struct edit *edit = &edits[i];
        if (edit->side != side || edit->position != position)
            continue;
        if (edit->kind == CUT)
            return false;
        if (edit->kind == CHANGE)
            byte ^= (char)edit->value;
        times = edit->kind == DROP ? 0 : edit->kind == DOUBLE ? 2 : times;
    }
    for (int i = 0; i < times; i++)
        out[(*len)++] = byte;
    return true;
}

/* Carries what a side has sent to the other. Returns false when there was nothing. */
static bool carry(unsigned side)
{
    struct end *from = &ends[side], *to = &ends[1 - side];
    char in[4096], out[2 * sizeof(in)];
    size_t len = 0;
    bool goes_on = true;
    ssize_t n = from->wire < 0 ? -1 : read(from->wire, in, sizeof(in));
    for (ssize_t i = 0; i < n && goes_on; i++)
        goes_on = pass(side, in[i], out, &len);
    if (to->wire >= 0 && len > 0 && send(to->wire, out, len, MSG_NOSIGNAL) < 0)
        return false;
    if (to->wire >= 0 && (n == 0 || !goes_on))
        shutdown(to->wire, SHUT_WR);
    return n > 0;
}

static void run(void)
{
    int quiet = 0;
    for (int turn = 0; turn < MAX_TURNS && quiet < 3; turn++) {
        uv_run(&loop, UV_RUN_NOWAIT);
        vf_net_flush(&net);
        bool moved = carry(0);
        moved |= carry(1);
        quiet = moved ? 0 : quiet + 1;
    }
}

static void start_server(uint32_t min_version)
{
    static const struct vf_tls_server_options BASE = {
        .tickets = 1, .n_alpn = 1, .alpn = {"http/1.1"}, .choose = choose};
    struct vf_tls_server_options options = BASE;
    struct vf_tls_server *server;
    options.min_version = min_version;
    if (vf_tls_server_new(tls, &options, NULL, &server) < 0 ||
        vf_tls_accept(server, &ends[1].stream) < 0 || vf_stream_watch(&ends[1].stream) < 0)
        abort();
    vf_tls_server_release(&server);
}

/* The session of the run before is resumed. */
static void start_client(struct vf_tls_client *client)
{
    if (vf_tls_connect(client, &ends[0].stream, vf_str_from("a.test")) < 0 ||
        vf_stream_watch(&ends[0].stream) < 0)
        abort();
    int rc = vf_stream_start_transport(&ends[0].stream);
    if (rc < 0 && rc != VF_PENDING)
        abort();
    if (rc == 0)
        say(&ends[0]);
}

static void read_edits(const uint8_t *data, size_t size)
{
    n_edits = 0;
    for (; size >= EDIT_BYTES && n_edits < MAX_EDITS; size -= EDIT_BYTES, data += EDIT_BYTES)
        edits[n_edits++] = (struct edit){.side = data[0] & 1,
                                         .kind = data[0] >> 1 & 3,
                                         .position = data[1] | (unsigned)data[2] << 8,
                                         .value = (unsigned char)(data[3] | 1)};
}

static void meet(struct vf_tls_client *client, uint32_t min_version)
{
    open_end(&ends[0], &ends[1]);
    open_end(&ends[1], &ends[0]);
    start_server(min_version);
    start_client(client);
    run();
    for (int i = 0; n_edits == 0 && i < 2; i++)
        if (!ends[i].is_open || ends[i].received != n_content || ends[i].has_failed)
            abort();
    close_end(&ends[0]);
    close_end(&ends[1]);
}

static void alone(const uint8_t *data, size_t size)
{
    open_end(&ends[0], &ends[1]);
    open_end(&ends[1], &ends[0]);
    n_edits = 0;
    start_server(12);
    if (size > 0 && send(ends[1].wire, data, size, MSG_NOSIGNAL) < 0)
        abort();
    run();
    shutdown(ends[1].wire, SHUT_WR);
    run();
    close_end(&ends[0]);
    close_end(&ends[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    set_up();
    if (size < 2 || size > 60000)
        return 0;
    if (data[0] & 1) {
        alone(data + 1, size - 1);
        return 0;
    }
    struct vf_tls_client_options options = {.min_version = data[0] & 2 ? 13 : 12};
    struct vf_tls_client *client;
    if (vf_tls_client_new(tls, &options, NULL, NULL, &client) < 0)
        abort();
    n_content = (size_t)data[1] * 150;
    n_edits = 0;
    if (data[0] & 4) /* first one that is not disturbed: the next resumes its session */
        meet(client, options.min_version);
    read_edits(data + 2, size - 2);
    meet(client, options.min_version);
    vf_tls_client_release(&client);
    return 0;
}
