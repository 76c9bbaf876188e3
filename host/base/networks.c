#include "base/networks.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEPARATORS ", \t"

struct network {
    struct in6_addr address; /* IPv4 as mapped */
    unsigned bits;           /* of the prefix, 0 to 128 */
};

struct networks {
    bool has_unix;
    size_t count;
    struct network networks[];
};

/* False if the address is none of IP. */
static bool to_v6(const struct sockaddr *address, struct in6_addr *out)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;

    *out = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
    if (address->sa_family == AF_INET)
        memcpy(out->s6_addr + 12, &v4->sin_addr, sizeof v4->sin_addr);
    else if (address->sa_family == AF_INET6)
        *out = v6->sin6_addr;
    return address->sa_family == AF_INET || address->sa_family == AF_INET6;
}

static bool are_digits(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
    }
    return length > 0;
}

static bool network_parse(const char *text, size_t length, struct network *out)
{
    const char *slash = memchr(text, '/', length);
    size_t host = slash ? (size_t)(slash - text) : length;
    unsigned max, bits = 0;
    char name[INET6_ADDRSTRLEN];
    struct in_addr v4;

    if (host >= sizeof name)
        return false;
    memcpy(name, text, host);
    name[host] = '\0';
    *out = (struct network){.address.s6_addr = {[10] = 0xff, [11] = 0xff}};
    if (inet_pton(AF_INET, name, &v4) == 1) {
        memcpy(out->address.s6_addr + 12, &v4, sizeof v4);
        max = 32;
    } else if (inet_pton(AF_INET6, name, &out->address) == 1) {
        max = 128;
    } else {
        return false;
    }
    out->bits = 128;
    if (slash == NULL)
        return true;
    length -= host + 1;
    if (length > 3 || !are_digits(slash + 1, length))
        return false;
    for (size_t i = 0; i < length; i++)
        bits = bits * 10 + (unsigned)(slash[1 + i] - '0');
    out->bits = bits + 128 - max;
    return bits <= max;
}

struct networks *networks_create(const char *text)
{
    struct networks *networks =
        mem_alloc(sizeof *networks + (strlen(text) / 2 + 1) * sizeof *networks->networks);
    size_t length;

    for (;; text += length) {
        text += strspn(text, SEPARATORS);
        length = strcspn(text, SEPARATORS);
        if (length == 0)
            return networks;
        if (length == 4 && strncmp(text, "unix", 4) == 0)
            networks->has_unix = true;
        else if (network_parse(text, length, &networks->networks[networks->count]))
            networks->count++;
        else
            break;
    }
    networks_destroy(networks);
    return NULL;
}

void networks_destroy(struct networks *networks)
{
    free(networks);
}

static bool network_has(const struct network *network, const struct in6_addr *address)
{
    size_t bytes = network->bits / 8;
    unsigned rest = network->bits % 8;

    return memcmp(network->address.s6_addr, address->s6_addr, bytes) == 0 &&
           (rest == 0 ||
            (network->address.s6_addr[bytes] ^ address->s6_addr[bytes]) >> (8 - rest) == 0);
}

bool networks_contain(const struct networks *networks, const struct sockaddr *address)
{
    struct in6_addr v6;

    if (!to_v6(address, &v6))
        return networks->has_unix && address->sa_family == AF_UNIX;
    for (size_t i = 0; i < networks->count; i++) {
        if (network_has(&networks->networks[i], &v6))
            return true;
    }
    return false;
}

void network_format(const struct sockaddr *address, char out[INET6_ADDRSTRLEN])
{
    struct in6_addr v6;

    if (!to_v6(address, &v6))
        strcpy(out, "unix");
    else if (IN6_IS_ADDR_V4MAPPED(&v6))
        inet_ntop(AF_INET, v6.s6_addr + 12, out, INET6_ADDRSTRLEN);
    else
        inet_ntop(AF_INET6, &v6, out, INET6_ADDRSTRLEN);
}

bool network_read(const char *text, size_t length, struct sockaddr_storage *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    const char *end = NULL, *colon = memchr(text, ':', length);
    char name[INET6_ADDRSTRLEN];
    size_t host = length;

    if (length > 0 && *text == '[') {
        text++;
        length--;
        end = memchr(text, ']', length);
        if (end == NULL)
            return false;
        host = (size_t)(end - text);
        end++;
    } else if (colon && memchr(colon + 1, ':', length - (size_t)(colon + 1 - text)) == NULL) {
        host = (size_t)(colon - text);
        end = colon;
    }
    if (host >= sizeof name)
        return false;
    if (end && end < text + length) { /* a port */
        size_t port = length - (size_t)(end - text) - 1;
        if (*end != ':' || port > 5 || !are_digits(end + 1, port))
            return false;
    }
    memcpy(name, text, host);
    name[host] = '\0';
    *out = (struct sockaddr_storage){0};
    if (inet_pton(AF_INET, name, &v4->sin_addr) == 1)
        out->ss_family = AF_INET;
    else if (inet_pton(AF_INET6, name, &v6->sin6_addr) == 1)
        out->ss_family = AF_INET6;
    return out->ss_family != 0;
}
