#include "lua/x509_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int vf_x509_refuse(const char **problem, int code, const char *text)
{
    *problem = text;
    return code;
}

bool vf_x509_append(struct vf_x509_text *text, const void *data, size_t len)
{
    if (text->len + len > text->room) {
        size_t room = (text->room + len) * 2;
        char *grown = realloc(text->data, room);
        if (grown == NULL)
            return false;
        text->data = grown;
        text->room = room;
    }
    memcpy(text->data + text->len, data, len);
    text->len += len;
    return true;
}

struct vf_str vf_x509_give(struct vf_x509_text *text)
{
    return vf_str_make(text->data, text->len);
}

void vf_x509_free_str(struct vf_str text)
{
    free((char *)(uintptr_t)text.data);
}

bool vf_x509_copy(const char *data, size_t len, struct vf_str *out)
{
    struct vf_x509_text text = {0};
    if (!vf_x509_append(&text, data, len))
        return false;
    *out = vf_x509_give(&text);
    return true;
}

/* mbedTLS reads PEM that ends with a NUL. */
unsigned char *vf_x509_terminated(const char *pem, size_t len)
{
    unsigned char *copy = malloc(len + 1);
    if (copy != NULL) {
        memcpy(copy, pem, len);
        copy[len] = '\0';
    }
    return copy;
}

bool vf_x509_has_block(const char *pem, size_t len, const char *label)
{
    char begin[64];
    int n = snprintf(begin, sizeof(begin), "-----BEGIN %s-----", label);
    return memmem(pem, len, begin, (size_t)n) != NULL;
}
