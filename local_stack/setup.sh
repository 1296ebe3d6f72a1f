#!/bin/sh
# Install what `make run` and `make test` need: a virtual environment with pinned packages and the command `tabular`,
# Nginx, openssl.
#
# Usage: local_stack/setup.sh local|dev|policy|kserve|mlflow      (a name of requirements/*.txt)
#
# It keeps what is installed already; a second call takes well under a second.
set -eu
cd "$(dirname "$0")/.."
wanted=$1
options=
case $wanted in
    policy | kserve) venv=.venv-$wanted ;; # their pins conflict with those of the stack
    mlflow) venv=.venv-$wanted options=--no-deps ;; # the list is complete; pip would add what the server does not need
    *) venv=.venv ;;
esac
PATH=$PATH:/usr/local/sbin:/usr/sbin

say() { echo "setup: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

find_python() {
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.14; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "Python 3.11 or newer is needed; install it (Debian 12, Ubuntu 24.04 and newer: sudo apt install python3), or name one: PYTHON=/path/to/python3 make run"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

# Debian starts a package's service after installation: Nginx would listen on port 80.
# shellcheck disable=SC2016 # the shell that root runs expands the variables
apt_script='
set -e
policy=/usr/sbin/policy-rc.d
if ! [ -e "$policy" ]; then
    trap "rm -f $policy" EXIT
    printf "#!/bin/sh\nexit 101\n" >"$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "$@" >/dev/null
'

apt_install() {
    if ! command -v apt-get >/dev/null; then
        fail "$* is missing; install it with your system's package manager (macOS: brew install nginx openssl), then try again"
    fi
    if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
        fail "$* is missing; as root, run: apt install $*"
    fi
    say "installing $* with apt"
    as_root sh -c "$apt_script" apt_install "$@" || fail "apt could not install it; run: sudo apt install $*"
}

missing=
command -v nginx >/dev/null || missing="$missing nginx-light"
command -v openssl >/dev/null || missing="$missing openssl"
if ! [ -x "$venv/bin/python" ]; then
    python=$(find_python)
    # Debian packages venv and ensurepip separately from Python.
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        missing="$missing $("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
fi
# shellcheck disable=SC2086 # a list of names
[ -z "$missing" ] || apt_install $missing

if ! [ -x "$venv/bin/python" ]; then
    say "making a virtual environment in $venv with $("$python" --version)"
    "$python" -m venv "$venv" || fail "could not make $venv; remove that folder and try again"
fi

# A linked environment belongs to another checkout, which keeps it up to date.
! [ -L "$venv" ] || exit 0

stamp=$venv/.installed-$wanted
state=$(cksum <"requirements/$wanted.txt")
if [ "$(cat "$stamp" 2>/dev/null)" != "$state" ]; then
    say "installing requirements/$wanted.txt (a minute or two the first time)"
    # shellcheck disable=SC2086 # an option or none
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes $options \
        -r "requirements/$wanted.txt" || fail "pip failed (see above); check the network and try again"
    echo "$state" >"$stamp"
fi

stamp=$venv/.installed-project
state=$(cksum <pyproject.toml)
if [ "$venv" = .venv ] && [ "$(cat "$stamp" 2>/dev/null)" != "$state" ]; then
    say "installing the command tabular"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation \
        --editable . || fail "pip failed (see above); remove $venv and try again"
    echo "$state" >"$stamp"
fi
