#include "../case.h"
#include "base/networks.h"
#include "http/forwarded.h"
#include "http/proxy_header.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct sockaddr_storage address_of(const char *text)
{
    struct sockaddr_storage address = {.ss_family = AF_UNIX};

    if (strcmp(text, "unix") != 0)
        ck_assert_msg(network_read(text, strlen(text), &address), "%s", text);
    return address;
}

static const char *text_of(const struct sockaddr_storage *address)
{
    static char text[INET6_ADDRSTRLEN];

    network_format((const struct sockaddr *)address, text);
    return text;
}

/* ---- networks ---- */

static const struct {
    const char *networks, *address;
    bool is_in;
} members[] = {
    {"", "10.0.0.1", false},
    {"10.0.0.1", "10.0.0.1", true},
    {"10.0.0.1", "10.0.0.2", false},
    {"10.0.0.1", "::ffff:10.0.0.1", true},
    {"::ffff:10.0.0.1", "10.0.0.1", true},
    {"10.0.0.0/8", "10.255.255.255", true},
    {"10.0.0.0/8", "11.0.0.0", false},
    {"10.1.2.3/8", "10.9.9.9", true},
    {"192.168.4.0/22", "192.168.7.255", true},
    {"192.168.4.0/22", "192.168.8.0", false},
    {"0.0.0.0/0", "255.1.1.1", true},
    {"0.0.0.0/0", "::1", false},
    {"::/0", "2001:db8::1", true},
    {"::/0", "10.0.0.1", true},
    {"10.0.0.1/32", "10.0.0.1", true},
    {"2001:db8::/33", "2001:db8:7fff::1", true},
    {"2001:db8::/33", "2001:db8:8000::1", false},
    {"::1/128", "::1", true},
    {"10.0.0.1 , unix,\t::1", "::1", true},
    {"10.0.0.1", "unix", false},
    {"10.0.0.1, unix", "unix", true},
    {"::/0", "unix", false},
    {"unix", "10.0.0.1", false},
};

CASE_LOOP(an_address_is_in_a_network, 0, sizeof members / sizeof *members)
{
    struct networks *networks = networks_create(members[_i].networks);
    struct sockaddr_storage address = address_of(members[_i].address);

    ck_assert_ptr_nonnull(networks);
    ck_assert_int_eq(networks_contain(networks, (struct sockaddr *)&address), members[_i].is_in);
    networks_destroy(networks);
}

CASE(what_is_no_network)
{
    static const char *const bad[] = {"proxy",
                                      "10.0.0",
                                      "10.0.0.1/",
                                      "10.0.0.1/33",
                                      "10.0.0.1/-1",
                                      "10.0.0.1/8x",
                                      "::/129",
                                      "10.0.0.1/08x",
                                      "/8",
                                      "[::1]",
                                      "10.0.0.1:80",
                                      "unix:/x",
                                      "10.1.1.1/",
                                      "10.0.0.1/0008",
                                      "10.0.0.1,,x",
                                      "*",
                                      "::1%lo",
                                      "1.1.1.1/4294967304",
                                      "11111111111111111111111111111111111111111111111111111111/8"};

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(networks_create(bad[i]) == NULL, "%s", bad[i]);
}

static const struct {
    const char *text, *address; /* NULL: none */
} texts[] = {
    {"10.0.0.1", "10.0.0.1"},
    {"10.0.0.1:80", "10.0.0.1"},
    {"::1", "::1"},
    {"[::1]", "::1"},
    {"[::1]:65535", "::1"},
    {"[10.0.0.1]", "10.0.0.1"},
    {"::ffff:1.2.3.4", "1.2.3.4"},
    {"", NULL},
    {":", NULL},
    {":80", NULL},
    {"[", NULL},
    {"[]", NULL},
    {"[::1", NULL},
    {"[::1]x", NULL},
    {"[::1]:", NULL},
    {"10.0.0.1:", NULL},
    {"10.0.0.1:x", NULL},
    {"10.0.0.1:123456", NULL},
    {"unknown", NULL},
    {"_hidden", NULL},
    {"10.0.0.1 ", NULL},
    {"010.0.0.1", NULL},
    {"1.2.3", NULL},
    {"::1::", NULL},
};

CASE_LOOP(an_address_as_proxies_write_it, 0, sizeof texts / sizeof *texts)
{
    size_t length = strlen(texts[_i].text);
    char *exact = malloc(length + 1); /* a read beyond the text is seen */
    struct sockaddr_storage address;

    memcpy(exact, texts[_i].text, length);
    exact[length] = '9';
    if (texts[_i].address) {
        ck_assert(network_read(exact, length, &address));
        ck_assert_str_eq(text_of(&address), texts[_i].address);
    } else {
        ck_assert(!network_read(exact, length, &address));
    }
    free(exact);
}

/* ---- headers of proxies ---- */

static const struct {
    const char *values, *client;
} plain[] = {
    {NULL, "10.0.0.1"},
    {"", "10.0.0.1"},
    {"192.0.2.1", "192.0.2.1"},
    {"192.0.2.1:4711", "192.0.2.1"},
    {" 198.51.100.7 ,\t192.0.2.1 ", "192.0.2.1"}, /* the left one is the client's own word */
    {"192.0.2.1, 10.9.9.9", "192.0.2.1"},
    {"192.0.2.1,10.9.9.9,10.0.0.7", "192.0.2.1"},
    {"10.3.3.3, 10.2.2.2", "10.3.3.3"},
    {"192.0.2.1, nonsense", "10.0.0.1"},
    {"192.0.2.1, nonsense, 10.2.2.2", "10.2.2.2"},
    {"192.0.2.1,", "10.0.0.1"},
    {"[2001:db8::1]:80", "2001:db8::1"},
    {"2001:db8::1", "2001:db8::1"},
    {"\"192.0.2.1", "10.0.0.1"},
    {",,,,", "10.0.0.1"},
};

CASE_LOOP(the_rightmost_that_is_no_proxy_asks, 0, sizeof plain / sizeof *plain)
{
    struct networks *trusted = networks_create("10.0.0.0/8");
    struct sockaddr_storage client = address_of("10.0.0.1");

    forwarded_for(plain[_i].values, trusted, &client);
    ck_assert_str_eq(text_of(&client), plain[_i].client);
    networks_destroy(trusted);
}

static const struct {
    const char *values, *client;
} rfc[] = {
    {NULL, "10.0.0.1"},
    {"for=192.0.2.1", "192.0.2.1"},
    {"For=\"192.0.2.1:80\"", "192.0.2.1"},
    {"for=\"[2001:db8::1]:80\";proto=https", "2001:db8::1"},
    {"proto=http; for=192.0.2.1 ;by=10.0.0.1", "192.0.2.1"},
    {"for=198.51.100.7, for=192.0.2.1", "192.0.2.1"},
    {"for=192.0.2.1, for=10.9.9.9", "192.0.2.1"},
    {"for=192.0.2.1;host=\"a,for=198.51.100.7\"", "192.0.2.1"},
    {"for=unknown", "10.0.0.1"},
    {"for=_x, for=10.9.9.9", "10.9.9.9"},
    {"by=192.0.2.1", "10.0.0.1"},
    {"for=", "10.0.0.1"},
    {"for=\"", "10.0.0.1"},
    {"for=\"192.0.2.1", "10.0.0.1"},
    {"xfor=192.0.2.1", "10.0.0.1"},
    {";;,;", "10.0.0.1"},
};

CASE_LOOP(the_same_as_the_rfc_has_it, 0, sizeof rfc / sizeof *rfc)
{
    struct networks *trusted = networks_create("10.0.0.0/8");
    struct sockaddr_storage client = address_of("10.0.0.1");

    forwarded_by_rfc(rfc[_i].values, trusted, &client);
    ck_assert_str_eq(text_of(&client), rfc[_i].client);
    networks_destroy(trusted);
}

CASE(who_is_not_trusted_is_not_believed)
{
    struct networks *trusted = networks_create("10.0.0.0/8");
    struct sockaddr_storage client = address_of("192.0.2.9");

    forwarded_for("198.51.100.7", trusted, &client);
    ck_assert_str_eq(text_of(&client), "192.0.2.9");
    networks_destroy(trusted);
}

/* ---- the PROXY protocol ---- */

static const unsigned char signature[] = "\r\n\r\n\0\r\nQUIT\n";

static struct sockaddr_storage client;

/* Read a header in exactly its memory. */
static int read_header(int command, int family, size_t announced, const void *rest)
{
    size_t length = PROXY_HEADER_MIN + announced;
    unsigned char *header = malloc(length);
    int status;

    memcpy(header, signature, 12);
    header[12] = (unsigned char)command;
    header[13] = (unsigned char)family;
    header[14] = (unsigned char)(announced >> 8);
    header[15] = (unsigned char)announced;
    memcpy(header + PROXY_HEADER_MIN, rest, announced);
    client = address_of("10.0.0.1");
    if (proxy_header_length(header) < 0) {
        status = -EINVAL;
    } else {
        ck_assert_int_eq(proxy_header_length(header), (ssize_t)length);
        status = proxy_header_read(header, length, &client);
    }
    free(header);
    return status;
}

static const unsigned char four[12] = {192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x34, 0, 80};
static const unsigned char six[36] = {0x20, 1, 0x0d, 0xb8, [15] = 1};
static const unsigned char zero[PROXY_HEADER_MAX];

CASE(the_client_of_a_proxy)
{
    ck_assert_int_eq(read_header(0x21, 0x11, sizeof four, four), 0);
    ck_assert_str_eq(text_of(&client), "192.0.2.1");
    ck_assert_int_eq(ntohs(((struct sockaddr_in *)&client)->sin_port), 0x1234);
    ck_assert_int_eq(read_header(0x21, 0x21, sizeof six, six), 0);
    ck_assert_str_eq(text_of(&client), "2001:db8::1");
}

CASE(more_than_addresses_is_skipped)
{
    unsigned char more[200];

    memset(more, 0xff, sizeof more);
    memcpy(more, four, sizeof four);
    ck_assert_int_eq(read_header(0x21, 0x11, sizeof more, more), 0);
    ck_assert_str_eq(text_of(&client), "192.0.2.1");
}

CASE(a_proxy_for_itself_and_for_others)
{
    ck_assert_int_eq(read_header(0x20, 0x11, sizeof four, four), 0); /* LOCAL */
    ck_assert_str_eq(text_of(&client), "10.0.0.1");
    ck_assert_int_eq(read_header(0x20, 0, 0, zero), 0);
    ck_assert_int_eq(read_header(0x21, 0, 0, zero), 0);      /* UNSPEC */
    ck_assert_int_eq(read_header(0x21, 0x31, 216, zero), 0); /* unix */
    ck_assert_str_eq(text_of(&client), "10.0.0.1");
}

CASE(hostile_lengths)
{
    for (size_t length = 0; length < sizeof four; length++)
        ck_assert_int_eq(read_header(0x21, 0x11, length, zero), -EINVAL);
    for (size_t length = 0; length < sizeof six; length++)
        ck_assert_int_eq(read_header(0x21, 0x21, length, zero), -EINVAL);
    ck_assert_int_eq(read_header(0x21, 0x11, PROXY_HEADER_MAX - PROXY_HEADER_MIN, zero), 0);
    ck_assert_int_eq(read_header(0x21, 0x11, PROXY_HEADER_MAX - PROXY_HEADER_MIN + 1, zero),
                     -EINVAL);
}

CASE(what_is_no_header)
{
    unsigned char header[PROXY_HEADER_MIN] = {0};

    ck_assert_int_eq(proxy_header_length(header), -EINVAL);
    for (int command = 0; command < 256; command++) {
        bool known = command == 0x20 || command == 0x21;
        ck_assert_int_eq(read_header(command, 0, 0, zero), known ? 0 : -EINVAL);
    }
    for (size_t i = 0; i < 12; i++) {
        memcpy(header, signature, 12);
        header[12] = 0x21;
        header[i] ^= 1;
        ck_assert_int_eq(proxy_header_length(header), -EINVAL);
    }
    memcpy(header, "PROXY TCP4 1.1.1", sizeof header); /* version 1 */
    ck_assert_int_eq(proxy_header_length(header), -EINVAL);
}
