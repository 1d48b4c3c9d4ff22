#include "lua/re.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    MATCH_LIMIT = 100000,  /* some milliseconds; PCRE2's own default would allow seconds */
    HEAP_LIMIT_KIB = 1024, /* of one match without JIT */
    JIT_STACK_FIRST = 32 * 1024,
    JIT_STACK_MOST = 512 * 1024
};

struct vf_re {
    pcre2_code *code;
    PCRE2_SPTR names;
    uint32_t n_groups, n_names, name_bytes;
};

struct vf_re_matcher {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack; /* NULL: without JIT */
};

void vf_re_matcher_free(struct vf_re_matcher *matcher)
{
    if (matcher == NULL)
        return;
    pcre2_jit_stack_free(matcher->stack);
    pcre2_match_context_free(matcher->context);
    pcre2_match_data_free(matcher->data);
    free(matcher);
}

struct vf_re_matcher *vf_re_matcher_new(void)
{
    struct vf_re_matcher *matcher = calloc(1, sizeof(*matcher));
    if (matcher == NULL)
        return NULL;
    matcher->data = pcre2_match_data_create(VF_RE_MAX_GROUPS + 1, NULL);
    matcher->context = pcre2_match_context_create(NULL);
    if (matcher->data == NULL || matcher->context == NULL) {
        vf_re_matcher_free(matcher);
        return NULL;
    }
    pcre2_set_match_limit(matcher->context, MATCH_LIMIT);
    pcre2_set_heap_limit(matcher->context, HEAP_LIMIT_KIB);
    matcher->stack = pcre2_jit_stack_create(JIT_STACK_FIRST, JIT_STACK_MOST, NULL);
    if (matcher->stack != NULL)
        pcre2_jit_stack_assign(matcher->context, NULL, matcher->stack);
    return matcher;
}

static uint32_t options_of(int options)
{
    static const struct {
        int ours;
        uint32_t theirs;
    } map[] = {{VF_RE_CASELESS, PCRE2_CASELESS},
               {VF_RE_MULTILINE, PCRE2_MULTILINE},
               {VF_RE_DOTALL, PCRE2_DOTALL},
               {VF_RE_EXTENDED, PCRE2_EXTENDED},
               {VF_RE_UTF, PCRE2_UTF},
               {VF_RE_ANCHORED, PCRE2_ANCHORED},
               {VF_RE_SAME_NAMES, PCRE2_DUPNAMES}};
    uint32_t result = PCRE2_NEVER_BACKSLASH_C;
    for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++)
        if (options & map[i].ours)
            result |= map[i].theirs;
    /* (*UTF) in a pattern would change what the caller's offsets mean */
    return options & VF_RE_UTF ? result : result | PCRE2_NEVER_UTF;
}

void vf_re_free(struct vf_re *re)
{
    if (re == NULL)
        return;
    pcre2_code_free(re->code);
    free(re);
}

/* Takes ownership of `code`. */
static struct vf_re *wrap(pcre2_code *code)
{
    struct vf_re *re = calloc(1, sizeof(*re));
    if (re == NULL) {
        pcre2_code_free(code);
        return NULL;
    }
    re->code = code;
    pcre2_pattern_info(code, PCRE2_INFO_CAPTURECOUNT, &re->n_groups);
    pcre2_pattern_info(code, PCRE2_INFO_NAMECOUNT, &re->n_names);
    pcre2_pattern_info(code, PCRE2_INFO_NAMEENTRYSIZE, &re->name_bytes);
    pcre2_pattern_info(code, PCRE2_INFO_NAMETABLE, &re->names);
    /* may fail (no JIT, no executable memory): then it is interpreted */
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
    return re;
}

struct vf_re *vf_re_compile(const char *pattern, size_t len, int options, char *error,
                            size_t error_size, uint32_t *offset)
{
    int code;
    PCRE2_SIZE at;
    *offset = 0;
    if (len > VF_RE_MAX_PATTERN_BYTES) {
        snprintf(error, error_size, "longer than 64 KiB");
        return NULL;
    }
    pcre2_code *compiled =
        pcre2_compile((PCRE2_SPTR)pattern, len, options_of(options), &code, &at, NULL);
    if (compiled == NULL) {
        *offset = (uint32_t)at;
        vf_re_message(code, error, error_size);
        return NULL;
    }
    struct vf_re *re = wrap(compiled);
    if (re == NULL) {
        snprintf(error, error_size, "out of memory");
    } else if (re->n_groups > VF_RE_MAX_GROUPS) {
        snprintf(error, error_size, "more than %d groups", VF_RE_MAX_GROUPS);
        vf_re_free(re);
        re = NULL;
    }
    return re;
}

int vf_re_groups(const struct vf_re *re)
{
    return (int)re->n_groups;
}

const char *vf_re_name(const struct vf_re *re, uint32_t index, int *number)
{
    if (index >= re->n_names)
        return NULL;
    PCRE2_SPTR entry = re->names + (size_t)index * re->name_bytes; /* number, high byte first */
    *number = entry[0] << 8 | entry[1];
    return (const char *)entry + 2;
}

int vf_re_search(const struct vf_re *re, struct vf_re_matcher *matcher, const char *subject,
                 size_t len, size_t from, int flags, int32_t offsets[2 * (VF_RE_MAX_GROUPS + 1)])
{
    uint32_t options = (flags & VF_RE_NOT_EMPTY ? PCRE2_NOTEMPTY_ATSTART : 0) |
                       (flags & VF_RE_CHECKED ? PCRE2_NO_UTF_CHECK : 0);
    int rc = pcre2_match(re->code, (PCRE2_SPTR)subject, len, from, options, matcher->data,
                         matcher->context);
    if (rc <= 0)
        return rc == PCRE2_ERROR_NOMATCH ? 0 : rc;
    const PCRE2_SIZE *found = pcre2_get_ovector_pointer(matcher->data);
    if (found[0] > found[1]) /* \K behind its own match */
        return PCRE2_ERROR_BADOFFSET;
    for (uint32_t i = 0; i < 2 * (re->n_groups + 1); i++)
        offsets[i] = i < 2 * (uint32_t)rc && found[i] != PCRE2_UNSET ? (int32_t)found[i] : -1;
    return 1;
}

void vf_re_message(int code, char *out, size_t size)
{
    out[0] = '\0';
    pcre2_get_error_message(code, (PCRE2_UCHAR *)out, size);
}
