/* ClientHello peek: no input may read out of bounds; what is decided is decided the same way with
 * more bytes behind it, and every shorter input is undecided or refused for good; a name is one
 * that can be looked up. */
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "tls/client_hello.h"

/* Reads from memory of exactly `len` bytes, so that the sanitizer sees every byte too many. */
static int read_exactly(const uint8_t *data, size_t len, struct vf_client_hello *out)
{
    char *copy = malloc(len > 0 ? len : 1);
    assert(copy != NULL);
    memcpy(copy, data, len);
    int rc = vf_client_hello_read(copy, len, out);
    free(copy);
    assert(rc == 1 || rc == 0 || rc == VF_EMALFORMED);
    assert(rc != VF_EMALFORMED || (out->fault != NULL && out->alert != 0 && out->name_len == 0));
    return rc;
}

static void check_name(const struct vf_client_hello *hello)
{
    assert(hello->name_len < VF_CLIENT_HELLO_NAME && hello->name[hello->name_len] == '\0');
    assert(strlen(hello->name) == hello->name_len);
    for (uint32_t i = 0; i < hello->name_len; i++)
        assert(hello->name[i] > 0x20 && (hello->name[i] < 'A' || hello->name[i] > 'Z'));
}

static void check_prefixes(const uint8_t *data, size_t len, int rc,
                           const struct vf_client_hello *whole)
{
    struct vf_client_hello part;
    size_t step = 1 + len / 64; /* specs try every length */
    bool is_decided = false;
    for (size_t i = 0; i < len; i += step) {
        int now = read_exactly(data, i, &part);
        assert(!is_decided || now == rc);
        is_decided = is_decided || now != 0;
        if (now != 0)
            assert(now == rc && part.fault == whole->fault && strcmp(part.name, whole->name) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct vf_client_hello hello;
    if (len > 2 * VF_CLIENT_HELLO_MAX)
        return 0;
    int rc = read_exactly(data, len, &hello);
    check_name(&hello);
    check_prefixes(data, len, rc, &hello);
    assert(rc != 0 || len < VF_CLIENT_HELLO_MAX);
    return 0;
}
