#!/bin/sh
# Reload the running Nginx, for a new certificate or another share of the canary.
#
#   nginx/reload.sh            render again with the current settings
#   nginx/reload.sh PERCENT    the same with another CANARY_PERCENT, until Nginx restarts
#
# Requests in progress complete. Before 1.27.4, Nginx closes idle connections at once, on which a client may be sending.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
RUN_DIR=${RUN_DIR:-/tmp/nginx}
PATH=$PATH:/usr/sbin:/usr/local/sbin

percent=${1:-}
[ -n "$percent" ] || ! [ -r "$RUN_DIR/canary-percent" ] || percent=$(cat "$RUN_DIR/canary-percent")
[ -z "$percent" ] || export CANARY_PERCENT="$percent"
config=$(sh "$here/render.sh")
nginx -e stderr -q -t -c "$config"
nginx -e stderr -c "$config" -s reload
[ -z "$percent" ] || echo "$percent" >"$RUN_DIR/canary-percent"
[ $# = 0 ] || rm -f "$RUN_DIR/canary-off"
