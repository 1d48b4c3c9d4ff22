/* spec/bench/send.c - a client of the admin API that says how long each answer took.
 *
 *   send PORT FILE    each line of FILE ("METHOD PATH" or "METHOD PATH BODY"), one after the other
 *                     on one connection
 *   send PORT FILE RATE SECONDS CONNS
 *                     RATE of them a second, in turn and again, on CONNS connections; what is late
 *                     counts from when it was due
 *
 * Prints "STATUS MICROSECONDS BYTES" for each answer; status 0: none came. Everything is sent as
 * the administrator of the benchmark ("admin", "bench").
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_LINES = 1 << 20, HEAD_BYTES = 64 * 1024 };

static char *lines[MAX_LINES];
static size_t n_lines;

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void wait_until(uint64_t due_us)
{
    struct timespec due = {(time_t)(due_us / 1000000), (long)(due_us % 1000000) * 1000};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
}

static void read_lines(const char *path)
{
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t room = 0;
    ssize_t len;
    while (file != NULL && n_lines < MAX_LINES && (len = getline(&line, &room, file)) > 0) {
        line[strcspn(line, "\n")] = '\0';
        lines[n_lines++] = strdup(line);
    }
    free(line);
    if (n_lines == 0) {
        fprintf(stderr, "send: nothing to send in %s\n", path);
        exit(1);
    }
    fclose(file);
}

static int dial(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        perror("send: connect");
        exit(1);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

static int write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n <= 0)
            return -1;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

static int write_request(int fd, const char *line)
{
    static char head[HEAD_BYTES];
    const char *path = strchr(line, ' ') + 1, *body = strchr(path, ' ');
    size_t path_len = body != NULL ? (size_t)(body - path) : strlen(path);
    const char *type =
        strncmp(line, "PATCH ", 6) == 0 ? "application/merge-patch+json" : "application/json";
    body = body != NULL ? body + 1 : "";
    int len = snprintf(head, sizeof(head),
                       "%.*s %.*s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic "
                       "YWRtaW46YmVuY2g=\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n",
                       (int)(path - 1 - line), line, (int)path_len, path, type, strlen(body));
    return write_all(fd, head, (size_t)len) < 0 ? -1 : write_all(fd, body, strlen(body));
}

/* Reads one answer with a Content-Length, or without content. Returns its status, 0 when it broke
 * off. */
static int read_answer(int fd, size_t *bytes)
{
    static char buffer[HEAD_BYTES];
    size_t have = 0;
    char *end = NULL;
    *bytes = 0;
    while (end == NULL) {
        ssize_t n = read(fd, buffer + have, sizeof(buffer) - 1 - have);
        if (n <= 0)
            return 0;
        have += (size_t)n;
        buffer[have] = '\0';
        end = strstr(buffer, "\r\n\r\n");
    }
    int status = atoi(buffer + 9);
    char *length = strcasestr(buffer, "\r\ncontent-length:");
    size_t content = length != NULL && length < end ? strtoul(length + 17, NULL, 10) : 0;
    *bytes = content;
    if (status >= 400) /* what a benchmark does not expect is worth reading */
        fprintf(stderr, "%s\n", buffer);
    size_t got = have - (size_t)(end + 4 - buffer);
    while (got < content) {
        ssize_t n = read(fd, buffer, sizeof(buffer));
        if (n <= 0)
            return 0;
        got += (size_t)n;
    }
    return status;
}

/* Sends one line. Says what came of it, counted from `due_us`. */
static int exchange(int fd, const char *line, uint64_t due_us, FILE *out)
{
    size_t bytes = 0;
    int status = write_request(fd, line) == 0 ? read_answer(fd, &bytes) : 0;
    fprintf(out, "%d %llu %zu\n", status, (unsigned long long)(now_us() - due_us), bytes);
    return status;
}

static int one_by_one(int port)
{
    int fd = dial(port);
    for (size_t i = 0; i < n_lines; i++)
        if (exchange(fd, lines[i], now_us(), stdout) == 0)
            return 1;
    close(fd);
    return 0;
}

/* One connection of several: the turns `first`, `first + step`, ... */
static void paced(int port, size_t first, size_t step, double rate, double seconds)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    int fd = dial(port);
    uint64_t start = now_us() + 100000;
    for (size_t turn = first; (double)turn < rate * seconds; turn += step) {
        uint64_t due = start + (uint64_t)((double)turn * 1e6 / rate);
        wait_until(due);
        if (exchange(fd, lines[turn % n_lines], due, out) == 0)
            break;
    }
    fclose(out);
    exit(write_all(STDOUT_FILENO, text, len) < 0);
}

int main(int argc, char **argv)
{
    if (argc != 3 && argc != 6) {
        fprintf(stderr, "usage: send PORT FILE [RATE SECONDS CONNECTIONS]\n");
        return 2;
    }
    read_lines(argv[2]);
    if (argc == 3)
        return one_by_one(atoi(argv[1]));
    size_t connections = strtoul(argv[5], NULL, 10);
    for (size_t i = 0; i < connections; i++)
        if (fork() == 0)
            paced(atoi(argv[1]), i, connections, atof(argv[3]), atof(argv[4]));
    while (wait(NULL) > 0)
        continue;
    return 0;
}
