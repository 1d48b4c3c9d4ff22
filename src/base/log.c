#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"

enum { LINE_BYTES = 4096, OVERRIDES = 16, NAME_BYTES = 32 };

struct line {
    char text[LINE_BYTES];
    size_t len;
};

struct override {
    char name[NAME_BYTES]; /* of a subsystem */
    enum vf_log_level level;
};

struct overrides {
    struct override list[OVERRIDES];
    size_t count;
    bool has_base; /* `base` instead of what the conf says */
    enum vf_log_level base;
};

static enum vf_log_level conf_level = VF_LOG_INFO; /* as vf_log_setup was told */
static enum vf_log_level min_level = VF_LOG_INFO;  /* the lowest of any subsystem */
static struct overrides overrides;
static char overrides_text[VF_LOG_OVERRIDES_BYTES];
static bool as_json;
static unsigned long n_lost; /* lines since the reader of standard error stood still */
static char process_name[32] = "veloflux";
static void (*diverted)(const char *line, size_t len); /* NULL: standard error */
static const char *const level_names[] = {"debug", "info", "warn", "error"};

static enum vf_log_level base_level(void)
{
    return overrides.has_base ? overrides.base : conf_level;
}

static void settle_levels(void)
{
    min_level = base_level();
    for (size_t i = 0; i < overrides.count; i++)
        if (overrides.list[i].level < min_level)
            min_level = overrides.list[i].level;
}

/* The level of the subsystem that an event belongs to: the part of its name before the dot. */
static enum vf_log_level level_of(const char *event)
{
    size_t len = strcspn(event, ".");
    for (size_t i = 0; i < overrides.count; i++)
        if (strlen(overrides.list[i].name) == len &&
            memcmp(overrides.list[i].name, event, len) == 0)
            return overrides.list[i].level;
    return base_level();
}

static int read_level(const char *text, size_t len, enum vf_log_level *out)
{
    for (int level = VF_LOG_DEBUG; level <= VF_LOG_ERROR; level++)
        if (strlen(level_names[level]) == len && memcmp(level_names[level], text, len) == 0) {
            *out = (enum vf_log_level)level;
            return 0;
        }
    return -EINVAL;
}

/* Reads one NAME=LEVEL of `len` bytes. */
static int read_override(const char *text, size_t len, struct overrides *into)
{
    const char *equals = memchr(text, '=', len);
    enum vf_log_level level;
    if (equals == NULL || equals == text)
        return -EINVAL;
    size_t name_len = (size_t)(equals - text);
    int rc = read_level(equals + 1, len - name_len - 1, &level);
    if (rc < 0)
        return rc;
    if (name_len == 1 && text[0] == '*') {
        into->has_base = true;
        into->base = level;
        return 0;
    }
    if (name_len >= NAME_BYTES || into->count == OVERRIDES)
        return -EINVAL;
    struct override *one = &into->list[into->count++];
    memcpy(one->name, text, name_len);
    one->level = level;
    return 0;
}

int vf_log_override(const char *text)
{
    struct overrides read = {0};
    if (strlen(text) >= sizeof(overrides_text))
        return -EINVAL;
    for (const char *at = text + strspn(text, " "); *at != '\0'; at += strspn(at, " ")) {
        size_t len = strcspn(at, " ");
        int rc = read_override(at, len, &read);
        if (rc < 0)
            return rc;
        at += len;
    }
    overrides = read;
    snprintf(overrides_text, sizeof(overrides_text), "%s", text);
    settle_levels();
    return 0;
}

const char *vf_log_overrides(void)
{
    return overrides_text;
}

void vf_log_setup(enum vf_log_level level, enum vf_log_format format, const char *process)
{
    conf_level = level;
    settle_levels();
    as_json = format == VF_LOG_JSON || (format == VF_LOG_AUTO && !isatty(STDERR_FILENO));
    snprintf(process_name, sizeof(process_name), "%s", process);
}

void vf_log_divert(void (*write)(const char *line, size_t len))
{
    diverted = write;
}

bool vf_log_enabled(enum vf_log_level level)
{
    return level >= min_level;
}

static size_t room_in(const struct line *line)
{
    return sizeof(line->text) - 2 - line->len; /* keeps room for "}\n" */
}

static void put(struct line *line, const char *data, size_t len)
{
    size_t room = room_in(line);
    if (len > room)
        len = room;
    memcpy(line->text + line->len, data, len);
    line->len += len;
}

static void put_text(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

/* Returns the bytes of the UTF-8 character at `at` (RFC 3629 section 4), 0 when there is none. */
static size_t utf8_len(const unsigned char *at, size_t left)
{
    size_t len = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    if (at[0] > 0xf4 || len > left)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    bool is_out = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
                  (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f);
    return is_out ? 0 : len;
}

/* Writes what the character at `at` looks like between quotes to `out`. Returns how many bytes of
 * the value it takes. */
static size_t quote_one(const unsigned char *at, size_t left, char out[8])
{
    size_t len = utf8_len(at, left);
    if (at[0] == '"' || at[0] == '\\')
        snprintf(out, 8, "\\%c", at[0]);
    else if (at[0] < 0x20 || at[0] == 0x7f || (as_json && len == 0))
        snprintf(out, 8, "\\u%04x", at[0]);
    else
        snprintf(out, 8, "%.*s", len > 0 ? (int)len : 1, (const char *)at);
    return len > 0 ? len : 1;
}

/* Appends `value` in double quotes with JSON's escapes, cut between two characters where the line
 * ends; bytes that are not UTF-8 stay as they are in text and become escapes of their code point in
 * JSON. */
static void put_quoted(struct line *line, const char *value, size_t len)
{
    put(line, "\"", 1);
    for (size_t i = 0; i < len;) {
        char quoted[8];
        i += quote_one((const unsigned char *)value + i, len - i, quoted);
        if (strlen(quoted) >= room_in(line))
            break;
        put_text(line, quoted);
    }
    put(line, "\"", 1);
}

static bool is_bare(const char *value, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)value[i] <= ' ' || value[i] == '"' || value[i] == 0x7f)
            return false;
    return len > 0;
}

static void put_field(struct line *line, const char *key, size_t key_len, const char *value,
                      size_t value_len)
{
    if (as_json) {
        enum { LONGEST_ESCAPE = 6 };
        if (room_in(line) < LONGEST_ESCAPE * key_len + sizeof(",\"\":\"\""))
            return;
        put(line, ",", 1);
        put_quoted(line, key, key_len);
        put(line, ":", 1);
        put_quoted(line, value, value_len);
        return;
    }
    put(line, " ", 1);
    put(line, key, key_len);
    put(line, "=", 1);
    if (is_bare(value, value_len))
        put(line, value, value_len);
    else
        put_quoted(line, value, value_len);
}

static void put_pairs(struct line *line, const char *pairs)
{
    while (*pairs != '\0') {
        const char *end = strchr(pairs, VF_LOG_PAIR_END);
        size_t len = end != NULL ? (size_t)(end - pairs) : strlen(pairs);
        const char *equals = memchr(pairs, '=', len);
        size_t key_len = equals != NULL ? (size_t)(equals - pairs) : 0;
        if (equals != NULL)
            put_field(line, pairs, key_len, equals + 1, len - key_len - 1);
        else if (len > 0)
            put_field(line, "message", 7, pairs, len);
        pairs += len + (end != NULL);
    }
}

static void mark_pairs(char *out, size_t size, const char *format)
{
    size_t i = 0;
    for (; format[i] != '\0' && i + 1 < size; i++)
        out[i] = format[i] == ' ' ? VF_LOG_PAIR_END : format[i];
    out[i] = '\0';
}

static void put_head(struct line *line, enum vf_log_level level, const char *event)
{
    char time[VF_CLOCK_RFC3339_BYTES];
    vf_clock_rfc3339(vf_clock_wall_ms(), time);
    if (as_json)
        put_text(line, "{\"time\":\"");
    put(line, time, sizeof(time));
    put_text(line, as_json ? "\",\"level\":\"" : " ");
    put_text(line, level_names[level]);
    put_text(line, as_json ? "\",\"event\":\"" : " ");
    put_text(line, event);
    if (as_json)
        put_text(line, "\"");
    put_field(line, "process", 7, process_name, strlen(process_name));
}

/* A reader that stands still must not stop a worker: a pipe is written to only while it has room
 * for a whole line (POLLOUT promises PIPE_BUF bytes, and no line is longer). */
static bool has_room(void)
{
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
    return poll(&out, 1, 0) != 0;
}

/* Writes what is said of lost lines, and the line behind it; or that alone when a pipe has no room
 * for both. */
static void write_behind_note(const struct line *line)
{
    char note[64];
    int len = snprintf(
        note, sizeof(note),
        as_json ? "{\"event\":\"log.lost\",\"lines\":%lu}\n" : "log.lost lines=%lu\n", n_lost);
    bool fits = (size_t)len + line->len <= PIPE_BUF;
    struct iovec parts[2] = {{note, (size_t)len}, {(void *)line->text, line->len}};
    ssize_t written = writev(STDERR_FILENO, parts, fits ? 2 : 1);
    (void)written;
    n_lost = fits ? 0 : 1;
}

static void write_line(const struct line *line)
{
    if (diverted != NULL) {
        diverted(line->text, line->len);
        return;
    }
    if (!has_room()) {
        n_lost++;
        return;
    }
    if (n_lost > 0) {
        write_behind_note(line);
        return;
    }
    ssize_t written = write(STDERR_FILENO, line->text, line->len);
    (void)written; /* nowhere left to complain */
}

static void end_line(struct line *line)
{
    if (as_json)
        line->text[line->len++] = '}';
    line->text[line->len++] = '\n';
    write_line(line);
}

void vf_log_pairs(enum vf_log_level level, const char *event, const char *pairs)
{
    struct line line = {.len = 0};
    if (level < level_of(event))
        return;
    put_head(&line, level, event);
    put_pairs(&line, pairs);
    end_line(&line);
}

void vf_log_write(const struct vf_log *log, enum vf_log_level level, const char *event,
                  const char *format, ...)
{
    struct line line = {.len = 0};
    char marked[512], pairs[LINE_BYTES], context[sizeof(log->context)];
    va_list args;
    if (level < level_of(event))
        return;
    mark_pairs(marked, sizeof(marked), format);
    va_start(args, format);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    vsnprintf(pairs, sizeof(pairs), marked, args);
#pragma GCC diagnostic pop
    va_end(args);
    put_head(&line, level, event);
    if (log != NULL) {
        mark_pairs(context, sizeof(context), log->context);
        put_pairs(&line, context);
    }
    put_pairs(&line, pairs);
    end_line(&line);
}
