/* lua/view_tls.c - the TLS of the client's connection, for plugins. */
#include "lua/view.h"
#include "proxy/client_cert.h"
#include "proxy/downstream.h"
#include "proxy/exchange.h"
#include "tls/transport.h"

/* The log phase may outlive the connection; the certificate phase comes before TLS. */
static bool has_connection(const struct vf_exchange *ex)
{
    return ex->client != NULL && !ex->is_handshake;
}

void vf_view_tls(struct vf_exchange *ex, struct vf_tls_view *out)
{
    *out = (struct vf_tls_view){.size = sizeof(*out), .is_tls = ex->is_secure};
    if (!ex->is_secure)
        return;
    out->version = ex->tls_version;
    out->cipher = ex->tls_cipher;
    out->server_name = ex->server_name;
    if (!has_connection(ex))
        return;
    struct vf_tls_info info;
    struct vf_client_verdict verdict;
    vf_tls_info(&ex->client->conn->stream, &info);
    out->is_resumed = info.is_resumed;
    vf_client_cert_judge(ex, &verdict);
    out->has_certificate = verdict.is_given;
    if (verdict.faults != 0)
        out->fault = vf_str_from(vf_tls_verify_word(verdict.faults));
}

size_t vf_view_client_chain(struct vf_exchange *ex, char *out, size_t room)
{
    if (!ex->is_secure || !has_connection(ex))
        return 0;
    return vf_tls_peer_chain(&ex->client->conn->stream, out, room);
}

int vf_view_ask_certificate(struct vf_exchange *ex)
{
    if (!ex->is_handshake)
        return VF_VIEW_TOO_LATE;
    ex->asks_certificate = true;
    return VF_VIEW_OK;
}

int vf_view_forbid_tickets(struct vf_exchange *ex)
{
    if (!ex->is_handshake)
        return VF_VIEW_TOO_LATE;
    ex->forbids_tickets = true;
    return VF_VIEW_OK;
}
