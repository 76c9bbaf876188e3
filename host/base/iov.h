/* Bytes in several pieces, as sendmsg() takes them. */
#ifndef BASE_IOV_H
#define BASE_IOV_H

#include <stddef.h>
#include <sys/uio.h>

static inline size_t pieces_length(const struct iovec *pieces, int count)
{
    size_t length = 0;

    for (int i = 0; i < count; i++)
        length += pieces[i].iov_len;
    return length;
}

#endif
