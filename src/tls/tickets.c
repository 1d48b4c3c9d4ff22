/* tls/tickets.c - sessions that clients keep for us, sealed (RFC 5077, RFC 8446 section 4.6.1):
 *
 *   name of the key (16) | nonce (12) | sealed: when it was made (8), the session | tag (16)
 *
 * The time is that of the wall clock, so that a ticket is good on another machine with the same
 * keys; mbedTLS counts from the start of the machine. A ticket is bound to its server's context.
 * Who is asked for a certificate is asked each time, and has none. */
#include <mbedtls/gcm.h>
#include <string.h>

#include "base/clock.h"
#include "tls/core.h"

enum {
    NAME_BYTES = 16,
    NONCE_BYTES = 12,
    TIME_BYTES = 8,
    TAG_BYTES = 16,
    HEAD_BYTES = NAME_BYTES + NONCE_BYTES,
    CONTEXT_BYTES = HEAD_BYTES + sizeof(uint64_t),
    LIFETIME_S = 16 * 3600 /* keys are turned every 8 hours and the last three are known */
};

static void load_keys(struct vf_tls_server *server, struct vf_tls_ticket_keys *keys)
{
    keys->n = 0;
    if (server->options.ticket_keys != NULL)
        server->options.ticket_keys(server->options.owner, keys);
    if (keys->n == 0)
        keys->keys[keys->n++] = server->tls->own_ticket_key;
}

/* What the seal covers besides: the head of the ticket and the context. */
static void join_context(const struct vf_tls_server *server, const unsigned char *head,
                         unsigned char *out)
{
    memcpy(out, head, HEAD_BYTES);
    memcpy(out + HEAD_BYTES, &server->options.context, sizeof(uint64_t));
}

static void put_time(unsigned char *out, uint64_t ms)
{
    for (int i = 0; i < TIME_BYTES; i++)
        out[i] = (unsigned char)(ms >> (56 - 8 * i));
}

static uint64_t get_time(const unsigned char *in)
{
    uint64_t ms = 0;
    for (int i = 0; i < TIME_BYTES; i++)
        ms = ms << 8 | in[i];
    return ms;
}

/* Begins with the key of a ticket. The caller frees *gcm, also when this fails. */
static int begin(const struct vf_tls_server *server, const uint8_t *key,
                 const unsigned char *ticket, unsigned char *context, mbedtls_gcm_context *gcm)
{
    mbedtls_gcm_init(gcm);
    join_context(server, ticket, context);
    return mbedtls_gcm_setkey(gcm, MBEDTLS_CIPHER_ID_AES, key, 256);
}

static int seal(const struct vf_tls_server *server, const uint8_t *key, unsigned char *ticket,
                size_t len)
{
    unsigned char context[CONTEXT_BYTES], *body = ticket + HEAD_BYTES;
    mbedtls_gcm_context gcm;
    int rc = begin(server, key, ticket, context, &gcm);
    if (rc == 0)
        rc = mbedtls_gcm_crypt_and_tag(&gcm, MBEDTLS_GCM_ENCRYPT, len, ticket + NAME_BYTES,
                                       NONCE_BYTES, context, sizeof(context), body, body, TAG_BYTES,
                                       body + len);
    mbedtls_gcm_free(&gcm);
    return rc;
}

static int unseal(const struct vf_tls_server *server, const uint8_t *key, unsigned char *ticket,
                  size_t len)
{
    unsigned char context[CONTEXT_BYTES], *body = ticket + HEAD_BYTES;
    mbedtls_gcm_context gcm;
    int rc = begin(server, key, ticket, context, &gcm);
    if (rc == 0)
        rc = mbedtls_gcm_auth_decrypt(&gcm, len, ticket + NAME_BYTES, NONCE_BYTES, context,
                                      sizeof(context), body + len, TAG_BYTES, body, body);
    mbedtls_gcm_free(&gcm);
    return rc == 0 ? 0 : MBEDTLS_ERR_SSL_INVALID_MAC;
}

static int write_ticket(void *owner, const mbedtls_ssl_session *session, unsigned char *start,
                        const unsigned char *end, size_t *len, uint32_t *lifetime)
{
    struct vf_tls_server *server = owner;
    struct vf_tls_ticket_keys keys;
    size_t room = (size_t)(end - start), saved;
    *len = 0;
    *lifetime = 0;
    if (server->tls->shaking->is_asked)
        return MBEDTLS_ERR_SSL_FEATURE_UNAVAILABLE; /* TLS 1.2 has promised one: it is empty */
    load_keys(server, &keys);
    if (room < HEAD_BYTES + TIME_BYTES + TAG_BYTES)
        return MBEDTLS_ERR_SSL_BUFFER_TOO_SMALL;
    memcpy(start, keys.keys[0].name, NAME_BYTES);
    int rc = vf_tls_random(server->tls, start + NAME_BYTES, NONCE_BYTES);
    put_time(start + HEAD_BYTES, vf_clock_wall_ms());
    if (rc == 0)
        rc = mbedtls_ssl_session_save(session, start + HEAD_BYTES + TIME_BYTES,
                                      room - HEAD_BYTES - TIME_BYTES - TAG_BYTES, &saved);
    if (rc == 0)
        rc = seal(server, keys.keys[0].key, start, TIME_BYTES + saved);
    mbedtls_platform_zeroize(&keys, sizeof(keys));
    if (rc != 0)
        return rc;
    *len = HEAD_BYTES + TIME_BYTES + saved + TAG_BYTES;
    *lifetime = LIFETIME_S;
    return 0;
}

static const uint8_t *find_key(const struct vf_tls_ticket_keys *keys, const unsigned char *name)
{
    for (uint32_t i = 0; i < keys->n; i++)
        if (memcmp(keys->keys[i].name, name, NAME_BYTES) == 0)
            return keys->keys[i].key;
    return NULL;
}

/* Takes the session out of an unsealed ticket, and makes its time one of this machine. */
static int load_session(mbedtls_ssl_session *session, const unsigned char *body, size_t len)
{
    uint64_t now_ms = vf_clock_wall_ms(), made_ms = get_time(body);
    if (made_ms > now_ms || now_ms - made_ms > LIFETIME_S * 1000ULL)
        return MBEDTLS_ERR_SSL_SESSION_TICKET_EXPIRED;
    int rc = mbedtls_ssl_session_load(session, body + TIME_BYTES, len - TIME_BYTES);
    if (rc == 0)
        session->MBEDTLS_PRIVATE(ticket_creation_time) =
            mbedtls_ms_time() - (mbedtls_ms_time_t)(now_ms - made_ms);
    return rc;
}

static int parse_ticket(void *owner, mbedtls_ssl_session *session, unsigned char *ticket,
                        size_t len)
{
    struct vf_tls_server *server = owner;
    struct vf_tls_ticket_keys keys;
    if (len < HEAD_BYTES + TIME_BYTES + TAG_BYTES)
        return MBEDTLS_ERR_SSL_BAD_INPUT_DATA;
    if (vf_tls_name_asks(server->tls->shaking)) /* the session has no certificate */
        return MBEDTLS_ERR_SSL_SESSION_TICKET_EXPIRED;
    load_keys(server, &keys);
    const uint8_t *key = find_key(&keys, ticket);
    size_t body = len - HEAD_BYTES - TAG_BYTES;
    int rc =
        key == NULL ? MBEDTLS_ERR_SSL_SESSION_TICKET_EXPIRED : unseal(server, key, ticket, body);
    mbedtls_platform_zeroize(&keys, sizeof(keys));
    if (rc == 0)
        rc = load_session(session, ticket + HEAD_BYTES, body);
    server->tls->opened_ticket = rc == 0;
    return rc;
}

void vf_tls_use_tickets(struct vf_tls_server *server)
{
    mbedtls_ssl_conf_session_tickets_cb(&server->config, write_ticket, parse_ticket, server);
}
