#!/bin/sh
# Render nginx.conf from the template, for the Nginx that is installed; print the path of the result.
#
#   nginx/render.sh          writes $RUN_DIR/nginx.conf and makes the folders it names
#
# | variable          | default            | meaning                                                            |
# | BIND_ADDRESS      | 0.0.0.0            | address to listen on; IPv6 without brackets                        |
# | HTTPS_PORT        | 8443               | port to listen on, TLS                                             |
# | HTTP_PORT         | 8080               | port to listen on, redirects to HTTPS                              |
# | PUBLIC_HTTPS_PORT | value of HTTPS_PORT | port that clients see, named by the redirect                      |
# | API_UPSTREAM      | flask-api:5000     | host:port of the API                                               |
# | UI_UPSTREAM       | streamlit-ui:8501  | host:port of Streamlit                                             |
# | UPSTREAM_RESOLVE  | off                | on: follow the names' addresses while running (Compose);           |
# |                   |                    | off: look them up once at start (processes, a Kubernetes Service). |
# |                   |                    | Before Nginx 1.27.3, on: visitors are spread over the replicas of  |
# |                   |                    | the UI that ran at start; later ones serve after a restart         |
# | CANARY_PERCENT    | 0                  | of a hundred predictions, so many go to CANARY_UPSTREAM             |
# | CANARY_UPSTREAM   | flask-api-canary:5000 | host:port of the challenger that answers them                    |
# | SHADOW_UPSTREAM   |                    | host:port of a challenger that gets a copy of each prediction's    |
# |                   |                    | request, and whose answer nobody gets                              |
# | EDGE_PORT         |                    | one more port, plain HTTP, for an edge that ends TLS before it     |
# | TRUSTED_PROXIES   |                    | networks (CIDR, separated by spaces) whose X-Forwarded-For is      |
# |                   |                    | believed                                                           |
# | CERT_DIR          | /certs             | folder with tls.crt and tls.key                                    |
# | MAX_BODY_BYTES    | 4194304            | largest request body, but for files; must equal the API's          |
# | MAX_FILE_BYTES    | 1073741824         | largest CSV, Arrow or Parquet file; must equal the API's           |
# | STREAMLIT_SERVER_MAX_UPLOAD_SIZE | 65  | largest upload to a page of the UI, in MB; must equal Streamlit's  |
# | STREAMLIT_SERVER_ALLOWED_HOSTS | *     | names that the UI is opened by, as for Streamlit, or * for any     |
# | RATE_LIMIT        |                    | requests a second to the API; for each API key if API_KEYS or      |
# |                   |                    | API_KEYS_FILE is set as well, else for each address                |
# | RATE_BURST        | value of RATE_LIMIT | requests above that rate that are let through at once             |
# | CONNECTION_LIMIT  |                    | requests to the API at the same moment, for each address           |
# | NGINX_WORKERS     | 2                  | worker processes (auto counts the node's cores, not the limit's)   |
# | RUN_DIR           | /tmp/nginx         | writable folder for nginx.conf and the pid file                    |
# | SPOOL_DIR         | value of RUN_DIR   | folder for bodies under way, on a disk: up to 8 GiB                |
set -eu

here=$(cd "$(dirname "$0")" && pwd)
# Debian keeps nginx where a user's PATH does not look.
PATH=$PATH:/usr/sbin:/usr/local/sbin

fail() {
    echo "nginx/render.sh: $*" >&2
    exit 1
}

port() { # NAME VALUE
    case $2 in
        '' | *[!0-9]* | ??????*) fail "$1 is '$2', but must be a port: a number from 1 to 65535." ;;
    esac
    { [ "$2" -ge 1 ] && [ "$2" -le 65535 ]; } || fail "$1 is '$2', but must be a port: a number from 1 to 65535."
}

count() { # NAME VALUE
    case $2 in
        '' | 0* | *[!0-9]*) fail "$1 is '$2', but must be a whole number above 0." ;;
    esac
}

upstream() { # NAME VALUE
    case $2 in
        *[!][A-Za-z0-9.:_-]* | :* | *: | *:*[!0-9]) fail "$1 is '$2', but must be host:port, like flask-api:5000." ;;
        *:*) port "the port of $1" "${2##*:}" ;;
        *) fail "$1 is '$2', but must be host:port, like flask-api:5000." ;;
    esac
}

folder() { # NAME VALUE
    # These characters would end the quotes or name a variable in nginx.conf.
    case $2 in
        *[\"\'\\\;\$\{\}]* | *'
'*) fail "$1 is '$2', but Nginx cannot use a path with quotes, backslashes, \$, ;, { or }." ;;
        /*) ;;
        *) fail "$1 is '$2', but must be an absolute path." ;;
    esac
}

BIND_ADDRESS=${BIND_ADDRESS:-0.0.0.0}
HTTPS_PORT=${HTTPS_PORT:-8443}
HTTP_PORT=${HTTP_PORT:-8080}
PUBLIC_HTTPS_PORT=${PUBLIC_HTTPS_PORT:-$HTTPS_PORT}
API_UPSTREAM=${API_UPSTREAM:-flask-api:5000}
UI_UPSTREAM=${UI_UPSTREAM:-streamlit-ui:8501}
UPSTREAM_RESOLVE=${UPSTREAM_RESOLVE:-off}
CANARY_PERCENT=${CANARY_PERCENT:-0}
CANARY_UPSTREAM=${CANARY_UPSTREAM:-flask-api-canary:5000}
SHADOW_UPSTREAM=${SHADOW_UPSTREAM:-}
EDGE_PORT=${EDGE_PORT:-}
TRUSTED_PROXIES=${TRUSTED_PROXIES:-}
CERT_DIR=${CERT_DIR:-/certs}
MAX_BODY_BYTES=${MAX_BODY_BYTES:-4194304}
MAX_FILE_BYTES=${MAX_FILE_BYTES:-1073741824}
STREAMLIT_SERVER_MAX_UPLOAD_SIZE=${STREAMLIT_SERVER_MAX_UPLOAD_SIZE:-65}
STREAMLIT_SERVER_ALLOWED_HOSTS=${STREAMLIT_SERVER_ALLOWED_HOSTS:-*}
RATE_LIMIT=${RATE_LIMIT:-}
RATE_BURST=${RATE_BURST:-$RATE_LIMIT}
CONNECTION_LIMIT=${CONNECTION_LIMIT:-}
NGINX_WORKERS=${NGINX_WORKERS:-2}
RUN_DIR=${RUN_DIR:-/tmp/nginx}
SPOOL_DIR=${SPOOL_DIR:-$RUN_DIR}

case $BIND_ADDRESS in
    *[!A-Za-z0-9.:-]*) fail "BIND_ADDRESS is '$BIND_ADDRESS', but must be an address such as 127.0.0.1, 0.0.0.0 or ::1." ;;
    *:*) listen_address="[$BIND_ADDRESS]" ;;
    *) listen_address=$BIND_ADDRESS ;;
esac
port HTTPS_PORT "$HTTPS_PORT"
port HTTP_PORT "$HTTP_PORT"
port PUBLIC_HTTPS_PORT "$PUBLIC_HTTPS_PORT"
[ "$HTTPS_PORT" != "$HTTP_PORT" ] || fail "HTTPS_PORT and HTTP_PORT are both $HTTP_PORT, but must differ."
upstream API_UPSTREAM "$API_UPSTREAM"
upstream UI_UPSTREAM "$UI_UPSTREAM"
upstream CANARY_UPSTREAM "$CANARY_UPSTREAM"
case $CANARY_PERCENT in
    0 | [1-9] | [1-9][0-9] | 100) ;;
    *) fail "CANARY_PERCENT is '$CANARY_PERCENT', but must be a whole number from 0 to 100." ;;
esac
when_canary=no drawn_track=champion
# shellcheck disable=SC2016 # a variable of Nginx
[ "$CANARY_PERCENT" = 0 ] || when_canary=yes drawn_track='$drawn_track$canary_off'
when_shadow=no
[ -z "$SHADOW_UPSTREAM" ] || { upstream SHADOW_UPSTREAM "$SHADOW_UPSTREAM" && when_shadow=yes; }
when_edge=no
if [ -n "$EDGE_PORT" ]; then
    port EDGE_PORT "$EDGE_PORT"
    [ "$EDGE_PORT" != "$HTTPS_PORT" ] && [ "$EDGE_PORT" != "$HTTP_PORT" ] ||
        fail "EDGE_PORT is $EDGE_PORT, but must differ from HTTPS_PORT and HTTP_PORT."
    when_edge=yes
fi
when_trusted=no trusted=''
case $TRUSTED_PROXIES in
    '') ;;
    *[!0-9A-Fa-f.:/\ ]*) fail "TRUSTED_PROXIES is '$TRUSTED_PROXIES', but must be networks such as 10.0.0.0/8, separated by spaces." ;;
    *)
        when_trusted=yes
        for network in $TRUSTED_PROXIES; do trusted="$trusted set_real_ip_from $network;"; done
        ;;
esac
count MAX_BODY_BYTES "$MAX_BODY_BYTES"
count MAX_FILE_BYTES "$MAX_FILE_BYTES"
count STREAMLIT_SERVER_MAX_UPLOAD_SIZE "$STREAMLIT_SERVER_MAX_UPLOAD_SIZE"
upload_bytes=$((STREAMLIT_SERVER_MAX_UPLOAD_SIZE * 1048576))
when_ui_hosts=yes ui_hosts=''
# A name may be *.example.com, which must not become the files of a folder.
set -f
for name in $STREAMLIT_SERVER_ALLOWED_HOSTS; do
    case $name in
        '*') when_ui_hosts=no ;;
        *[!A-Za-z0-9.:*_-]*) fail "STREAMLIT_SERVER_ALLOWED_HOSTS has '$name', but must be names such as localhost, 192.0.2.1 or *.example.com." ;;
        *:*) ui_hosts="$ui_hosts [$name] '';" ;;
        *) ui_hosts="$ui_hosts $name '';" ;;
    esac
done
set +f
when_rate=no when_keys=no when_connections=no burst=''
if [ -n "$RATE_LIMIT" ]; then
    count RATE_LIMIT "$RATE_LIMIT"
    when_rate=yes
    # Where nobody checks keys, made-up ones would each have a limit of their own.
    [ -z "${API_KEYS:-}${API_KEYS_FILE:-}" ] || when_keys=yes
    # Without a burst nothing may come sooner than the rate's interval, not even a second request.
    [ "$RATE_BURST" = 0 ] || { count RATE_BURST "$RATE_BURST" && burst=" burst=$RATE_BURST nodelay"; }
elif [ -n "$RATE_BURST" ]; then
    fail "RATE_BURST is '$RATE_BURST', but there is no RATE_LIMIT: set that as well."
fi
if [ -n "$CONNECTION_LIMIT" ]; then
    count CONNECTION_LIMIT "$CONNECTION_LIMIT"
    when_connections=yes
fi
[ "$NGINX_WORKERS" = auto ] || count NGINX_WORKERS "$NGINX_WORKERS"
folder CERT_DIR "$CERT_DIR"
folder RUN_DIR "$RUN_DIR"
folder SPOOL_DIR "$SPOOL_DIR"

for file in tls.crt tls.key; do
    [ -r "$CERT_DIR/$file" ] ||
        fail "there is no readable $CERT_DIR/$file: put a certificate there, or make one with nginx/make-certs.sh $CERT_DIR."
done

command -v nginx >/dev/null || fail "nginx is not installed: apt install nginx-light, or brew install nginx."
version=$(nginx -v 2>&1 | sed -n 's|.*/\([0-9][0-9]*\.[0-9][0-9]*\.[0-9][0-9]*\).*|\1|p')
[ -n "$version" ] || fail "'nginx -v' names no version: $(nginx -v 2>&1)."

newer() { # is Nginx at least $1.$2.$3?
    echo "$version" | {
        IFS=. read -r major minor patch
        [ $((major * 1000000 + minor * 1000 + patch)) -ge $(($1 * 1000000 + $2 * 1000 + $3)) ]
    }
}

redirect_port=:$PUBLIC_HTTPS_PORT
[ "$PUBLIC_HTTPS_PORT" != 443 ] || redirect_port=

# 1.25.1 warns about the old place of http2, older ones do not know the new one.
listen_http2=' http2' when_http2_on=no
if newer 1 25 1; then
    listen_http2='' when_http2_on=yes
fi

when_ui_group=yes when_ui_addresses=no ui_servers=''
when_group=yes when_resolve=no when_zone=no resolve='' nameservers=''
api_target=flask_api api_second=flask_api_second ui_target=streamlit_ui
canary_target=flask_api_canary shadow_target=flask_api_shadow
# Keepalive to the upstream wants an empty Connection header.
idle_connection=''
case $UPSTREAM_RESOLVE in
    off) ;;
    on)
        when_resolve=yes
        # A scoped address (fe80::1%eth0) is one that Nginx cannot use.
        nameservers=$(awk '$1 == "nameserver" && $2 !~ /%/ { printf "%s%s", sep, ($2 ~ /:/ ? "[" $2 "]" : $2); sep = " " }' /etc/resolv.conf 2>/dev/null) || true
        [ -n "$nameservers" ] || fail "UPSTREAM_RESOLVE is on, but /etc/resolv.conf names no nameserver: set UPSTREAM_RESOLVE=off."
        # From 1.27.3 a group can follow its names. An older Nginx resolves for each request and keeps no connection;
        # the upstream is then told so, that it closes first and the TIME_WAIT is not ours.
        if newer 1 27 3; then
            when_zone=yes resolve=' resolve'
        else
            when_group=no api_target=$API_UPSTREAM api_second=$API_UPSTREAM idle_connection=close
            canary_target=$CANARY_UPSTREAM shadow_target=$SHADOW_UPSTREAM
            # Resolved for each request, a session would meet another replica with every upload.
            for address in $(getent ahostsv4 "${UI_UPSTREAM%:*}" 2>/dev/null | awk '{ print $1 }' | sort -u); do
                ui_servers="$ui_servers server $address:${UI_UPSTREAM##*:};" when_ui_addresses=yes
            done
            [ -n "$ui_servers" ] || { when_ui_group=no && ui_target=$UI_UPSTREAM; }
        fi
        ;;
    *) fail "UPSTREAM_RESOLVE is '$UPSTREAM_RESOLVE', but must be on or off." ;;
esac

[ -n "$ui_servers" ] || ui_servers="server $UI_UPSTREAM$resolve;"
when_ui_named=yes
[ $when_ui_addresses = no ] || when_ui_named=no

when_static=no
[ "$UPSTREAM_RESOLVE" = on ] || when_static=yes

when_min_keepalive=no
if newer 1 27 4; then
    when_min_keepalive=yes
fi

when_keepalive_time=no
if newer 1 19 10; then
    when_keepalive_time=yes
fi

when_root=no run_user=''
if [ "$(id -u)" = 0 ]; then
    when_root=yes run_user="$(id -un) $(id -gn)"
fi

mkdir -p "$RUN_DIR/unused" || fail "RUN_DIR $RUN_DIR cannot be written: set RUN_DIR to a folder that can."
mkdir -p "$SPOOL_DIR/body" "$SPOOL_DIR/proxy" ||
    fail "SPOOL_DIR $SPOOL_DIR cannot be written: set SPOOL_DIR to a folder that can."

# shellcheck disable=SC2016 # ${NAME} is a mark of the template, not a variable
value() { # sed command that fills mark $1 with $2
    printf 's|\\${%s}|%s|g\n' "$1" "$(printf %s "$2" | sed 's/[&\\|]/\\&/g')"
}
# shellcheck disable=SC2016
when() { # sed command that keeps or drops the lines of mark $1
    if [ "$2" = yes ]; then
        printf 's|^\\${WHEN_%s}||\n' "$1"
    else
        printf '/^\\${WHEN_%s}/d\n' "$1"
    fi
}
sed "$(
    # These first: a line may have one of them and one of those below.
    when CANARY $when_canary
    when SHADOW $when_shadow
    when ROOT $when_root
    when RESOLVE $when_resolve
    when GROUP $when_group
    when ZONE $when_zone
    when UI_GROUP $when_ui_group
    when UI_ADDRESSES $when_ui_addresses
    when UI_NAMED $when_ui_named
    when UI_HOSTS $when_ui_hosts
    when HTTP2_ON $when_http2_on
    when STATIC $when_static
    when KEEPALIVE_TIME $when_keepalive_time
    when EDGE $when_edge
    when TRUSTED $when_trusted
    when MIN_KEEPALIVE $when_min_keepalive
    when RATE $when_rate
    when KEYS $when_keys
    when CONNECTIONS $when_connections
    value RUN_USER "$run_user"
    value RUN_DIR "$RUN_DIR"
    value CERT_DIR "$CERT_DIR"
    value NGINX_WORKERS "$NGINX_WORKERS"
    value MAX_BODY_BYTES "$MAX_BODY_BYTES"
    value MAX_FILE_BYTES "$MAX_FILE_BYTES"
    value UPLOAD_BYTES "$upload_bytes"
    value SPOOL_DIR "$SPOOL_DIR"
    value RATE_LIMIT "$RATE_LIMIT"
    value BURST "$burst"
    value CONNECTION_LIMIT "$CONNECTION_LIMIT"
    value LISTEN_ADDRESS "$listen_address"
    value HTTP_PORT "$HTTP_PORT"
    value HTTPS_PORT "$HTTPS_PORT"
    value REDIRECT_PORT "$redirect_port"
    value LISTEN_HTTP2 "$listen_http2"
    value API_UPSTREAM "$API_UPSTREAM"
    value UI_UPSTREAM "$UI_UPSTREAM"
    value CANARY_PERCENT "$CANARY_PERCENT"
    value DRAWN_TRACK "$drawn_track"
    value CANARY_UPSTREAM "$CANARY_UPSTREAM"
    value CANARY_TARGET "$canary_target"
    value SHADOW_UPSTREAM "$SHADOW_UPSTREAM"
    value SHADOW_TARGET "$shadow_target"
    value EDGE_PORT "$EDGE_PORT"
    value TRUSTED "${trusted# }"
    value API_TARGET "$api_target"
    value API_SECOND "$api_second"
    value UI_TARGET "$ui_target"
    value UI_SERVERS "${ui_servers# }"
    value UI_HOSTS "${ui_hosts# }"
    value RESOLVE "$resolve"
    value NAMESERVERS "$nameservers"
    value IDLE_CONNECTION "$idle_connection"
)" "$here/nginx.conf.template" >"$RUN_DIR/nginx.conf.new"
# shellcheck disable=SC2016 # the mark, not a variable
if grep -v '^ *#' "$RUN_DIR/nginx.conf.new" | grep '\${' >&2; then
    fail "the template has a mark that render.sh does not know (above)."
fi
mv "$RUN_DIR/nginx.conf.new" "$RUN_DIR/nginx.conf"
echo "$RUN_DIR/nginx.conf"
