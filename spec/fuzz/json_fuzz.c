/* Fuzzes the JSON reader: the first byte of the input chooses depth and exactness. Beyond memory
 * safety it holds the code to what it promises: containers close, names have values, texts and
 * numbers come back as themselves when they are written and read again. */
#include <stdlib.h>
#include <string.h>

#include "lua/json.h"

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

static void check_text(struct vf_json *again, const struct vf_json_node *node)
{
    char *quoted = malloc(6 * (size_t)node->len + 3);
    int n = vf_json_quote(node->value.text, node->len, quoted, 0);
    REQUIRE(n >= 2);
    quoted[n] = '\0';
    REQUIRE(vf_json_read(again, quoted, (size_t)n, 1, 0) == 1);
    REQUIRE(again->nodes[0].kind == VF_JSON_STRING && again->nodes[0].len == node->len);
    REQUIRE(memcmp(again->nodes[0].value.text, node->value.text, node->len) == 0);
    free(quoted);
}

static void check_number(struct vf_json *again, const struct vf_json_node *node)
{
    char text[VF_JSON_NUMBER_BYTES + 1];
    int n = vf_json_number(node->value.number, text);
    REQUIRE(n > 0 && n <= VF_JSON_NUMBER_BYTES);
    text[n] = '\0';
    REQUIRE(vf_json_read(again, text, (size_t)n, 1, 0) == 1);
    REQUIRE(again->nodes[0].value.number == node->value.number);
}

static void check_nodes(const struct vf_json *json, int n, int max_depth)
{
    struct vf_json *again = vf_json_new();
    int depth = 0;
    for (int i = 0; i < n; i++) {
        const struct vf_json_node *node = &json->nodes[i];
        if (node->kind == VF_JSON_OBJECT || node->kind == VF_JSON_ARRAY)
            depth++;
        else if (node->kind == VF_JSON_END)
            depth--;
        else if (node->kind == VF_JSON_STRING || node->kind == VF_JSON_NAME)
            check_text(again, node);
        else if (node->kind == VF_JSON_NUMBER)
            check_number(again, node);
        REQUIRE(depth >= 0 && depth <= max_depth);
        REQUIRE(node->kind != VF_JSON_NAME ||
                (i + 1 < n && json->nodes[i + 1].kind != VF_JSON_END));
    }
    REQUIRE(depth == 0);
    vf_json_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    int max_depth = data[0] >> 1;
    size_t len = size - 1;
    char *text = malloc(len + 1);
    memcpy(text, data + 1, len);
    text[len] = '\0';
    struct vf_json *json = vf_json_new();
    int n = vf_json_read(json, text, len, max_depth, data[0] & 1);
    if (n >= 0)
        check_nodes(json, n, max_depth);
    else
        REQUIRE(json->error != NULL && json->error_at <= len);
    vf_json_free(json);
    free(text);
    return 0;
}
