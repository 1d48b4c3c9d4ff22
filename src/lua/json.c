#include "lua/json.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "lua/json_escape.h"
#include "lua/utf8.h"

enum {
    FIRST_NODES = 256,
    KEPT_NODES = 16 * 1024, /* what a reader keeps for the next text */
    KEPT_BYTES = 256 * 1024,
    EXACT_DIGITS = 15 /* any integer of so many digits is a double */
};

struct reader {
    struct vf_json view; /* first: what Lua sees */
    struct vf_json_node *nodes;
    uint32_t n_nodes, room_nodes;
    char *unescaped; /* texts that had escapes */
    size_t n_unescaped, room_unescaped;
    const char *text, *at, *end;
    bool is_exact, is_out_of_memory;
    int depth, max_depth;
    bool is_object[VF_JSON_MAX_DEPTH];
};

struct vf_json *vf_json_new(void)
{
    struct reader *reader = calloc(1, sizeof(*reader));
    return reader == NULL ? NULL : &reader->view;
}

void vf_json_free(struct vf_json *json)
{
    struct reader *reader = (struct reader *)json;
    if (reader == NULL)
        return;
    free(reader->nodes);
    free(reader->unescaped);
    free(reader);
}

static bool refuse(struct reader *r, const char *at, const char *error)
{
    r->view.error = error;
    r->view.error_at = (uint32_t)(at - r->text);
    return false;
}

static struct vf_json_node *add(struct reader *r, enum vf_json_kind kind, const char *at)
{
    if (r->n_nodes == r->room_nodes) {
        uint32_t room = r->room_nodes == 0 ? FIRST_NODES : r->room_nodes * 2;
        struct vf_json_node *grown = realloc(r->nodes, room * sizeof(*grown));
        if (grown == NULL) {
            r->is_out_of_memory = true;
            return NULL;
        }
        r->nodes = grown;
        r->room_nodes = room;
    }
    struct vf_json_node *node = &r->nodes[r->n_nodes++];
    *node = (struct vf_json_node){.kind = kind, .at = (uint32_t)(at - r->text)};
    return node;
}

static void skip_space(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t'))
        r->at++;
}

/* --- Strings ------------------------------------------------------------------------------- */

/* Returns where the run of characters without quote and backslash ends; NULL: one is refused. */
static const char *end_of_run(struct reader *r, const char *at)
{
    while (at < r->end && *at != '"' && *at != '\\') {
        int bytes = vf_utf8_next(at, r->end);
        if ((unsigned char)*at < 0x20) {
            refuse(r, at, "a control character that is not escaped");
            return NULL;
        }
        if (bytes == 0) {
            refuse(r, at, "not UTF-8");
            return NULL;
        }
        at += bytes;
    }
    return at;
}

/* What is left of the source is enough room for what is left of its escaped texts. */
static char *room_for_unescaped(struct reader *r)
{
    size_t wanted = (size_t)(r->end - r->text);
    if (r->room_unescaped < wanted) { /* before any node points there */
        free(r->unescaped);
        r->unescaped = malloc(wanted);
        r->room_unescaped = r->unescaped == NULL ? 0 : wanted;
    }
    r->is_out_of_memory = r->unescaped == NULL;
    return r->unescaped == NULL ? NULL : r->unescaped + r->n_unescaped;
}

/* Reads the rest of a string whose first escape is at `at`. Returns its closing quote or NULL. */
static const char *read_escaped(struct reader *r, const char *at, struct vf_json_node *node)
{
    char *out = room_for_unescaped(r), *start = out;
    const char *run = r->at + 1;
    if (out == NULL)
        return NULL;
    while (at != NULL && at < r->end) {
        memcpy(out, run, (size_t)(at - run));
        out += at - run;
        if (*at == '"') {
            node->value.text = start;
            node->len = (uint32_t)(out - start);
            r->n_unescaped += node->len;
            return at;
        }
        run = vf_json_unescape(at, r->end, &out);
        if (run == NULL) {
            refuse(r, at, "an escape that JSON does not have");
            return NULL;
        }
        at = end_of_run(r, run);
    }
    if (at != NULL)
        refuse(r, r->end, "the string has no end");
    return NULL;
}

static bool read_string(struct reader *r, enum vf_json_kind kind)
{
    struct vf_json_node *node = add(r, kind, r->at);
    const char *at = node == NULL ? NULL : end_of_run(r, r->at + 1);
    if (at == NULL)
        return false;
    if (at == r->end)
        return refuse(r, at, "the string has no end");
    if (*at == '"') {
        node->value.text = r->at + 1;
        node->len = (uint32_t)(at - r->at - 1);
    } else if ((at = read_escaped(r, at, node)) == NULL) {
        return false;
    }
    r->at = at + 1;
    return true;
}

/* --- Numbers and words --------------------------------------------------------------------- */

static const char *end_of_digits(const char *at)
{
    while (*at >= '0' && *at <= '9')
        at++;
    return at;
}

/* Turns an integer into SIGNED or UNSIGNED when that is more exact than the double. */
static void make_exact(struct vf_json_node *node, const char *digits, const char *end,
                       bool negative)
{
    uint64_t value = 0;
    for (; digits < end; digits++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*digits - '0'), &value))
            return;
    if (value <= UINT64_C(1) << 53 || (negative && value > (uint64_t)INT64_MAX))
        return;
    node->kind = negative || value <= (uint64_t)INT64_MAX ? VF_JSON_SIGNED : VF_JSON_UNSIGNED;
    node->value.integer = negative ? -(int64_t)value : (int64_t)value;
}

static bool read_number(struct reader *r)
{
    const char *start = r->at, *digits = start + (*start == '-'), *at = end_of_digits(digits);
    bool is_integer = true;
    if (at == digits)
        return refuse(r, at, "expected a digit");
    if (*digits == '0' && at - digits > 1)
        return refuse(r, digits, "a number with a 0 in front");
    const char *end_of_integer = at;
    if (*at == '.') {
        is_integer = false;
        at = end_of_digits(digits = at + 1);
        if (at == digits)
            return refuse(r, at, "expected a digit");
    }
    if (*at == 'e' || *at == 'E') {
        is_integer = false;
        digits = at + 1 + (at[1] == '+' || at[1] == '-');
        at = end_of_digits(digits);
        if (at == digits)
            return refuse(r, at, "expected a digit");
    }
    struct vf_json_node *node = add(r, VF_JSON_NUMBER, start);
    if (node == NULL)
        return false;
    node->value.number = strtod(start, NULL);
    if (!isfinite(node->value.number))
        return refuse(r, start, "a number too large");
    bool negative = *start == '-';
    if (is_integer && r->is_exact && at - start > EXACT_DIGITS)
        make_exact(node, start + negative, end_of_integer, negative);
    r->at = at;
    return true;
}

static bool read_word(struct reader *r, const char *word, enum vf_json_kind kind)
{
    size_t len = strlen(word);
    if ((size_t)(r->end - r->at) < len || memcmp(r->at, word, len) != 0)
        return refuse(r, r->at, "expected a value");
    if (add(r, kind, r->at) == NULL)
        return false;
    r->at += len;
    return true;
}

static bool read_scalar(struct reader *r)
{
    switch (*r->at) {
    case '"':
        return read_string(r, VF_JSON_STRING);
    case 't':
        return read_word(r, "true", VF_JSON_TRUE);
    case 'f':
        return read_word(r, "false", VF_JSON_FALSE);
    case 'n':
        return read_word(r, "null", VF_JSON_NULL);
    default:
        if (*r->at == '-' || (*r->at >= '0' && *r->at <= '9'))
            return read_number(r);
        return refuse(r, r->at, "expected a value");
    }
}

/* --- Objects and arrays -------------------------------------------------------------------- */

static bool read_name(struct reader *r)
{
    skip_space(r);
    if (*r->at != '"')
        return refuse(r, r->at, "expected a name in quotes");
    if (!read_string(r, VF_JSON_NAME))
        return false;
    skip_space(r);
    if (*r->at != ':')
        return refuse(r, r->at, "expected :");
    r->at++;
    return true;
}

static bool open_container(struct reader *r, bool is_object)
{
    if (r->depth == r->max_depth)
        return refuse(r, r->at, "nested too deeply");
    if (add(r, is_object ? VF_JSON_OBJECT : VF_JSON_ARRAY, r->at) == NULL)
        return false;
    r->is_object[r->depth++] = is_object;
    r->at++;
    return true;
}

static bool close_innermost(struct reader *r)
{
    r->depth--;
    return add(r, VF_JSON_END, r->at++) != NULL;
}

/* Behind a value: closes what ends here. Returns true when *more tells whether a value follows. */
static bool go_on(struct reader *r, bool *more)
{
    for (*more = false; r->depth > 0;) {
        bool is_object = r->is_object[r->depth - 1];
        skip_space(r);
        if (*r->at == ',') {
            r->at++;
            *more = true;
            return !is_object || read_name(r);
        }
        if (*r->at != (is_object ? '}' : ']'))
            return refuse(r, r->at, is_object ? "expected , or }" : "expected , or ]");
        if (!close_innermost(r))
            return false;
    }
    return true;
}

/* Reads a scalar, or opens objects and arrays down to the first scalar or empty one. */
static bool read_value(struct reader *r)
{
    for (;;) {
        skip_space(r);
        bool is_object = *r->at == '{';
        if (!is_object && *r->at != '[')
            return read_scalar(r);
        if (!open_container(r, is_object))
            return false;
        skip_space(r);
        if (*r->at == (is_object ? '}' : ']'))
            return close_innermost(r);
        if (is_object && !read_name(r))
            return false;
    }
}

static bool read_all(struct reader *r)
{
    bool more = true;
    while (more)
        if (!read_value(r) || !go_on(r, &more))
            return false;
    skip_space(r);
    return r->at == r->end || refuse(r, r->at, "more than one value");
}

/* A big text does not cost its memory for ever. */
static void shrink(struct reader *r)
{
    if (r->room_nodes > KEPT_NODES) {
        free(r->nodes);
        r->nodes = NULL;
        r->room_nodes = 0;
    }
    if (r->room_unescaped > KEPT_BYTES) {
        free(r->unescaped);
        r->unescaped = NULL;
        r->room_unescaped = 0;
    }
}

int vf_json_read(struct vf_json *json, const char *text, size_t len, int max_depth, int exact)
{
    struct reader *r = (struct reader *)json;
    shrink(r);
    r->n_nodes = 0;
    r->n_unescaped = 0;
    r->text = r->at = text;
    r->end = text + len;
    r->is_exact = exact != 0;
    r->is_out_of_memory = false;
    r->depth = 0;
    r->max_depth = max_depth < VF_JSON_MAX_DEPTH ? max_depth : VF_JSON_MAX_DEPTH;
    if (!read_all(r))
        return r->is_out_of_memory ? UV_ENOMEM : UV_EINVAL;
    r->view.nodes = r->nodes;
    return (int)r->n_nodes;
}
