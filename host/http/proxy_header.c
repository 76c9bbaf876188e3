#include "http/proxy_header.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

static const unsigned char signature[] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
                                          0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};

enum { VERSION_AND_COMMAND = 12, FAMILY = 13, LENGTH = 14, ADDRESSES = 16 };
enum { LOCAL = 0x20, PROXY = 0x21, TCP_4 = 0x11, TCP_6 = 0x21 };

ssize_t proxy_header_length(const unsigned char *data)
{
    size_t length = ADDRESSES + ((size_t)data[LENGTH] << 8 | data[LENGTH + 1]);

    if (memcmp(data, signature, sizeof signature) != 0 ||
        (data[VERSION_AND_COMMAND] != LOCAL && data[VERSION_AND_COMMAND] != PROXY) ||
        length > PROXY_HEADER_MAX)
        return -EINVAL;
    return (ssize_t)length;
}

int proxy_header_read(const unsigned char *data, size_t length, struct sockaddr_storage *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

    if (data[VERSION_AND_COMMAND] == LOCAL)
        return 0;
    if (data[FAMILY] == TCP_4) { /* both addresses, both ports */
        if (length < ADDRESSES + 4 + 4 + 2 + 2)
            return -EINVAL;
        *out = (struct sockaddr_storage){.ss_family = AF_INET};
        memcpy(&v4->sin_addr, data + ADDRESSES, sizeof v4->sin_addr);
        memcpy(&v4->sin_port, data + ADDRESSES + 8, sizeof v4->sin_port);
    } else if (data[FAMILY] == TCP_6) {
        if (length < ADDRESSES + 16 + 16 + 2 + 2)
            return -EINVAL;
        *out = (struct sockaddr_storage){.ss_family = AF_INET6};
        memcpy(&v6->sin6_addr, data + ADDRESSES, sizeof v6->sin6_addr);
        memcpy(&v6->sin6_port, data + ADDRESSES + 32, sizeof v6->sin6_port);
    }
    return 0;
}
