#include "histogram.h"

#include <stddef.h>

#define STEPS (UINT64_C(1) << HISTOGRAM_BITS)

/* Values below STEPS have a place of their own, each octave above them STEPS places. */
static size_t place(uint64_t value)
{
    unsigned int shift;

    if (value < STEPS)
        return value;
    shift = 63 - (unsigned int)__builtin_clzll(value) - HISTOGRAM_BITS;
    return ((size_t)shift << HISTOGRAM_BITS) + (value >> shift);
}

/* The middle of a place's values. */
static double middle(size_t at)
{
    size_t shift;

    if (at < STEPS)
        return (double)at;
    shift = (at >> HISTOGRAM_BITS) - 1;
    return (double)((at - (shift << HISTOGRAM_BITS)) << shift) +
           ((double)(UINT64_C(1) << shift) - 1) / 2;
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
    size_t at = place(value), last = sizeof histogram->counts / sizeof *histogram->counts - 1;

    histogram->counts[at < last ? at : last]++;
    histogram->total++;
    if (value > histogram->max)
        histogram->max = value;
}

double histogram_quantile(const struct histogram *histogram, double share)
{
    double wanted = share * (double)histogram->total, seen = 0;
    size_t at = 0, places = sizeof histogram->counts / sizeof *histogram->counts;

    for (; at < places; at++) {
        seen += (double)histogram->counts[at];
        if (histogram->counts[at] > 0 && seen >= wanted)
            break;
    }
    return at == places || middle(at) > (double)histogram->max ? (double)histogram->max
                                                               : middle(at);
}
