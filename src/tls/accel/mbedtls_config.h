/* tls/accel/mbedtls_config.h - which primitives of mbedTLS are replaced by this folder, through its
 * hooks for alternative implementations. Three more are replaced at link time (see accel.h). */
#define MBEDTLS_GCM_ALT
#define MBEDTLS_SHA256_PROCESS_ALT
#define MBEDTLS_SHA512_PROCESS_ALT
#define MBEDTLS_ECDH_GEN_PUBLIC_ALT
#define MBEDTLS_ECDH_COMPUTE_SHARED_ALT
