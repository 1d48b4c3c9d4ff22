#include "tls/buffers.h"

#include <stdlib.h>
#include <string.h>

enum {
    SPARE_BUFFERS = 64,
    /* at least what mbedTLS allocates for itself: a record with its header, IV, MAC and padding */
    BUFFER_BYTES = VF_TLS_RECORD_BYTES + 1024
};

struct vf_tls_buffer {
    struct vf_tls_buffer *next;
};

static uint8_t *take(struct vf_tls *tls)
{
    struct vf_tls_buffer *buffer = tls->spare;
    if (buffer == NULL)
        return calloc(1, BUFFER_BYTES);
    tls->spare = buffer->next;
    tls->n_spare--;
    return (uint8_t *)buffer;
}

static void give(struct vf_tls *tls, uint8_t *memory)
{
    struct vf_tls_buffer *buffer = (struct vf_tls_buffer *)memory;
    if (tls->n_spare >= SPARE_BUFFERS) {
        free(memory);
        return;
    }
    buffer->next = tls->spare;
    tls->spare = buffer;
    tls->n_spare++;
}

void vf_tls_free_buffers(struct vf_tls *tls)
{
    while (tls->spare != NULL) {
        struct vf_tls_buffer *next = tls->spare->next;
        free(tls->spare);
        tls->spare = next;
    }
}

/* Moves a pointer that pointed into the buffer at `from`. */
static void rebase(unsigned char **pointer, const uint8_t *from, uint8_t *to)
{
    if (*pointer != NULL)
        *pointer = to + ((uintptr_t)*pointer - (uintptr_t)from);
}

int vf_tls_borrow_input(struct vf_tls_conn *conn)
{
    mbedtls_ssl_context *ssl = &conn->ssl;
    if (ssl->MBEDTLS_PRIVATE(in_buf) != NULL)
        return 0;
    uint8_t *buffer = take(conn->tls), *old = conn->input_base;
    if (buffer == NULL)
        return UV_ENOMEM;
    memcpy(buffer, conn->counter, sizeof(conn->counter));
    ssl->MBEDTLS_PRIVATE(in_buf) = buffer;
    rebase(&ssl->MBEDTLS_PRIVATE(in_ctr), old, buffer);
    rebase(&ssl->MBEDTLS_PRIVATE(in_hdr), old, buffer);
    rebase(&ssl->MBEDTLS_PRIVATE(in_len), old, buffer);
    rebase(&ssl->MBEDTLS_PRIVATE(in_iv), old, buffer);
    rebase(&ssl->MBEDTLS_PRIVATE(in_msg), old, buffer);
#if defined(MBEDTLS_SSL_DTLS_CONNECTION_ID)
    rebase(&ssl->MBEDTLS_PRIVATE(in_cid), old, buffer);
#endif
    return 0;
}

int vf_tls_borrow_output(struct vf_tls_conn *conn)
{
    mbedtls_ssl_context *ssl = &conn->ssl;
    if (ssl->MBEDTLS_PRIVATE(out_buf) != NULL)
        return 0;
    uint8_t *buffer = take(conn->tls), *old = conn->output_base;
    if (buffer == NULL)
        return UV_ENOMEM;
    ssl->MBEDTLS_PRIVATE(out_buf) = buffer;
    rebase(&ssl->MBEDTLS_PRIVATE(out_ctr), old, buffer);
    rebase(&ssl->MBEDTLS_PRIVATE(out_hdr), old, buffer);
    rebase(&ssl->MBEDTLS_PRIVATE(out_len), old, buffer);
    rebase(&ssl->MBEDTLS_PRIVATE(out_iv), old, buffer);
    rebase(&ssl->MBEDTLS_PRIVATE(out_msg), old, buffer);
#if defined(MBEDTLS_SSL_DTLS_CONNECTION_ID)
    rebase(&ssl->MBEDTLS_PRIVATE(out_cid), old, buffer);
#endif
    return 0;
}

/* The record sequence number stands in front of the buffer (RFC 5246 section 6.1; mbedTLS counts
 * there for TLS 1.3, too). */
static void return_input(struct vf_tls_conn *conn)
{
    mbedtls_ssl_context *ssl = &conn->ssl;
    uint8_t *buffer = ssl->MBEDTLS_PRIVATE(in_buf);
    if (buffer == NULL || ssl->MBEDTLS_PRIVATE(in_left) != 0 ||
        ssl->MBEDTLS_PRIVATE(in_offt) != NULL || ssl->MBEDTLS_PRIVATE(in_hslen) != 0 ||
        ssl->MBEDTLS_PRIVATE(keep_current_message) != 0)
        return;
    memcpy(conn->counter, buffer, sizeof(conn->counter));
    conn->input_base = buffer;
    ssl->MBEDTLS_PRIVATE(in_buf) = NULL;
    give(conn->tls, buffer);
}

static void return_output(struct vf_tls_conn *conn)
{
    mbedtls_ssl_context *ssl = &conn->ssl;
    uint8_t *buffer = ssl->MBEDTLS_PRIVATE(out_buf);
    if (buffer == NULL || ssl->MBEDTLS_PRIVATE(out_left) != 0)
        return;
    conn->output_base = buffer;
    ssl->MBEDTLS_PRIVATE(out_buf) = NULL;
    give(conn->tls, buffer);
}

void vf_tls_return_buffers(struct vf_tls_conn *conn)
{
    return_input(conn);
    return_output(conn);
}
