#!/bin/sh
# Take up a certificate that was renewed (cert-manager, a replaced Secret) while Nginx runs; started by entrypoint.sh.
#
# | variable            | default | meaning                         |
# | CERT_WATCH_SECONDS  | 30      | seconds between two looks at it |
set -u
here=$(cd "$(dirname "$0")" && pwd)
CERT_DIR=${CERT_DIR:-/certs}

state() { cat "$CERT_DIR/tls.crt" "$CERT_DIR/tls.key" | cksum; }

seen=$(state)
while sleep "${CERT_WATCH_SECONDS:-30}"; do
    now=$(state)
    if [ "$now" != "$seen" ]; then
        echo "nginx-server: the certificate in $CERT_DIR changed." >&2
        # Not taken up, such as a key that does not belong to it: Nginx keeps the old one, and the next change is tried again.
        sh "$here/reload.sh" || true
        seen=$now
    fi
done
