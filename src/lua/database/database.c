#include "lua/database/database.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "lua/database/core.h"

enum { GROUP_MAX = 256 /* writes in one transaction: what one failure may make run again */ };

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
