#include "proxy/client_cert.h"

#include <mbedtls/base64.h>
#include <stdlib.h>

#include "proxy/core.h"
#include "proxy/downstream.h"
#include "proxy/exchange.h"
#include "tls/transport.h"

enum { CHAIN_BYTES = 32 * 1024 /* of DER: with more, there is no Client-Cert-Chain */ };

/* Takes the DER value at the front of *list (X.690 section 8.1.3: lengths of at most two bytes are
 * what a certificate of up to 64 KiB has). Returns false when there is none. */
static bool next_der(struct vf_str *list, struct vf_str *value)
{
    const uint8_t *data = (const uint8_t *)list->data;
    size_t len;
    if (list->len < 4)
        return false;
    if (data[1] < 0x80)
        len = 2 + (size_t)data[1];
    else if (data[1] == 0x81)
        len = 3 + (size_t)data[2];
    else if (data[1] == 0x82)
        len = 4 + ((size_t)data[2] << 8 | data[3]);
    else
        return false;
    if (len > list->len)
        return false;
    *value = vf_str_make(list->data, len);
    *list = vf_str_make(list->data + len, list->len - len);
    return true;
}

/* Writes an sf-binary, ":BASE64:" (RFC 8941 section 3.3.5). Returns its length. */
static size_t put_binary(char *out, size_t room, struct vf_str der)
{
    size_t len = 0;
    out[0] = ':';
    if (mbedtls_base64_encode((unsigned char *)out + 1, room - 1, &len,
                              (const unsigned char *)der.data, der.len) != 0)
        return 0;
    out[1 + len] = ':'; /* over the NUL */
    return len + 2;
}

static struct vf_client_cert *make(struct vf_str der, size_t room)
{
    struct vf_client_cert *cert = calloc(1, sizeof(*cert) + room);
    struct vf_str one;
    if (cert == NULL || !next_der(&der, &one)) {
        free(cert);
        return NULL;
    }
    char *text = (char *)(cert + 1), *end = text + room;
    cert->leaf = vf_str_make(text, put_binary(text, room, one));
    text += cert->leaf.len;
    cert->chain.data = text;
    while (next_der(&der, &one)) {
        if (cert->chain.len > 0) {
            memcpy(text, ", ", 2);
            text += 2;
        }
        text += put_binary(text, (size_t)(end - text), one);
        cert->chain.len = (size_t)(text - cert->chain.data);
    }
    return cert;
}

static const struct vf_client_cert *cert_of(struct vf_downstream *client)
{
    char der[CHAIN_BYTES];
    if (client->cert != NULL)
        return client->cert;
    size_t len = vf_tls_peer_chain(&client->stream, der, sizeof(der));
    if (len > 0 && len <= sizeof(der)) /* base64 takes 4/3, each value some bytes more */
        client->cert = make(vf_str_make(der, len), len * 2 + 64);
    return client->cert;
}

void vf_client_cert_free(struct vf_client_cert *cert)
{
    free(cert);
}

static void drop(struct vf_fields *fields, struct vf_str name)
{
    for (uint32_t i = 0; i < fields->count; i++)
        if (vf_str_ieq(fields->list[i].name, name))
            fields->list[i].dropped = fields->list[i].removed = true; /* what clients say of it */
}

bool vf_client_cert_is_good(const struct vf_exchange *ex)
{
    struct vf_tls_info info;
    if (!ex->is_secure || ex->client == NULL)
        return false;
    vf_tls_info(&ex->client->conn->stream, &info);
    return info.has_peer_certificate && info.verify_flags == 0;
}

/* The listener wants backends to see it. */
static bool is_shown(const struct vf_exchange *ex)
{
    const struct vf_snap_listener *listener = ex->listener;
    return ex->is_secure && listener->tls != VF_SNAP_NONE &&
           (vf_snap_tls(ex->snapshot, listener->tls)->flags & VF_TLS_SENDS_CERTIFICATE) != 0;
}

void vf_client_cert_forward(struct vf_exchange *ex)
{
    struct vf_fields *fields = &ex->request.fields;
    bool is_own = is_shown(ex) && vf_client_cert_is_good(ex);
    if (is_own || !ex->trusted) {
        drop(fields, VF_STR("Client-Cert"));
        drop(fields, VF_STR("Client-Cert-Chain"));
    }
    const struct vf_client_cert *cert = is_own ? cert_of(ex->client->conn) : NULL;
    if (cert == NULL || cert->leaf.len == 0)
        return;
    vf_fields_add(fields, &ex->arena, VF_STR("Client-Cert"), cert->leaf);
    if (cert->chain.len > 0)
        vf_fields_add(fields, &ex->arena, VF_STR("Client-Cert-Chain"), cert->chain);
}
