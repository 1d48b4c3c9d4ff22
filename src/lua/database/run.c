#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lua/database/core.h"

/* Returns the statement for a text, prepared once, or NULL. */
static sqlite3_stmt *prepare(struct vf_database_file *file, const char *sql, size_t len)
{
    for (size_t i = 0; i < file->n_statements; i++)
        if (file->statements[i].len == len && memcmp(file->statements[i].sql, sql, len) == 0)
            return file->statements[i].prepared;
    sqlite3_stmt *prepared = NULL;
    if (file->n_statements == VF_DATABASE_STATEMENTS)
        sqlite3_finalize(file->statements[--file->n_statements].prepared);
    if (sqlite3_prepare_v3(file->handle, sql, (int)len, SQLITE_PREPARE_PERSISTENT, &prepared,
                           NULL) != SQLITE_OK ||
        prepared == NULL)
        return NULL;
    size_t at = file->n_statements++;
    file->statements[at].prepared = prepared;
    file->statements[at].sql = sqlite3_sql(prepared);
    file->statements[at].len = len;
    return prepared;
}

/* Runs a statement that answers nothing. Returns true when it went well. */
static bool execute(struct vf_database_file *file, const char *sql)
{
    sqlite3_stmt *prepared = prepare(file, sql, strlen(sql));
    if (prepared == NULL)
        return false;
    sqlite3_step(prepared);
    return sqlite3_reset(prepared) == SQLITE_OK;
}

static int bind_value(sqlite3_stmt *prepared, int at, const struct vf_database_value *value)
{
    switch (value->kind) {
    case VF_DATABASE_INTEGER:
        return sqlite3_bind_int64(prepared, at, value->integer);
    case VF_DATABASE_TEXT: /* of the request, which outlives this */
        return sqlite3_bind_text64(prepared, at, value->text, value->len, SQLITE_STATIC,
                                   SQLITE_UTF8);
    default:
        return sqlite3_bind_null(prepared, at);
    }
}

static void keep_row(struct vf_database_request *request, sqlite3_stmt *prepared)
{
    for (int i = 0; i < sqlite3_column_count(prepared); i++) {
        struct vf_database_value *value = vf_database_add_result(request);
        if (value == NULL)
            return;
        int type = sqlite3_column_type(prepared, i);
        if (type == SQLITE_INTEGER) {
            value->kind = VF_DATABASE_INTEGER;
            value->integer = sqlite3_column_int64(prepared, i);
        } else if (type != SQLITE_NULL) {
            const char *text = (const char *)sqlite3_column_text(prepared, i);
            value->len = (size_t)sqlite3_column_bytes(prepared, i);
            value->text = text != NULL ? vf_database_keep(request, text, value->len) : NULL;
            value->kind = VF_DATABASE_TEXT;
            if (value->text == NULL)
                request->is_out_of_memory = true;
        }
    }
}

/* Returns false after a failure of SQLite. */
static bool step_all(struct vf_database_request *request, size_t at, sqlite3_stmt *prepared)
{
    const struct vf_database_statement *statement = &request->statements[at];
    int rc = SQLITE_OK;
    for (uint32_t i = 0; i < statement->n_values && rc == SQLITE_OK; i++)
        rc = bind_value(prepared, (int)i + 1, &request->values[statement->first_value + i]);
    while (rc == SQLITE_OK && (rc = sqlite3_step(prepared)) == SQLITE_ROW) {
        keep_row(request, prepared);
        request->counts[at] += (uint32_t)sqlite3_column_count(prepared);
        rc = SQLITE_OK;
    }
    sqlite3_reset(prepared);
    sqlite3_clear_bindings(prepared);
    return rc == SQLITE_DONE;
}

/* Runs the statements of a request within a transaction. Returns false when it failed: the answer
 * says how. */
static bool run_statements(struct vf_database_file *file, struct vf_database_request *request)
{
    char message[VF_DATABASE_MESSAGE_BYTES];
    for (size_t i = 0; i < request->answer.n_statements; i++) {
        const struct vf_database_statement *statement = &request->statements[i];
        sqlite3_stmt *prepared = prepare(file, statement->sql, statement->len);
        if (prepared == NULL || !step_all(request, i, prepared)) {
            enum vf_database_code code = vf_database_explain(file, message, sizeof(message));
            vf_database_fail(request, code, message);
            return false;
        }
        if (statement->must_change && sqlite3_changes(file->handle) == 0) {
            snprintf(message, sizeof(message), "%s: refused", file->path);
            vf_database_fail(request, VF_DATABASE_REFUSED, message);
            return false;
        }
    }
    if (request->is_out_of_memory)
        vf_database_fail(request, VF_DATABASE_UNAVAILABLE, "out of memory");
    return !request->is_out_of_memory;
}

/* One request in a transaction of others. Returns false when that cannot go on. */
static bool run_member(struct vf_database_file *file, struct vf_database_request *request)
{
    if (!execute(file, "SAVEPOINT member"))
        return false;
    if (!run_statements(file, request) &&
        (sqlite3_get_autocommit(file->handle) != 0 || !execute(file, "ROLLBACK TO member")))
        return false;
    return execute(file, "RELEASE member");
}

/* Makes a request as it was before it ran. */
static void reset(struct vf_database_request *request)
{
    request->answer.code = VF_DATABASE_OK;
    request->answer.message = NULL;
    request->n_results = 0;
    if (request->answer.n_statements > 0)
        memset(request->counts, 0, request->answer.n_statements * sizeof(*request->counts));
}

/* Fails all for the reason why `culprit`, if that has one, or SQLite gave up, and rolls back. */
static void abandon(struct vf_database_file *file, struct vf_database_request *first, size_t count,
                    const struct vf_database_request *culprit)
{
    char message[VF_DATABASE_MESSAGE_BYTES];
    enum vf_database_code code = vf_database_explain(file, message, sizeof(message));
    if (culprit != NULL && culprit->answer.code != VF_DATABASE_OK) {
        code = culprit->answer.code;
        snprintf(message, sizeof(message), "%s", culprit->answer.message);
    }
    if (sqlite3_get_autocommit(file->handle) == 0) /* some failures have rolled back already */
        execute(file, "ROLLBACK");
    for (struct vf_database_request *at = first; count > 0; at = at->next, count--)
        vf_database_fail(at, code, message);
}

/* Returns true when everything that did not fail by itself is on the disk. */
static bool run_group(struct vf_database_file *file, struct vf_database_request *first,
                      size_t count)
{
    struct vf_database_request *at = first;
    if (!execute(file, first->writes ? "BEGIN IMMEDIATE" : "BEGIN")) {
        abandon(file, first, count, NULL);
        return false;
    }
    for (size_t i = 0; i < count; i++, at = at->next) {
        reset(at);
        if (run_member(file, at))
            continue;
        abandon(file, first, count, at);
        return false;
    }
    if (execute(file, "COMMIT"))
        return true;
    abandon(file, first, count, NULL);
    return false;
}

static bool make_counts(struct vf_database_request *request)
{
    if (request->counts == NULL && request->answer.n_statements > 0)
        request->counts = calloc(request->answer.n_statements, sizeof(*request->counts));
    request->is_out_of_memory |= request->answer.n_statements > 0 && request->counts == NULL;
    return !request->is_out_of_memory;
}

static void run_alone(struct vf_database_file *file, struct vf_database_request *request)
{
    if (make_counts(request))
        run_group(file, request, 1);
    else
        vf_database_fail(request, VF_DATABASE_UNAVAILABLE, "out of memory");
}

void vf_database_run(struct vf_database_file *file, struct vf_database_request *first, size_t count)
{
    char message[VF_DATABASE_MESSAGE_BYTES];
    enum vf_database_code code =
        file->handle == NULL ? vf_database_file_open(file, message, sizeof(message)) : 0;
    bool is_ready = true;
    struct vf_database_request *at = first;
    for (size_t i = 0; i < count; i++, at = at->next) {
        if (code != VF_DATABASE_OK)
            vf_database_fail(at, code, message);
        is_ready = make_counts(at) && is_ready;
    }
    if (code == VF_DATABASE_OK && !(is_ready && count > 1 && run_group(file, first, count)))
        for (at = first; count > 0; at = at->next, count--) /* what fits alone shall be written */
            run_alone(file, at);
    for (at = first; at != NULL; at = at->next) {
        at->answer.values = at->results;
        at->answer.counts = at->counts;
    }
}
