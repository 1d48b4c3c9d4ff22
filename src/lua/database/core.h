/* lua/database/core.h - what database.c (queues, thread), request.c (requests and their memory)
 * and run.c (SQLite) know of each other. */
#ifndef VF_LUA_DATABASE_CORE_H
#define VF_LUA_DATABASE_CORE_H

#include <sqlite3.h>
#include <stdbool.h>

#include "lua/database/database.h"

struct vf_database_chunk;

struct vf_database_statement {
    const char *sql;
    size_t len;
    bool must_change;
    uint32_t first_value, n_values; /* in request->values */
};

struct vf_database_request {
    struct vf_database_request *next;
    struct vf_database_answer answer;
    struct vf_database_chunk *chunks; /* texts; arenas share a free list that knows one thread */
    struct vf_database_statement *statements;
    struct vf_database_value *values;  /* given */
    struct vf_database_value *results; /* what answer.values shows */
    uint32_t *counts;
    size_t statements_room, n_values, values_room, n_results, results_room;
    bool writes, ends, is_out_of_memory;
};

/* Returns a copy of `len` bytes with a NUL behind them, gone with the request; or NULL, and the
 * request knows that it is out of memory. */
const char *vf_database_keep(struct vf_database_request *request, const char *data, size_t len);

/* Adds a value to the results. Returns it, or NULL as above. */
struct vf_database_value *vf_database_add_result(struct vf_database_request *request);

/* Writes what became of a request. `message` is copied. */
void vf_database_fail(struct vf_database_request *request, enum vf_database_code code,
                      const char *message);

enum { VF_DATABASE_STATEMENTS = 48 /* different ones that a driver may have */ };

/* The connection: used by the thread alone. */
struct vf_database_file {
    const char *path; /* borrowed */
    struct vf_database_schema schema;
    sqlite3 *handle; /* NULL: not open */
    struct {
        sqlite3_stmt *prepared;
        const char *sql; /* SQLite's own copy */
        size_t len;
    } statements[VF_DATABASE_STATEMENTS];
    size_t n_statements;
};

/* Does `count` requests linked by next: one that reads, or some that write, in one transaction.
 * Opens the file when it is not. Each is answered. */
void vf_database_run(struct vf_database_file *file, struct vf_database_request *first,
                     size_t count);

void vf_database_file_close(struct vf_database_file *file);

/* Opens, checks and migrates the file (open.c). Returns VF_DATABASE_OK, or another code
 * with a message of the form "PATH: ..." in `message`; nothing is open then. */
enum vf_database_code vf_database_file_open(struct vf_database_file *file, char *message,
                                            size_t room);

/* Writes "PATH: " and SQLite's words for the last failure. Returns the code for it. */
enum vf_database_code vf_database_explain(struct vf_database_file *file, char *message,
                                          size_t room);

enum { VF_DATABASE_MESSAGE_BYTES = 1024 };

#endif
