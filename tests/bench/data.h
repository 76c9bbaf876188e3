#ifndef SLUICE_BENCH_DATA_H
#define SLUICE_BENCH_DATA_H

#include <stdint.h>

/* The data of an event: its number, from 1, and when it was made, in µs. */
#define DATA_LENGTH   64
#define DATA_N_AT     6
#define DATA_N_DIGITS 7
#define DATA_T_AT     20
#define DATA_T_DIGITS 16
#define DATA_FORM     "{\"n\":\"0000000\",\"t\":\"0000000000000000\",\"pad\":\"xxxxxxxxxxxxxxxxx\"}"

_Static_assert(sizeof DATA_FORM - 1 == DATA_LENGTH, "the data of an event");

/* At most nine digits. */
static inline void data_put_digits(char *to, int digits, uint32_t number)
{
    for (; digits > 0; number /= 10)
        to[--digits] = (char)('0' + number % 10);
}

/* Fills in a copy of DATA_FORM. */
static inline void data_fill(char *data, uint32_t n, uint64_t sent_us)
{
    data_put_digits(data + DATA_N_AT, DATA_N_DIGITS, n);
    data_put_digits(data + DATA_T_AT, 8, (uint32_t)(sent_us / 100000000));
    data_put_digits(data + DATA_T_AT + 8, 8, (uint32_t)(sent_us % 100000000));
}

#endif
