/* Random numbers of mbedTLS's PSA functions: ephemeral keys, salts, blinding. They come from the
 * kernel, so that nothing has a state that two processes could share. */
#include <psa/crypto.h>
#include <sys/random.h>

enum { MAX_PIECE = 256 }; /* getrandom(2) gives so many bytes whole, or none */

psa_status_t mbedtls_psa_external_get_random(mbedtls_psa_external_random_context_t *context,
                                             uint8_t *output, size_t size, size_t *len)
{
    (void)context;
    for (size_t done = 0; done < size;) {
        size_t piece = size - done < MAX_PIECE ? size - done : MAX_PIECE;
        if (getrandom(output + done, piece, 0) != (ssize_t)piece)
            return PSA_ERROR_INSUFFICIENT_ENTROPY;
        done += piece;
    }
    *len = size;
    return PSA_SUCCESS;
}
