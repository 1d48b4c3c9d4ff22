/* base/log.h - one event, one line, to standard error: a stable dotted name, then key=value.
 * Text ("TIME LEVEL EVENT key=value ...") or JSON; the format string of an event is always made of
 * `key=%x` pairs separated by single spaces, and a value with a space, quote or control character
 * is quoted, so both forms have the same fields. One write(2) a line of 4096 bytes at most: what is
 * longer is cut within a value, and JSON stays JSON. Where standard error is a pipe whose reader
 * stands still, lines are dropped and their number is told later (log.lost). */
#ifndef VF_BASE_LOG_H
#define VF_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

enum vf_log_level { VF_LOG_DEBUG = 0, VF_LOG_INFO, VF_LOG_WARN, VF_LOG_ERROR };
enum vf_log_format { VF_LOG_AUTO = 0, VF_LOG_TEXT, VF_LOG_JSON }; /* auto: text on a terminal */

/* What every line of an object carries: embed one in the object, or use NULL. */
struct vf_log {
    char context[96]; /* "key=value key=value", NUL-terminated; may be empty */
};

/* Sets the process-wide level, format and process name ("worker-1"). May repeat (reload). */
void vf_log_setup(enum vf_log_level level, enum vf_log_format format, const char *process);

/* Sets levels at run time, over what vf_log_setup says then and later: "NAME=LEVEL NAME=LEVEL ...",
 * where NAME is a subsystem, the part of an event's name before the dot, or `*` for all that are
 * not named; "" for none. They replace those of the last call. Returns 0; or -EINVAL, and nothing
 * has changed, for what is not such a list or too long. */
enum { VF_LOG_OVERRIDES_BYTES = 768 }; /* with the NUL */
int vf_log_override(const char *text);

/* Returns the levels in force, as vf_log_override got them. */
const char *vf_log_overrides(void);

/* Returns true when lines of `level` are written, of one subsystem at least. */
bool vf_log_enabled(enum vf_log_level level);

/* Writes one line. `event` is a dotted name; `format` as printf, made of key=value pairs ("" for
 * none). A text value that may contain spaces is passed as the last pair or through %s: it is
 * quoted when it stands alone behind its key. */
void vf_log_write(const struct vf_log *log, enum vf_log_level level, const char *event,
                  const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Writes one line whose fields are made already: "key=value" pairs that are each followed, but
 * the last, by the byte VF_LOG_PAIR_END. For Lua through FFI. */
enum { VF_LOG_PAIR_END = 0x1f };
void vf_log_pairs(enum vf_log_level level, const char *event, const char *pairs);

/* Lines go to `write` from here on, each with its newline, instead of standard error; NULL: they go
 * there again. */
void vf_log_divert(void (*write)(const char *line, size_t len));

#define vf_log_at(log, level, ...)                                                                 \
    do {                                                                                           \
        if (vf_log_enabled(level))                                                                 \
            vf_log_write(log, level, __VA_ARGS__);                                                 \
    } while (0)
#define vf_log_debug(log, ...) vf_log_at(log, VF_LOG_DEBUG, __VA_ARGS__)
#define vf_log_info(log, ...) vf_log_at(log, VF_LOG_INFO, __VA_ARGS__)
#define vf_log_warn(log, ...) vf_log_at(log, VF_LOG_WARN, __VA_ARGS__)
#define vf_log_error(log, ...) vf_log_at(log, VF_LOG_ERROR, __VA_ARGS__)

#endif
