#!/bin/sh
# Start Nginx in its container: make certificates, render the configuration, and run Nginx as process 1.
#
# | variable   | meaning                                                                              |
# | MAKE_CERTS | 1: make certificates in CERT_DIR if they are missing or about to expire (Compose)    |
# | CERT_NAMES | more host names and addresses for the certificate, separated by spaces               |
# Everything else: see render.sh.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
CERT_DIR=${CERT_DIR:-/certs}

if [ "${MAKE_CERTS:-0}" = 1 ]; then
    # Split on purpose; set -f prevents the expansion of *.example.com.
    # shellcheck disable=SC2086
    (set -f && exec sh "$here/make-certs.sh" "$CERT_DIR" ${CERT_NAMES:-})
    echo "nginx-server: to trust the authority, copy it out: docker cp $(hostname):$CERT_DIR/ca.crt ." >&2
elif ! [ -r "$CERT_DIR/tls.crt" ] || ! [ -r "$CERT_DIR/tls.key" ]; then
    echo "nginx-server: $CERT_DIR has no readable tls.crt and tls.key: mount a certificate there (Kubernetes: the Secret nginx-certs), or set MAKE_CERTS=1 and mount a writable volume." >&2
    exit 1
fi

# Files of a killed container, in a volume that outlives it.
RUN_DIR=${RUN_DIR:-/tmp/nginx}
rm -f "$RUN_DIR/shadow.sock" "$RUN_DIR/draining" "$RUN_DIR/canary-off" "$RUN_DIR/canary-percent"

config=$(sh "$here/render.sh")
sh "$here/watch-certs.sh" &
# -e: Nginx otherwise first opens its built-in log path, which a read-only root file system forbids.
exec nginx -e stderr -c "$config" -g 'daemon off;'
