/*
 * fuzz.h - a target of fuzzing: a function that takes any bytes, and fails by abort().
 *
 * With --enable-fuzzers libFuzzer makes the bytes; otherwise replay.c gives it the files of
 * a folder. To add a target, add it to FUZZ_TARGETS, and a folder of its name to corpus/.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
