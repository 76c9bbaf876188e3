#ifndef SLUICE_BENCH_HISTOGRAM_H
#define SLUICE_BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BITS 6  /* 64 steps an octave: off by less than 1.6 per cent */
#define HISTOGRAM_MAX  42 /* octaves */

/* Counts of values, in steps that grow with them. */
struct histogram {
    uint64_t total;
    uint64_t max; /* exact */
    uint64_t counts[HISTOGRAM_MAX << HISTOGRAM_BITS];
};

void histogram_add(struct histogram *histogram, uint64_t value);

/* The value that this share (0 to 1) of all are not above; 0 if there is none. */
double histogram_quantile(const struct histogram *histogram, double share);

#endif
