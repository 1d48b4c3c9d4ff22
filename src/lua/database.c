#include "lua/database.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "lua/database_core.h"

enum {
    CHUNK_BYTES = 4096,
    LOOK_BACK = 4,  /* statements: what a driver says of one entity */
    GROUP_MAX = 256 /* writes in one transaction: what one failure may make run again */
};

struct vf_database_chunk {
    struct vf_database_chunk *next;
    size_t used, room;
    char bytes[];
};

struct queue {
    struct vf_database_request *first, *last;
};

struct vf_database {
    struct vf_database_host host;
    struct vf_database_file file; /* of the thread */
    uv_async_t wake;
    uv_thread_t thread;
    uv_mutex_t lock; /* over the queues */
    uv_cond_t submitted;
    struct queue todo, done;
    struct vf_database_request *last; /* which ends the thread; NULL: it was submitted */
    char path[];
};

/* Memory of requests */

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

/* Queues */

static void append(struct queue *queue, struct vf_database_request *request)
{
    request->next = NULL;
    if (queue->last != NULL)
        queue->last->next = request;
    else
        queue->first = request;
    queue->last = request;
}

static struct vf_database_request *take_first(struct queue *queue)
{
    struct vf_database_request *request = queue->first;
    if (request != NULL && (queue->first = request->next) == NULL)
        queue->last = NULL;
    return request;
}

static void free_all(struct queue *queue)
{
    struct vf_database_request *request;
    while ((request = take_first(queue)) != NULL)
        vf_database_request_free(request);
}

/* Takes what is done next: one request, or the writes that wait one after another. */
static size_t take_group(struct queue *todo, struct queue *group)
{
    size_t count = 0;
    do {
        append(group, take_first(todo));
        count++;
    } while (group->last->writes && todo->first != NULL && todo->first->writes &&
             count < GROUP_MAX);
    return count;
}

/* The thread */

static void run_thread(void *argument)
{
    struct vf_database *database = argument;
    bool is_running = true;
    uv_mutex_lock(&database->lock);
    while (is_running) {
        while (database->todo.first == NULL)
            uv_cond_wait(&database->submitted, &database->lock);
        struct queue group = {NULL, NULL};
        size_t count = take_group(&database->todo, &group);
        uv_mutex_unlock(&database->lock);

        if (group.first->ends) {
            vf_database_file_close(&database->file);
            is_running = false;
        } else {
            vf_database_run(&database->file, group.first, count);
        }

        uv_mutex_lock(&database->lock);
        struct vf_database_request *request;
        while ((request = take_first(&group)) != NULL)
            append(&database->done, request);
        uv_async_send(&database->wake);
    }
    uv_mutex_unlock(&database->lock);
}

static void on_wake(uv_async_t *wake)
{
    struct vf_database *database = wake->data;
    if (database->host.on_ready != NULL)
        database->host.on_ready(database->host.owner);
}

/* Life */

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

/* Frees what the loop does not know. */
static void free_parts(struct vf_database *database)
{
    vf_database_request_free(database->last);
    uv_cond_destroy(&database->submitted);
    uv_mutex_destroy(&database->lock);
}

static int init_parts(struct vf_database *database)
{
    database->last = vf_database_request(0, 0);
    if (database->last == NULL)
        return UV_ENOMEM;
    int rc = uv_mutex_init(&database->lock);
    if (rc == 0 && (rc = uv_cond_init(&database->submitted)) < 0)
        uv_mutex_destroy(&database->lock);
    if (rc < 0)
        vf_database_request_free(database->last);
    return rc;
}

int vf_database_open(const struct vf_database_host *host, const char *path,
                     const struct vf_database_schema *schema, struct vf_database **out)
{
    size_t path_bytes = strlen(path) + 1;
    struct vf_database *database = calloc(1, sizeof(*database) + path_bytes);
    if (database == NULL)
        return UV_ENOMEM;
    memcpy(database->path, path, path_bytes);
    database->host = *host;
    database->file = (struct vf_database_file){.path = database->path, .schema = *schema};
    database->wake.data = database;
    int rc = init_parts(database);
    if (rc < 0)
        goto fail;
    if ((rc = uv_async_init(host->loop, &database->wake, on_wake)) < 0) {
        free_parts(database);
        goto fail;
    }
    if ((rc = uv_thread_create(&database->thread, run_thread, database)) < 0) {
        free_parts(database);
        uv_close((uv_handle_t *)&database->wake, on_closed);
        return rc;
    }
    *out = database;
    return 0;

fail:
    free(database);
    return rc;
}

static void submit(struct vf_database *database, struct vf_database_request *request)
{
    uv_mutex_lock(&database->lock);
    append(&database->todo, request);
    uv_cond_signal(&database->submitted);
    uv_mutex_unlock(&database->lock);
}

void vf_database_submit(struct vf_database *database, struct vf_database_request *request)
{
    assert(database->last != NULL);
    submit(database, request);
}

void vf_database_end(struct vf_database *database, uint64_t number)
{
    struct vf_database_request *last = database->last;
    if (last == NULL)
        return;
    database->last = NULL;
    last->answer.number = number;
    last->ends = true;
    submit(database, last);
}

struct vf_database_request *vf_database_take(struct vf_database *database)
{
    uv_mutex_lock(&database->lock);
    struct vf_database_request *request = take_first(&database->done);
    uv_mutex_unlock(&database->lock);
    return request;
}

void vf_database_free(struct vf_database *database)
{
    if (database == NULL)
        return;
    vf_database_end(database, 0);
    uv_thread_join(&database->thread);
    free_all(&database->done);
    free_parts(database);
    uv_close((uv_handle_t *)&database->wake, on_closed);
}
