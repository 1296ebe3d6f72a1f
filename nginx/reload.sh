#!/bin/sh
# Make the running Nginx take up a new certificate or another share.
#
#   nginx/reload.sh            render anew, with the settings as they are
#   nginx/reload.sh PERCENT    the same, with another CANARY_PERCENT until Nginx is started anew
#
# No request under way is lost. Before 1.27.4 Nginx closes idle connections at once, on which a client may just send.
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
