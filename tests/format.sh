#!/bin/sh
# Checks that all C and C++ of the tree has the format of .clang-format.
# Other versions of clang-format than the one below format differently: with
# them, and without any, nothing is checked, and a note says so.
set -eu
major=14 # Debian 12
cd "$(dirname "$0")/.."

formatter=
for candidate in "clang-format-$major" clang-format; do
    if "$candidate" --version 2>/dev/null | grep -q "version $major\."; then
        formatter=$candidate
        break
    fi
done
if [ -z "$formatter" ]; then
    echo "format: not checked: there is no clang-format $major" >&2
    exit 0
fi
# What is frozen keeps the format that it was released with.
find host sdk plugins tests examples -path tests/abi -prune -o \
    \( -name '*.c' -o -name '*.h' -o -name '*.cc' \) -print0 | sort -z |
    xargs -0 "$formatter" --dry-run -Werror
echo "format: checked with $("$formatter" --version)"
