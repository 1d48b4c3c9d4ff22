/* base/error.h - failures that libuv has no code for. Functions that can fail return 0, UV_E* or
 * one of these: negative, and outside the range of UV_E* (which ends at -4096). */
#ifndef VF_BASE_ERROR_H
#define VF_BASE_ERROR_H

enum vf_error {
    VF_ENOBACKEND = -20000, /* no backend of the pool may get this exchange now */
    VF_ENOADDRESS = -20001, /* the name has no address (yet) */
    VF_ENOCOOKIE = -20002,  /* no sticky cookie that still counts */
    VF_EMALFORMED = -20003, /* what the peer sent breaks its protocol */
    VF_ETOOLARGE = -20004,  /* what the peer sent is larger than allowed */
    VF_ETLS = -20005        /* TLS failed: see tls/transport.h */
};

/* Returns the name of a code, "VF_ENOBACKEND" or libuv's "ECONNREFUSED". Static memory. */
const char *vf_error_name(int code);

/* Returns a sentence for people. Static memory. */
const char *vf_error_text(int code);

#endif
