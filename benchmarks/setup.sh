#!/bin/sh
# Make the virtual environments of the peers and of the driver's tools, each with its own pinned packages.
#
# Usage: benchmarks/setup.sh [NAME...]      names of benchmarks/requirements/*.txt; without any, all of them
#
# What is there already is kept. Each name is independent: one that fails is reported, and the others continue.
set -u
cd "$(dirname "$0")/.." || exit 1
requirements=benchmarks/requirements
venvs=benchmarks/.venvs

say() { echo "bench setup: $*" >&2; }

find_python() {
    # The peers' pins are those of Python 3.11; MLServer 1.7 goes up to 3.12.
    for candidate in ${PYTHON:-} python3.11 python3 "$PWD/.venv/bin/python"; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    say "Python 3.11 is needed for the peers; install it, or name one: PYTHON=/path/to/python3.11 make bench"
    return 1
}

[ $# -gt 0 ] || set -- "$requirements"/*.txt
failed=
for name in "$@"; do
    name=$(basename "$name" .txt)
    file=$requirements/$name.txt
    venv=$venvs/$name
    if ! [ -r "$file" ]; then
        say "there is no $file"
        failed="$failed $name"
        continue
    fi
    state=$(cksum <"$file")
    [ "$(cat "$venv/.installed" 2>/dev/null)" != "$state" ] || continue
    python=$(find_python) || exit 1
    say "installing $file into $venv"
    if { [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"; } &&
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$file" 2>"$venv/pip.log"; then
        echo "$state" >"$venv/.installed"
    else
        tail -n 5 "$venv/pip.log" >&2
        say "$name could not be installed (see above); its rows will be missing"
        failed="$failed $name"
    fi
done
[ -z "$failed" ] || exit 1
