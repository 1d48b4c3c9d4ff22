#include "proxy/client_cert.h"

#include <mbedtls/base64.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/core.h"
#include "proxy/downstream.h"
#include "proxy/exchange.h"
#include "proxy/secure.h"
#include "proxy/tls_records.h"
#include "tls/transport.h"

enum {
    CHAIN_BYTES = 32 * 1024, /* of DER: with more, there is no Client-Cert-Chain */
    VERDICTS = 8             /* authorities that one connection meets: more take turns */
};
static const uint64_t VERDICT_NS = UINT64_C(60000000000); /* certificates end while they are used */

/* What `trust` makes of the certificate. */
struct verdict {
    uint64_t trust_id; /* 0: none */
    uint64_t at_ns;
    uint32_t depth, faults;
};

/* Of a connection, made when it is first wanted. */
struct vf_client_cert {
    struct verdict verdicts[VERDICTS];
    uint32_t next_verdict;     /* the oldest one */
    char *text;                /* of both; NULL: not made yet */
    struct vf_str leaf, chain; /* field values; the latter may be empty */
};

static struct vf_client_cert *cert_of(struct vf_downstream *client)
{
    if (client->cert == NULL)
        client->cert = calloc(1, sizeof(*client->cert));
    return client->cert;
}

void vf_client_cert_free(struct vf_client_cert *cert)
{
    if (cert != NULL)
        free(cert->text);
    free(cert);
}

/* Judging */

static struct verdict *find_verdict(struct vf_client_cert *cert, uint64_t trust_id, uint32_t depth)
{
    for (int i = 0; i < VERDICTS; i++)
        if (cert->verdicts[i].trust_id == trust_id && cert->verdicts[i].depth == depth)
            return &cert->verdicts[i];
    struct verdict *oldest = &cert->verdicts[cert->next_verdict++ % VERDICTS];
    *oldest = (struct verdict){.trust_id = trust_id, .depth = depth};
    return oldest;
}

static uint32_t faults_now(const struct vf_exchange *ex, const struct vf_snap_trust *record,
                           uint32_t depth)
{
    struct vf_tls_records *records = vf_secure_records(ex->proxy->secure);
    const struct vf_tls_trust *trust = vf_tls_records_trust(records, ex->snapshot, record);
    uint32_t faults;
    if (trust == NULL || vf_tls_judge_client(&ex->client->conn->stream, trust, depth, &faults) < 0)
        return VF_TLS_NOT_JUDGED;
    return faults;
}

static uint32_t faults_of(const struct vf_exchange *ex, const struct vf_snap_trust *trust,
                          uint32_t depth)
{
    struct vf_client_cert *cert = cert_of(ex->client->conn);
    uint64_t now_ns = vf_reactor_now_ns(ex->proxy->reactor);
    if (cert == NULL)
        return VF_TLS_NOT_JUDGED;
    struct verdict *verdict = find_verdict(cert, trust->id, depth);
    if (verdict->at_ns == 0 || now_ns - verdict->at_ns > VERDICT_NS) {
        verdict->faults = faults_now(ex, trust, depth);
        verdict->at_ns = now_ns;
    }
    return verdict->faults;
}

/* What the exchange's route wants; NULL: nothing of its own. */
static const struct vf_snap_client_cert *wanted_by(const struct vf_exchange *ex)
{
    if (ex->snapshot == NULL || ex->route == NULL || ex->route->client_cert == VF_SNAP_NONE)
        return NULL;
    return vf_snap_client_cert(ex->snapshot, ex->route->client_cert);
}

/* Returns whose word counts, and stores how long its chains may be; NULL: nobody's. */
static const struct vf_snap_trust *trust_for(const struct vf_exchange *ex, uint32_t *depth)
{
    const struct vf_snap_client_cert *wanted = wanted_by(ex);
    if (ex->snapshot == NULL)
        return NULL;
    if (wanted != NULL && wanted->trust != VF_SNAP_NONE) {
        *depth = wanted->depth;
        return vf_snap_trust(ex->snapshot, wanted->trust);
    }
    if (ex->listener->tls == VF_SNAP_NONE)
        return NULL;
    const struct vf_snap_tls *tls = vf_snap_tls(ex->snapshot, ex->listener->tls);
    *depth = tls->depth;
    return tls->trust == VF_SNAP_NONE ? NULL : vf_snap_trust(ex->snapshot, tls->trust);
}

void vf_client_cert_judge(const struct vf_exchange *ex, struct vf_client_verdict *out)
{
    struct vf_tls_info info;
    uint32_t depth;
    *out = (struct vf_client_verdict){0};
    if (!ex->is_secure || ex->client == NULL)
        return;
    vf_tls_info(&ex->client->conn->stream, &info);
    out->is_given = info.has_peer_certificate;
    out->is_asked = info.is_asked;
    if (!out->is_given)
        return;
    const struct vf_snap_trust *trust = trust_for(ex, &depth);
    bool was_judged = trust == NULL || (trust->id == info.trust_id && depth == info.depth);
    out->faults = was_judged ? info.verify_flags : faults_of(ex, trust, depth);
}

static bool is_good(const struct vf_client_verdict *verdict)
{
    return verdict->is_given && verdict->faults == 0;
}

/* The client may come back on another connection, where it is asked (RFC 9110 section 15.5.20). */
static void refuse_unasked(struct vf_exchange *ex)
{
    ex->close_client = true;
    vf_exchange_problem(ex, 421, "client_certificate_not_asked",
                        "This connection has not asked for a certificate, which this route needs: "
                        "its handshake named another host, or is older than the route.");
}

static void refuse(struct vf_exchange *ex, const struct vf_client_verdict *verdict)
{
    const char *fault = verdict->is_given ? vf_tls_verify_word(verdict->faults) : "none_given";
    struct vf_str route = vf_snap_str(ex->snapshot, ex->route->name);
    char detail[96];
    vf_log_info(&ex->proxy->log, "client.certificate_refused",
                "listener=%s client=%.*s route=%.*s reason=%s", ex->client->conn->acceptor->name,
                (int)ex->client_ip.len, ex->client_ip.data, (int)route.len, route.data, fault);
    if (!verdict->is_given) {
        vf_exchange_problem(ex, 403, "client_certificate_required",
                            "This route is for clients with a certificate that is good here.");
        return;
    }
    snprintf(detail, sizeof(detail), "The client's certificate is not good here: %s.", fault);
    vf_exchange_problem(ex, 403, "client_certificate_refused", detail);
}

bool vf_client_cert_admit(struct vf_exchange *ex)
{
    const struct vf_snap_client_cert *wanted = wanted_by(ex);
    struct vf_client_verdict verdict;
    if (wanted->mode != VF_CLIENT_AUTH_REQUIRED)
        return true;
    vf_client_cert_judge(ex, &verdict);
    if (is_good(&verdict))
        return true;
    if (ex->is_secure && !verdict.is_asked && wanted->trust != VF_SNAP_NONE)
        refuse_unasked(ex);
    else
        refuse(ex, &verdict);
    return false;
}

/* Telling backends */

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

/* Makes the values of a chain, for which `room` bytes of text will do. */
static void encode(struct vf_client_cert *cert, struct vf_str der, size_t room)
{
    struct vf_str one;
    if (!next_der(&der, &one) || (cert->text = malloc(room)) == NULL)
        return;
    char *text = cert->text, *end = text + room;
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
}

/* Returns NULL when there is nothing to tell. */
static const struct vf_client_cert *values_of(struct vf_downstream *client)
{
    char der[CHAIN_BYTES];
    struct vf_client_cert *cert = cert_of(client);
    if (cert == NULL || cert->text != NULL)
        return cert;
    size_t len = vf_tls_peer_chain(&client->stream, der, sizeof(der));
    if (len > 0 && len <= sizeof(der)) /* base64 takes 4/3, each value some bytes more */
        encode(cert, vf_str_make(der, len), len * 2 + 64);
    return cert->leaf.len > 0 ? cert : NULL;
}

static void drop(struct vf_fields *fields, struct vf_str name)
{
    for (uint32_t i = 0; i < fields->count; i++)
        if (vf_str_ieq(fields->list[i].name, name))
            fields->list[i].dropped = fields->list[i].removed = true; /* what clients say of it */
}

/* The listener or the route wants backends to see it. */
static bool is_shown(const struct vf_exchange *ex)
{
    const struct vf_snap_client_cert *wanted = wanted_by(ex);
    const struct vf_snap_listener *listener = ex->listener;
    if (wanted != NULL && (wanted->flags & VF_TLS_SENDS_CERTIFICATE) != 0)
        return true;
    return listener->tls != VF_SNAP_NONE &&
           (vf_snap_tls(ex->snapshot, listener->tls)->flags & VF_TLS_SENDS_CERTIFICATE) != 0;
}

void vf_client_cert_forward(struct vf_exchange *ex)
{
    struct vf_fields *fields = &ex->request.fields;
    struct vf_client_verdict verdict = {0};
    if (ex->is_secure && is_shown(ex))
        vf_client_cert_judge(ex, &verdict);
    bool is_own = is_good(&verdict);
    if (is_own || !ex->trusted) {
        drop(fields, VF_STR("Client-Cert"));
        drop(fields, VF_STR("Client-Cert-Chain"));
    }
    const struct vf_client_cert *cert = is_own ? values_of(ex->client->conn) : NULL;
    if (cert == NULL || cert->leaf.len == 0)
        return;
    vf_fields_add(fields, &ex->arena, VF_STR("Client-Cert"), cert->leaf);
    if (cert->chain.len > 0)
        vf_fields_add(fields, &ex->arena, VF_STR("Client-Cert-Chain"), cert->chain);
}
