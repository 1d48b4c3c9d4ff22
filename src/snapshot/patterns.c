#include "snapshot/patterns.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "base/hash.h"
#include "base/log.h"
#include "snapshot/router.h"

enum {
    BUCKETS = 1024,        /* a power of two */
    MATCH_LIMIT = 100000,  /* some milliseconds; PCRE2's own default would allow seconds */
    HEAP_LIMIT_KIB = 1024, /* of one match without JIT */
    JIT_STACK_FIRST = 32 * 1024,
    JIT_STACK_MOST = 512 * 1024,
};

struct pattern {
    struct pattern *next; /* in its bucket */
    uint64_t hash;
    pcre2_code *code; /* NULL: cannot be compiled */
    bool is_marked;
    size_t len;
    char text[];
};

struct vf_patterns {
    struct pattern *buckets[BUCKETS];
    size_t count;
    uint64_t limit_hits;
    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *stack; /* NULL: without JIT */
};

struct vf_patterns *vf_patterns_new(void)
{
    struct vf_patterns *patterns = calloc(1, sizeof(*patterns));
    if (patterns == NULL)
        return NULL;
    patterns->match = pcre2_match_data_create(VF_PATTERN_GROUPS, NULL);
    patterns->context = pcre2_match_context_create(NULL);
    if (patterns->match == NULL || patterns->context == NULL) {
        vf_patterns_free(patterns);
        return NULL;
    }
    pcre2_set_match_limit(patterns->context, MATCH_LIMIT);
    pcre2_set_heap_limit(patterns->context, HEAP_LIMIT_KIB);
    patterns->stack = pcre2_jit_stack_create(JIT_STACK_FIRST, JIT_STACK_MOST, NULL);
    if (patterns->stack != NULL)
        pcre2_jit_stack_assign(patterns->context, NULL, patterns->stack);
    return patterns;
}

static void free_pattern(struct pattern *pattern)
{
    pcre2_code_free(pattern->code);
    free(pattern);
}

/* Frees the patterns that are not marked and unmarks the others. */
static void sweep_bucket(struct vf_patterns *patterns, struct pattern **at)
{
    while (*at != NULL) {
        struct pattern *pattern = *at;
        if (pattern->is_marked) {
            pattern->is_marked = false;
            at = &pattern->next;
            continue;
        }
        *at = pattern->next;
        free_pattern(pattern);
        patterns->count--;
    }
}

void vf_patterns_sweep(struct vf_patterns *patterns)
{
    for (int i = 0; i < BUCKETS; i++)
        sweep_bucket(patterns, &patterns->buckets[i]);
}

void vf_patterns_free(struct vf_patterns *patterns)
{
    if (patterns == NULL)
        return;
    for (int i = 0; i < BUCKETS; i++)
        for (struct pattern *next, *pattern = patterns->buckets[i]; pattern; pattern = next) {
            next = pattern->next;
            free_pattern(pattern);
        }
    pcre2_jit_stack_free(patterns->stack);
    pcre2_match_context_free(patterns->context);
    pcre2_match_data_free(patterns->match);
    free(patterns);
}

static pcre2_code *compile(struct vf_str text, int *code, PCRE2_SIZE *offset)
{
    return pcre2_compile((PCRE2_SPTR)text.data, text.len, PCRE2_NEVER_UTF | PCRE2_NEVER_BACKSLASH_C,
                         code, offset, NULL);
}

int vf_regex_check(const char *pattern, size_t len, char *error, size_t error_size)
{
    int code;
    PCRE2_SIZE offset;
    PCRE2_UCHAR message[160];
    pcre2_code *compiled = compile(vf_str_make(pattern, len), &code, &offset);
    if (compiled == NULL) {
        pcre2_get_error_message(code, message, sizeof(message));
        snprintf(error, error_size, "%s at byte %zu", (const char *)message, (size_t)offset);
        return UV_EINVAL;
    }
    pcre2_code_free(compiled);
    return 0;
}

static struct pattern *find_pattern(const struct vf_patterns *patterns, struct vf_str text,
                                    uint64_t hash)
{
    struct pattern *pattern = patterns->buckets[hash % BUCKETS];
    while (pattern != NULL &&
           (pattern->hash != hash || !vf_str_eq(vf_str_make(pattern->text, pattern->len), text)))
        pattern = pattern->next;
    return pattern;
}

static struct pattern *add_pattern(struct vf_patterns *patterns, struct vf_str text, uint64_t hash)
{
    int code;
    PCRE2_SIZE offset;
    struct pattern *pattern = malloc(sizeof(*pattern) + text.len);
    if (pattern == NULL)
        return NULL;
    *pattern = (struct pattern){patterns->buckets[hash % BUCKETS], hash,
                                compile(text, &code, &offset), false, text.len};
    memcpy(pattern->text, text.data, text.len);
    patterns->buckets[hash % BUCKETS] = pattern;
    patterns->count++;
    if (pattern->code == NULL)
        vf_log_error(NULL, "router.pattern_refused", "code=%d offset=%zu", code, (size_t)offset);
    else /* may fail (no JIT, no executable memory): then it is interpreted */
        pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE);
    return pattern;
}

static bool is_limit(int rc)
{
    return rc == PCRE2_ERROR_MATCHLIMIT || rc == PCRE2_ERROR_DEPTHLIMIT ||
           rc == PCRE2_ERROR_HEAPLIMIT || rc == PCRE2_ERROR_JIT_STACKLIMIT;
}

int vf_patterns_match(struct vf_patterns *patterns, struct vf_str pattern, struct vf_str subject,
                      const size_t **offsets)
{
    uint64_t hash = vf_hash(pattern.data, pattern.len, 0);
    struct pattern *found = find_pattern(patterns, pattern, hash);
    if (found == NULL)
        found = add_pattern(patterns, pattern, hash);
    if (found == NULL || found->code == NULL)
        return 0;
    PCRE2_SPTR text = (PCRE2_SPTR)(subject.data == NULL ? "" : subject.data);
    int rc = pcre2_match(found->code, text, subject.len, 0, 0, patterns->match, patterns->context);
    patterns->limit_hits += is_limit(rc);
    if (rc < 0)
        return 0;
    *offsets = pcre2_get_ovector_pointer(patterns->match);
    return rc == 0 ? VF_PATTERN_GROUPS : rc; /* 0: more groups than there is room for */
}

void vf_patterns_mark(struct vf_patterns *patterns, struct vf_str pattern)
{
    struct pattern *found = find_pattern(patterns, pattern, vf_hash(pattern.data, pattern.len, 0));
    if (found != NULL)
        found->is_marked = true;
}

uint64_t vf_patterns_limit_hits(const struct vf_patterns *patterns)
{
    return patterns->limit_hits;
}

size_t vf_patterns_count(const struct vf_patterns *patterns)
{
    return patterns->count;
}
