/* tls/server_name.c - the name that a client asks for, as long as its handshake is under way. */
#include "tls/core.h"

struct vf_str vf_tls_server_name(struct vf_tls_conn *conn)
{
    size_t len;
    const unsigned char *name = mbedtls_ssl_get_hs_sni(&conn->ssl, &len);
    if (name == NULL || len >= sizeof(conn->name))
        len = 0;
    for (size_t i = 0; i < len; i++) {
        conn->name[i] = vf_lower((char)name[i]);
        if (name[i] < 0x21 || name[i] > 0x7e) /* no host name: it stands in log lines */
            conn->name[i] = '?';
    }
    conn->name[len] = '\0';
    return vf_str_make(conn->name, len);
}

bool vf_tls_name_asks(struct vf_tls_conn *conn)
{
    const struct vf_tls_server_options *options = &conn->server->options;
    return options->asks != NULL && options->asks(options->owner, vf_tls_server_name(conn));
}
