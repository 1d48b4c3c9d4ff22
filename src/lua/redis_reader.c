#include "lua/redis_reader.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>

#include "base/error.h"

/* hiredis 1.0 counts elements in size_t and knows the types of RESP3. */
#if HIREDIS_MAJOR >= 1
typedef size_t element_count;
#else
typedef int element_count;
#endif

enum { KEPT_NODES = 256, KEPT_TEXT_BYTES = 16 * 1024, MAX_DEPTH = 8 };

/* While a reply is read, node.text.data is NULL and node.integer of a text its offset: the memory
 * of the texts moves as it grows. */
struct vf_redis_reader {
    redisReader *parser;
    struct vf_redis_node *nodes;
    uint32_t n_nodes, nodes_room;
    char *texts;
    size_t texts_len, texts_room;
    uint64_t fed; /* bytes since the last reply */
    uint64_t max_bytes;
    bool too_large;
    const char *refused; /* what hiredis takes and we do not, or NULL */
};

static struct vf_redis_reader *of(const redisReadTask *task)
{
    return task->privdata;
}

/* Ends the parsing: hiredis takes NULL for a lack of memory. */
static void *refuse(struct vf_redis_reader *reader, const char *rule)
{
    reader->refused = rule;
    return NULL;
}

/* Appends a node. Returns something that is not NULL, as hiredis wants to see. */
static void *add_node(struct vf_redis_reader *reader, struct vf_redis_node node)
{
    if (reader->n_nodes >= VF_REDIS_MAX_NODES) {
        reader->too_large = true;
        return NULL;
    }
    if (reader->n_nodes == reader->nodes_room) {
        uint32_t room = reader->nodes_room == 0 ? 16 : reader->nodes_room * 2;
        struct vf_redis_node *nodes = realloc(reader->nodes, room * sizeof(*nodes));
        if (nodes == NULL)
            return NULL;
        reader->nodes = nodes;
        reader->nodes_room = room;
    }
    reader->nodes[reader->n_nodes++] = node;
    return reader;
}

static void *add_text(struct vf_redis_reader *reader, int type, const char *text, size_t len)
{
    if (reader->texts_len + len > reader->texts_room) {
        size_t room = reader->texts_room == 0 ? 256 : reader->texts_room;
        while (room < reader->texts_len + len)
            room *= 2;
        char *texts = realloc(reader->texts, room);
        if (texts == NULL)
            return NULL;
        reader->texts = texts;
        reader->texts_room = room;
    }
    if (len > 0)
        memcpy(reader->texts + reader->texts_len, text, len);
    struct vf_redis_node node = {
        .type = type, .integer = (int64_t)reader->texts_len, .text.len = len};
    reader->texts_len += len;
    return add_node(reader, node);
}

static void *on_string(const redisReadTask *task, char *text, size_t len)
{
    if (task->type != REDIS_REPLY_STRING && task->type != REDIS_REPLY_STATUS &&
        task->type != REDIS_REPLY_ERROR)
        return refuse(of(task), "a text of RESP3");
    return add_text(of(task), task->type, text, len);
}

static unsigned depth_of(const redisReadTask *task)
{
    unsigned depth = 0;
    for (; task->parent != NULL; task = task->parent)
        depth++;
    return depth;
}

/* hiredis 0.14 has a bound on nesting, later ones have none. */
static void *on_array(const redisReadTask *task, element_count n)
{
    struct vf_redis_reader *reader = of(task);
    if (task->type != REDIS_REPLY_ARRAY)
        return refuse(reader, "an aggregate of RESP3");
    if (depth_of(task) >= MAX_DEPTH)
        return refuse(reader, "arrays nested too deeply");
    if ((uint64_t)n > VF_REDIS_MAX_NODES) {
        reader->too_large = true;
        return NULL;
    }
    return add_node(reader, (struct vf_redis_node){.type = REDIS_REPLY_ARRAY, .n = (uint32_t)n});
}

static void *on_integer(const redisReadTask *task, long long value)
{
    return add_node(of(task),
                    (struct vf_redis_node){.type = REDIS_REPLY_INTEGER, .integer = value});
}

static void *on_nil(const redisReadTask *task)
{
    if (task->type == REDIS_REPLY_NIL) /* RESP2 has them as a text or an array without a length */
        return refuse(of(task), "a null of RESP3");
    return add_node(of(task), (struct vf_redis_node){.type = REDIS_REPLY_NIL});
}

static void on_free(void *object)
{
    (void)object; /* nodes go together */
}

/* RESP3 is never asked for, so what only it has is refused. */
#if HIREDIS_MAJOR >= 1
static void *on_double(const redisReadTask *task, double value, char *text, size_t len)
{
    (void)value, (void)text, (void)len;
    return refuse(of(task), "a double of RESP3");
}

static void *on_boolean(const redisReadTask *task, int value)
{
    (void)value;
    return refuse(of(task), "a boolean of RESP3");
}
#endif

static redisReplyObjectFunctions functions = {
    .createString = on_string,
    .createArray = on_array,
    .createInteger = on_integer,
    .createNil = on_nil,
    .freeObject = on_free,
#if HIREDIS_MAJOR >= 1
    .createDouble = on_double,
    .createBool = on_boolean,
#endif
};

struct vf_redis_reader *vf_redis_reader_new(uint64_t max_bytes)
{
    struct vf_redis_reader *reader = calloc(1, sizeof(*reader));
    if (reader == NULL)
        return NULL;
    reader->parser = redisReaderCreateWithFunctions(&functions);
    if (reader->parser == NULL) {
        free(reader);
        return NULL;
    }
    reader->parser->privdata = reader;
    reader->max_bytes = max_bytes;
    return reader;
}

void vf_redis_reader_free(struct vf_redis_reader *reader)
{
    if (reader == NULL)
        return;
    redisReaderFree(reader->parser);
    free(reader->nodes);
    free(reader->texts);
    free(reader);
}

void vf_redis_reader_limit(struct vf_redis_reader *reader, uint64_t max_bytes)
{
    reader->max_bytes = max_bytes;
}

static void point_texts(struct vf_redis_reader *reader)
{
    for (uint32_t i = 0; i < reader->n_nodes; i++) {
        struct vf_redis_node *node = &reader->nodes[i];
        if (node->type == REDIS_REPLY_STRING || node->type == REDIS_REPLY_STATUS ||
            node->type == REDIS_REPLY_ERROR)
            node->text.data = reader->texts + node->integer;
    }
}

/* Returns 0 with a whole reply, VF_PENDING when it wants more bytes, or why there is none. */
static int parse(struct vf_redis_reader *reader)
{
    void *reply = NULL;
    if (redisReaderGetReply(reader->parser, &reply) != REDIS_OK) {
        if (reader->too_large)
            return VF_ETOOLARGE;
        if (reader->refused != NULL)
            return VF_EMALFORMED;
        return reader->parser->err == REDIS_ERR_OOM ? UV_ENOMEM : VF_EMALFORMED;
    }
    if (reply == NULL)
        return VF_PENDING;
    reader->fed = reader->parser->len - reader->parser->pos;
    point_texts(reader);
    return 0;
}

/* A connection that once had a large reply does not hold its memory for ever. */
static void forget_reply(struct vf_redis_reader *reader)
{
    if (reader->nodes_room > KEPT_NODES || reader->texts_room > KEPT_TEXT_BYTES) {
        free(reader->nodes);
        free(reader->texts);
        reader->nodes = NULL;
        reader->texts = NULL;
        reader->nodes_room = 0;
        reader->texts_room = 0;
    }
    reader->n_nodes = 0;
    reader->texts_len = 0;
}

int vf_redis_reader_read(struct vf_redis_reader *reader, struct vf_socket *socket,
                         uint64_t timeout_ms)
{
    int rc;
    if (reader->parser->ridx < 0) /* no reply is under way */
        forget_reply(reader);
    while ((rc = parse(reader)) == VF_PENDING) {
        struct vf_str input = vf_socket_input(socket);
        if (input.len == 0) {
            if ((rc = vf_socket_receive(socket, VF_SOCKET_MORE, NULL, 0, timeout_ms)) != 0)
                return rc;
            continue;
        }
        if ((reader->fed += input.len) > reader->max_bytes)
            return VF_ETOOLARGE;
        if (redisReaderFeed(reader->parser, input.data, input.len) != REDIS_OK)
            return UV_ENOMEM;
        vf_socket_consume(socket, input.len);
    }
    return rc;
}

const struct vf_redis_node *vf_redis_reader_nodes(struct vf_redis_reader *reader, uint32_t *n)
{
    *n = reader->n_nodes;
    return reader->nodes;
}

bool vf_redis_reader_is_empty(const struct vf_redis_reader *reader)
{
    return reader->parser->ridx < 0 && reader->parser->pos == reader->parser->len;
}

const char *vf_redis_reader_rule(const struct vf_redis_reader *reader)
{
    return reader->refused != NULL ? reader->refused : reader->parser->errstr;
}
