#!/bin/sh
# Reload Nginx after its certificate was renewed (cert-manager, a replaced Secret); entrypoint.sh starts this.
#
# | variable            | default | meaning                    |
# | CERT_WATCH_SECONDS  | 30      | seconds between two checks |
set -u
here=$(cd "$(dirname "$0")" && pwd)
CERT_DIR=${CERT_DIR:-/certs}

state() { cat "$CERT_DIR/tls.crt" "$CERT_DIR/tls.key" | cksum; }

seen=$(state)
while sleep "${CERT_WATCH_SECONDS:-30}"; do
    now=$(state)
    if [ "$now" != "$seen" ]; then
        echo "nginx-server: the certificate in $CERT_DIR changed." >&2
        # If it is invalid, such as with another certificate's key, Nginx keeps the old one until the next change.
        sh "$here/reload.sh" || true
        seen=$now
    fi
done
