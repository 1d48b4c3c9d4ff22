#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lua/json.h"
#include "lua/utf8.h"

static bool is_plain(char c)
{
    return (unsigned char)c >= 0x20 && c != '"' && c != '\\';
}

int vf_json_is_plain(const char *text, size_t len)
{
    const char *end = text + len;
    while (text < end) {
        int bytes = vf_utf8_next(text, end);
        if (bytes == 0 || !is_plain(*text))
            return 0;
        text += bytes;
    }
    return 1;
}

static char *put_escape(char *out, char c)
{
    static const char digits[] = "0123456789abcdef";
    static const char special[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const char *found = memchr(special, c, sizeof(special) - 1);
    *out++ = '\\';
    if (found != NULL) {
        *out++ = letters[found - special];
        return out;
    }
    memcpy(out, "u00", 3);
    out[3] = digits[(unsigned char)c >> 4];
    out[4] = digits[c & 15];
    return out + 5;
}

int vf_json_quote(const char *text, size_t len, char *out, int repair)
{
    const char *at = text, *end = text + len;
    char *start = out;
    *out++ = '"';
    while (at < end) {
        int bytes = vf_utf8_next(at, end);
        if (bytes == 0) {
            if (!repair)
                return -1 - (int)(at - text);
            memcpy(out, "\xef\xbf\xbd", 3);
            out += 3;
            at++;
        } else if (!is_plain(*at)) {
            out = put_escape(out, *at++);
        } else {
            memcpy(out, at, (size_t)bytes);
            out += bytes;
            at += bytes;
        }
    }
    *out++ = '"';
    return (int)(out - start);
}

/* Writes the fewest digits that give the same double, without zeros behind, and returns how many
 * there are. *point: where the decimal point belongs, counted from the first digit. */
static int shortest_digits(double number, char digits[32], int *point)
{
    char text[40];
    /* Digits behind the first: 15 digits survive being a double, but not being a small one. */
    int precision = number < DBL_MIN ? 0 : 14;
    do
        snprintf(text, sizeof(text), "%.*e", precision, number);
    while (strtod(text, NULL) != number && ++precision < 17);
    char *exponent = strchr(text, 'e');
    int n = 0;
    for (char *at = text; at < exponent; at++)
        if (*at != '.')
            digits[n++] = *at;
    while (n > 1 && digits[n - 1] == '0')
        n--;
    *point = atoi(exponent + 1) + 1;
    return n;
}

/* ECMAScript, Number::toString */
static char *put_digits(char *out, const char *digits, int n, int point)
{
    if (n <= point && point <= 21) {
        memcpy(out, digits, (size_t)n);
        memset(out + n, '0', (size_t)(point - n));
        return out + point;
    }
    if (point > 0 && point <= 21) {
        memcpy(out, digits, (size_t)point);
        out[point] = '.';
        memcpy(out + point + 1, digits + point, (size_t)(n - point));
        return out + n + 1;
    }
    if (point > -6 && point <= 0) {
        memcpy(out, "0.", 2);
        memset(out + 2, '0', (size_t)-point);
        memcpy(out + 2 - point, digits, (size_t)n);
        return out + 2 - point + n;
    }
    *out++ = digits[0];
    if (n > 1) {
        *out++ = '.';
        memcpy(out, digits + 1, (size_t)(n - 1));
        out += n - 1;
    }
    return out + sprintf(out, "e%+d", point - 1);
}

int vf_json_number(double number, char out[VF_JSON_NUMBER_BYTES])
{
    char digits[32], *at = out;
    int point;
    if (number == floor(number) && fabs(number) < 1e15)
        return sprintf(out, "%lld", (long long)number);
    if (number < 0)
        *at++ = '-';
    int n = shortest_digits(fabs(number), digits, &point);
    return (int)(put_digits(at, digits, n, point) - out);
}
