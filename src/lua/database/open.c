#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "lua/database/core.h"
#include "lua/files.h"

enum { FILE_MODE = 0600, FOLDER_MODE = 0750, PATH_BYTES = 4096 };

enum vf_database_code vf_database_explain(struct vf_database_file *file, char *message, size_t room)
{
    sqlite3 *handle = file->handle;
    int rc = sqlite3_errcode(handle) & 0xff;
    int system = rc == SQLITE_IOERR || rc == SQLITE_CANTOPEN ? sqlite3_system_errno(handle) : 0;
    bool is_damaged = rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB;
    snprintf(message, room, "%s: %s%s%s%s", file->path, is_damaged ? "is damaged: " : "",
             sqlite3_errmsg(handle), system != 0 ? ": " : "", system != 0 ? strerror(system) : "");
    switch (rc) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_CANTOPEN:
    case SQLITE_NOMEM:
        return VF_DATABASE_UNAVAILABLE;
    case SQLITE_ERROR:
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_RANGE:
    case SQLITE_TOOBIG:
    case SQLITE_MISUSE:
        return VF_DATABASE_WRONG;
    default: /* SQLITE_FULL, SQLITE_IOERR, SQLITE_READONLY ... */
        return VF_DATABASE_IO;
    }
}

static enum vf_database_code refuse(const struct vf_database_file *file, const char *why,
                                    char *message, size_t room)
{
    snprintf(message, room, "%s: %s", file->path, why);
    return VF_DATABASE_UNAVAILABLE;
}

static bool has_log(const char *path)
{
    char log[PATH_BYTES];
    struct stat found;
    int n = snprintf(log, sizeof(log), "%s-wal", path);
    return n > 0 && (size_t)n < sizeof(log) && stat(log, &found) == 0 && found.st_size > 0;
}

/* Writes the folder of a path to `out`. Returns 0 or -errno. */
static int folder_of(const char *path, char out[PATH_BYTES])
{
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL || slash == path ? 1 : (size_t)(slash - path);
    if (len >= PATH_BYTES)
        return -ENAMETOOLONG;
    memcpy(out, slash == NULL ? "." : path, len);
    out[len] = '\0';
    return 0;
}

/* Root opens the file before it becomes somebody else, who shall have it then: whoever has the
 * folder. SQLite gives the log the owner of the file. */
static void give_to_owner_of(const char *folder, const char *path)
{
    struct stat of_folder, of_file;
    if (geteuid() != 0 || stat(folder, &of_folder) < 0 || lstat(path, &of_file) < 0)
        return;
    if (of_file.st_uid == 0 && of_file.st_nlink == 1 && of_folder.st_uid != 0 &&
        lchown(path, of_folder.st_uid, of_folder.st_gid) < 0)
        vf_log_warn(NULL, "store.owner", "path=%s error=%s", path, strerror(errno));
}

static int create_file(const char *path)
{
    char folder[PATH_BYTES];
    int rc = folder_of(path, folder);
    if (rc == 0)
        rc = vf_file_make_folder(folder, FOLDER_MODE);
    if (rc == 0)
        rc = vf_file_create(path, "", 0, FILE_MODE);
    if (rc == 0)
        give_to_owner_of(folder, path);
    return rc;
}

/* Sees to it that the file is there, regular, and for its owner alone. An existing one is not
 * opened for that: closing it would drop the locks that another connection of this process has. */
static enum vf_database_code prepare_file(const struct vf_database_file *file, char *message,
                                          size_t room)
{
    struct stat found;
    bool exists = lstat(file->path, &found) == 0;
    if (!exists && errno != ENOENT)
        return refuse(file, strerror(errno), message, room);
    if (exists && !S_ISREG(found.st_mode))
        return refuse(file, "is not a regular file", message, room);
    if ((!exists || found.st_size == 0) && has_log(file->path))
        return refuse(file,
                      "is missing or empty, but its log (the same name with -wal) is not: restore "
                      "it, or remove both to begin anew",
                      message, room);
    int rc = 0;
    if (!exists)
        rc = create_file(file->path);
    else if ((found.st_mode & 07777) != FILE_MODE && chmod(file->path, FILE_MODE) < 0)
        rc = -errno;
    if (rc == 0 || rc == -EEXIST)
        return VF_DATABASE_OK;
    snprintf(message, room, "%s: cannot be created: %s", file->path, strerror(-rc));
    return rc == -ENOSPC || rc == -EIO ? VF_DATABASE_IO : VF_DATABASE_UNAVAILABLE;
}

/* Reads the first column of the first row of a query. Returns SQLITE_OK or SQLite's code. */
static int read_text(sqlite3 *handle, const char *sql, char *out, size_t room)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(handle, sql, -1, &statement, NULL);
    if (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        snprintf(out, room, "%s", (const char *)sqlite3_column_text(statement, 0));
        rc = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    return rc;
}

static int read_number(sqlite3 *handle, const char *sql, int64_t *out)
{
    char text[32];
    int rc = read_text(handle, sql, text, sizeof(text));
    if (rc == SQLITE_OK && sscanf(text, "%" SCNd64, out) != 1)
        rc = SQLITE_ERROR;
    return rc;
}

/* Is it ours, whole, and not newer than we are? *version is -1 for a file without anything. */
static enum vf_database_code inspect(struct vf_database_file *file, int64_t *version, char *message,
                                     size_t room)
{
    int64_t id = 0, tables = 0;
    char verdict[200] = "";
    if (read_number(file->handle, "PRAGMA application_id", &id) != SQLITE_OK ||
        read_number(file->handle, "PRAGMA user_version", version) != SQLITE_OK ||
        read_number(file->handle, "SELECT count(*) FROM sqlite_schema", &tables) != SQLITE_OK)
        return vf_database_explain(file, message, room);
    if (tables == 0 && id == 0) {
        *version = -1;
        return VF_DATABASE_OK;
    }
    if (id != file->schema.application_id)
        return refuse(file, "is a database of another program", message, room);
    if (*version > (int64_t)file->schema.n_migrations) {
        snprintf(message, room,
                 "%s: was written by a newer version (its schema is %" PRId64
                 ", this one knows %u)",
                 file->path, *version, file->schema.n_migrations);
        return VF_DATABASE_UNAVAILABLE;
    }
    if (read_text(file->handle, "PRAGMA quick_check(1)", verdict, sizeof(verdict)) != SQLITE_OK)
        return vf_database_explain(file, message, room);
    if (strcmp(verdict, "ok") == 0)
        return VF_DATABASE_OK;
    snprintf(message, room, "%s: is damaged: %s", file->path, verdict);
    return VF_DATABASE_UNAVAILABLE;
}

static int execute(struct vf_database_file *file, const char *sql)
{
    return sqlite3_exec(file->handle, sql, NULL, NULL, NULL);
}

/* One transaction: a file is of one schema or the other. */
static int migrate(struct vf_database_file *file)
{
    char number[100];
    int64_t version = 0;
    int rc = execute(file, "BEGIN IMMEDIATE");
    if (rc == SQLITE_OK) /* again: another process may have been first */
        rc = read_number(file->handle, "PRAGMA user_version", &version);
    for (; rc == SQLITE_OK && version < (int64_t)file->schema.n_migrations; version++)
        rc = execute(file, file->schema.migrations[version]);
    snprintf(number, sizeof(number), "PRAGMA user_version = %u; PRAGMA application_id = %u",
             file->schema.n_migrations, file->schema.application_id);
    if (rc == SQLITE_OK)
        rc = execute(file, number);
    return rc == SQLITE_OK ? execute(file, "COMMIT") : rc;
}

static enum vf_database_code set_up(struct vf_database_file *file, char *message, size_t room)
{
    int64_t version = 0;
    enum vf_database_code code = inspect(file, &version, message, room);
    if (code != VF_DATABASE_OK)
        return code;
    if (execute(file, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                      "PRAGMA journal_size_limit = 16777216; PRAGMA temp_store = MEMORY;"
                      "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON") != SQLITE_OK ||
        (version < (int64_t)file->schema.n_migrations && migrate(file) != SQLITE_OK))
        return vf_database_explain(file, message, room);
    return VF_DATABASE_OK;
}

enum vf_database_code vf_database_file_open(struct vf_database_file *file, char *message,
                                            size_t room)
{
    enum vf_database_code code = prepare_file(file, message, room);
    if (code != VF_DATABASE_OK)
        return code;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    if (sqlite3_open_v2(file->path, &file->handle, flags, NULL) != SQLITE_OK) {
        code = vf_database_explain(file, message, room);
        vf_database_file_close(file);
        return code;
    }
    sqlite3_busy_timeout(file->handle, (int)file->schema.busy_ms);
    /* What is refused stays as it is: closing must not write its log back either. */
    sqlite3_db_config(file->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    code = set_up(file, message, room);
    if (code == VF_DATABASE_OK)
        sqlite3_db_config(file->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    else
        vf_database_file_close(file);
    return code;
}

void vf_database_file_close(struct vf_database_file *file)
{
    for (size_t i = 0; i < file->n_statements; i++)
        sqlite3_finalize(file->statements[i].prepared);
    file->n_statements = 0;
    sqlite3_close(file->handle);
    file->handle = NULL;
}
