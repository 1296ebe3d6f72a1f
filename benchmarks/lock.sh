#!/bin/sh
# Pin benchmarks/requirements/*.in again, with hashes, into *.txt (needs uv). A peer that cannot be resolved keeps its pins.
cd "$(dirname "$0")/requirements" || exit 1
status=0
[ $# -gt 0 ] || set -- *.in
for file in "$@"; do
    uv pip compile --quiet --upgrade --python-version 3.11 --generate-hashes \
        --custom-compile-command benchmarks/lock.sh "$file" -o "${file%.in}.txt" || status=1
done
exit $status
