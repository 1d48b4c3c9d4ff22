/* lua/database/database.h - an SQLite file off the loop: one thread, one connection, a queue of
 * requests. Lua builds a request (SQL statements and their values), submits it and takes the answer
 * when the loop says that there is one. Requests are done in order, each wholly or not at all.
 * Those that write and wait at the same time share one transaction and so one flush to the disk
 * (group commit): when a write is answered with VF_DATABASE_OK, it outlives a power cut.
 *
 * The file is created with mode 0600 and kept in WAL mode: other processes may read it meanwhile.
 * It is opened, checked (PRAGMA quick_check) and migrated by the first request, in the thread. A
 * file that is damaged, foreign or newer is left as it is, and every request is answered with why;
 * the next one tries again. Mirrored by lua/veloflux/store/database.lua. */
#ifndef VF_LUA_DATABASE_DATABASE_H
#define VF_LUA_DATABASE_DATABASE_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct vf_database;
struct vf_database_request;

/* Whose loop it is, and how Lua gets to know of answers. */
struct vf_database_host {
    uv_loop_t *loop;
    void (*on_ready)(void *owner); /* on the loop: answers wait, take them all; NULL: Lua looks */
    void *owner;
};

struct vf_database_schema {        /* what the file holds, and how it is opened */
    uint32_t application_id;       /* in the file's header: whose it is */
    uint32_t n_migrations;         /* user_version of a file that is up to date */
    const char *const *migrations; /* SQL scripts; number n leads from user_version n to n + 1 */
    uint32_t busy_ms;              /* how long to wait for another process that writes */
};

enum vf_database_code {
    VF_DATABASE_OK = 0,
    VF_DATABASE_REFUSED,     /* a statement that must change a row changed none */
    VF_DATABASE_UNAVAILABLE, /* the file cannot be opened, is damaged or busy; as it was */
    VF_DATABASE_IO,          /* full disk or I/O error; nothing of the request was written */
    VF_DATABASE_WRONG        /* the statement does not fit the database: the caller's mistake */
};

enum vf_database_kind { VF_DATABASE_NULL = 0, VF_DATABASE_INTEGER, VF_DATABASE_TEXT };

struct vf_database_value { /* read by Lua */
    const char *text;      /* with a NUL behind it */
    size_t len;
    int64_t integer;
    uint32_t kind;
    uint32_t unused;
};

struct vf_database_answer {                 /* read by Lua; valid until the request is freed */
    uint64_t number;                        /* which the request was given */
    const char *message;                    /* "PATH: what went wrong" unless the code is OK */
    const struct vf_database_value *values; /* of all rows of all statements, one after another */
    const uint32_t *counts; /* for each statement, how many of them: rows times columns */
    uint32_t code;
    uint32_t n_statements;
};

/* Starts the thread for the file `path`; folder and file need not exist. Host, path and schema are
 * copied, the scripts are not: they must outlive the database. Returns 0, UV_ENOMEM or another
 * UV_E*; *out belongs to the caller. */
int vf_database_open(const struct vf_database_host *host, const char *path,
                     const struct vf_database_schema *schema, struct vf_database **out);

/* Ends the thread after what was submitted, and frees the database and the answers that nobody
 * took. Waits for the thread: at once when the answer to vf_database_end was taken. */
void vf_database_free(struct vf_database *database);

/* Returns an empty request, the caller's until it is submitted, or NULL when out of memory. Only
 * one with `writes` not 0 may change anything. */
struct vf_database_request *vf_database_request(uint64_t number, int writes);

/* Adds a statement. Its values follow, in the order of ?1, ?2 ... With `must_change` not 0 the
 * request is refused when the statement changes no row. Text is copied. When memory runs out the
 * request is answered with VF_DATABASE_UNAVAILABLE. */
void vf_database_statement(struct vf_database_request *request, const char *sql, size_t len,
                           int must_change);
void vf_database_text(struct vf_database_request *request, const char *text, size_t len);
void vf_database_integer(struct vf_database_request *request, int64_t integer);
void vf_database_null(struct vf_database_request *request);

/* Gives the request to the database, which owns it until it is taken. */
void vf_database_submit(struct vf_database *database, struct vf_database_request *request);

/* Submits a last request, answered when the file is closed; none may follow. The second call does
 * nothing. */
void vf_database_end(struct vf_database *database, uint64_t number);

/* Returns the next answered request, the caller's from here on, or NULL. */
struct vf_database_request *vf_database_take(struct vf_database *database);

/* Returns what became of a taken request. */
const struct vf_database_answer *vf_database_answer(const struct vf_database_request *request);

/* Frees a request that was not submitted, or was taken. */
void vf_database_request_free(struct vf_database_request *request);

#endif
