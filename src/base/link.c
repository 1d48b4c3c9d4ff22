#include "base/link.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

/* What stands in front of the text on the wire. */
struct head {
    uint32_t type;
    uint32_t text_len;
    uint64_t args[VF_LINK_ARGS];
};

union control_space {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int) * VF_LINK_FDS)];
};

void vf_link_message_init(struct vf_link_message *message, enum vf_link_type type)
{
    message->type = type;
    message->n_fds = 0;
    message->text_len = 0;
    message->text[0] = '\0';
    memset(message->args, 0, sizeof(message->args));
}

void vf_link_message_text(struct vf_link_message *message, const char *text)
{
    message->text_len = (uint32_t)strnlen(text, VF_LINK_TEXT_BYTES);
    memcpy(message->text, text, message->text_len);
    message->text[message->text_len] = '\0';
}

void vf_link_message_fd(struct vf_link_message *message, int fd)
{
    assert(message->n_fds < VF_LINK_FDS);
    message->fds[message->n_fds++] = fd;
}

int vf_link_take_fd(struct vf_link_message *message, uint32_t index)
{
    if (index >= message->n_fds)
        return -1;
    int fd = message->fds[index];
    message->fds[index] = -1;
    return fd;
}

void vf_link_message_deinit(struct vf_link_message *message)
{
    for (uint32_t i = 0; i < message->n_fds; i++)
        if (message->fds[i] >= 0)
            close(message->fds[i]);
    message->n_fds = 0;
}

int vf_link_pair(int ends[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0 ? -errno
                                                                                           : 0;
}

static void attach_fds(struct msghdr *packet, union control_space *space,
                       const struct vf_link_message *message)
{
    size_t bytes = sizeof(int) * message->n_fds;
    if (bytes == 0)
        return;
    packet->msg_control = space->bytes;
    packet->msg_controllen = CMSG_SPACE(bytes);
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(packet);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(bytes);
    memcpy(CMSG_DATA(cmsg), message->fds, bytes);
}

int vf_link_send(int link, const struct vf_link_message *message)
{
    struct head head = {.type = message->type, .text_len = message->text_len};
    memcpy(head.args, message->args, sizeof(head.args));
    struct iovec parts[2] = {{&head, sizeof(head)}, {(void *)message->text, message->text_len}};
    struct msghdr packet = {.msg_iov = parts, .msg_iovlen = 2};
    union control_space space;
    memset(&space, 0, sizeof(space));
    attach_fds(&packet, &space, message);
    ssize_t n;
    do
        n = sendmsg(link, &packet, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

/* A unix socket is writable while at most a quarter of its buffer is used. */
int vf_link_has_room(int link)
{
    struct pollfd room = {.fd = link, .events = POLLOUT};
    return poll(&room, 1, 0) != 0;
}

static uint64_t now_ms(void)
{
    return vf_clock_true_ns() / 1000000;
}

int vf_link_send_wait(int link, const struct vf_link_message *message, int wait_ms)
{
    uint64_t end_ms = now_ms() + (uint64_t)wait_ms;
    struct pollfd room = {.fd = link, .events = POLLOUT};
    int rc = vf_link_send(link, message);
    for (uint64_t at = now_ms(); rc == -EAGAIN && at < end_ms; at = now_ms())
        if (poll(&room, 1, (int)(end_ms - at)) == 1) /* a signal ends it early */
            rc = vf_link_send(link, message);
    return rc;
}

static void take_fds(struct msghdr *packet, struct vf_link_message *message)
{
    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(packet); cmsg != NULL;
         cmsg = CMSG_NXTHDR(packet, cmsg)) {
        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
            continue;
        size_t bytes = cmsg->cmsg_len - CMSG_LEN(0);
        assert(bytes <= sizeof(message->fds)); /* the kernel closes what has no room in `space` */
        memcpy(message->fds, CMSG_DATA(cmsg), bytes);
        message->n_fds = (uint32_t)(bytes / sizeof(int));
    }
}

static int is_whole(const struct msghdr *packet, const struct head *head, size_t bytes)
{
    return !(packet->msg_flags & (MSG_TRUNC | MSG_CTRUNC)) && bytes >= sizeof(*head) &&
           head->text_len == bytes - sizeof(*head);
}

int vf_link_receive(int link, struct vf_link_message *message)
{
    struct head head = {.type = VF_LINK_NONE};
    struct iovec parts[2] = {{&head, sizeof(head)}, {message->text, VF_LINK_TEXT_BYTES}};
    union control_space space;
    struct msghdr packet = {.msg_iov = parts,
                            .msg_iovlen = 2,
                            .msg_control = space.bytes,
                            .msg_controllen = sizeof(space.bytes)};
    ssize_t n;
    do
        n = recvmsg(link, &packet, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    message->n_fds = 0;
    take_fds(&packet, message);
    if (n == 0) { /* the end, or a packet without a byte: that may have descriptors */
        vf_link_message_deinit(message);
        return 0;
    }
    if (!is_whole(&packet, &head, (size_t)n)) {
        vf_link_message_deinit(message);
        return -EBADMSG;
    }
    message->type = head.type;
    message->text_len = head.text_len;
    message->text[head.text_len] = '\0';
    memcpy(message->args, head.args, sizeof(message->args));
    return 1;
}
