/* lua/database/request.c - a request to a database: what is asked, what came of it, and the memory
 * of both, which goes with it. */
#include <stdlib.h>
#include <string.h>

#include "lua/database/core.h"

enum {
    CHUNK_BYTES = 4096,
    LOOK_BACK = 4 /* statements: what a driver says of one entity */
};

struct vf_database_chunk {
    struct vf_database_chunk *next;
    size_t used, room;
    char bytes[];
};

const char *vf_database_keep(struct vf_database_request *request, const char *data, size_t len)
{
    struct vf_database_chunk *chunk = request->chunks;
    if (chunk == NULL || chunk->room - chunk->used < len + 1) {
        size_t room = len + 1 > CHUNK_BYTES ? len + 1 : CHUNK_BYTES;
        chunk = malloc(sizeof(*chunk) + room);
        if (chunk == NULL) {
            request->is_out_of_memory = true;
            return NULL;
        }
        chunk->next = request->chunks;
        chunk->used = 0;
        chunk->room = room;
        request->chunks = chunk;
    }
    char *copy = chunk->bytes + chunk->used;
    if (len > 0)
        memcpy(copy, data, len);
    copy[len] = '\0';
    chunk->used += len + 1;
    return copy;
}

/* Makes room for one more in a list. Returns the list, or NULL when out of memory. */
static void *grow(struct vf_database_request *request, void *list, size_t used, size_t *room,
                  size_t size)
{
    if (used < *room)
        return list;
    size_t larger = *room == 0 ? 8 : *room * 2;
    void *moved = realloc(list, larger * size);
    if (moved == NULL) {
        request->is_out_of_memory = true;
        return NULL;
    }
    *room = larger;
    return moved;
}

struct vf_database_request *vf_database_request(uint64_t number, int writes)
{
    struct vf_database_request *request = calloc(1, sizeof(*request));
    if (request != NULL) {
        request->answer.number = number;
        request->writes = writes != 0;
    }
    return request;
}

void vf_database_request_free(struct vf_database_request *request)
{
    if (request == NULL)
        return;
    while (request->chunks != NULL) {
        struct vf_database_chunk *next = request->chunks->next;
        free(request->chunks);
        request->chunks = next;
    }
    free(request->statements);
    free(request->values);
    free(request->results);
    free(request->counts);
    free(request);
}

/* Returns the request's copy of a text that one of its last statements has, or a new one: a change
 * of many entities repeats the same few. */
static const char *keep_sql(struct vf_database_request *request, const char *sql, size_t len)
{
    size_t count = request->answer.n_statements;
    for (size_t back = 1; back <= LOOK_BACK && back <= count; back++) {
        const struct vf_database_statement *statement = &request->statements[count - back];
        if (statement->len == len && memcmp(statement->sql, sql, len) == 0)
            return statement->sql;
    }
    return vf_database_keep(request, sql, len);
}

void vf_database_statement(struct vf_database_request *request, const char *sql, size_t len,
                           int must_change)
{
    size_t used = request->answer.n_statements;
    struct vf_database_statement *list =
        grow(request, request->statements, used, &request->statements_room, sizeof(*list));
    if (list == NULL)
        return;
    request->statements = list;
    const char *copy = keep_sql(request, sql, len);
    if (copy == NULL)
        return;
    list[used] = (struct vf_database_statement){.sql = copy,
                                                .len = len,
                                                .must_change = must_change != 0,
                                                .first_value = (uint32_t)request->n_values};
    request->answer.n_statements++;
}

/* Returns a new value of the last statement, or NULL. */
static struct vf_database_value *add_value(struct vf_database_request *request)
{
    struct vf_database_value *list =
        grow(request, request->values, request->n_values, &request->values_room, sizeof(*list));
    if (list == NULL)
        return NULL;
    request->values = list;
    if (request->is_out_of_memory) /* perhaps of the statement itself */
        return NULL;
    request->statements[request->answer.n_statements - 1].n_values++;
    struct vf_database_value *value = &list[request->n_values++];
    *value = (struct vf_database_value){.kind = VF_DATABASE_NULL};
    return value;
}

void vf_database_text(struct vf_database_request *request, const char *text, size_t len)
{
    const char *copy = vf_database_keep(request, text, len);
    struct vf_database_value *value = copy != NULL ? add_value(request) : NULL;
    if (value != NULL)
        *value = (struct vf_database_value){.text = copy, .len = len, .kind = VF_DATABASE_TEXT};
}

void vf_database_integer(struct vf_database_request *request, int64_t integer)
{
    struct vf_database_value *value = add_value(request);
    if (value != NULL)
        *value = (struct vf_database_value){.integer = integer, .kind = VF_DATABASE_INTEGER};
}

void vf_database_null(struct vf_database_request *request)
{
    add_value(request);
}

struct vf_database_value *vf_database_add_result(struct vf_database_request *request)
{
    struct vf_database_value *list =
        grow(request, request->results, request->n_results, &request->results_room, sizeof(*list));
    if (list == NULL)
        return NULL;
    request->results = list;
    struct vf_database_value *value = &list[request->n_results++];
    *value = (struct vf_database_value){.kind = VF_DATABASE_NULL};
    return value;
}

void vf_database_fail(struct vf_database_request *request, enum vf_database_code code,
                      const char *message)
{
    const char *copy = vf_database_keep(request, message, strlen(message));
    request->answer.code = code;
    request->answer.message = copy != NULL ? copy : "out of memory";
}

const struct vf_database_answer *vf_database_answer(const struct vf_database_request *request)
{
    return &request->answer;
}
