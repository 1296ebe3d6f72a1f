#!/bin/sh
# Render nginx.conf and conf.d/ from the templates, for the installed Nginx; print the path of nginx.conf.
#
#   nginx/render.sh          writes to $RUN_DIR and makes the folders that Nginx needs
#
# The environment sets the variables below; by -a, the templates find them there.
# shellcheck disable=SC2034
set -aeu

here=$(cd "$(dirname "$0")" && pwd)
# Debian installs nginx outside a user's PATH.
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
    # These characters would end the quotes, name a variable or make a pattern in nginx.conf.
    case $2 in
        *[\"\'\\\;\$\{\}*?[]* | *'
'*) fail "$1 is '$2', but Nginx cannot use a path with quotes, backslashes, \$, ;, {, }, *, ? or [." ;;
        /*) ;;
        *) fail "$1 is '$2', but must be an absolute path." ;;
    esac
}

BIND_ADDRESS=${BIND_ADDRESS:-0.0.0.0}          # address to listen on; IPv6 without brackets
HTTPS_PORT=${HTTPS_PORT:-8443}                 # port for TLS
HTTP_PORT=${HTTP_PORT:-8080}                   # port that redirects to HTTPS
PUBLIC_HTTPS_PORT=${PUBLIC_HTTPS_PORT:-$HTTPS_PORT} # port that clients use, for the redirect
API_UPSTREAM=${API_UPSTREAM:-flask-api:5000}   # host:port of the API
UI_UPSTREAM=${UI_UPSTREAM:-streamlit-ui:8501}  # host:port of Streamlit
# on: follow the addresses of the names while running (Compose); off: resolve them once at start (processes, a Kubernetes
# Service). Before Nginx 1.27.3, on: visitors are spread over the replicas of the UI that ran at start; later ones serve
# after a restart.
UPSTREAM_RESOLVE=${UPSTREAM_RESOLVE:-off}
CANARY_PERCENT=${CANARY_PERCENT:-0}            # percentage of predictions for CANARY_UPSTREAM
CANARY_UPSTREAM=${CANARY_UPSTREAM:-flask-api-canary:5000} # host:port of the challenger that answers them
# host:port of a challenger that gets a copy of each prediction request, and whose answers are discarded
SHADOW_UPSTREAM=${SHADOW_UPSTREAM:-}
EDGE_PORT=${EDGE_PORT:-}                       # additional port, plain HTTP, for an edge that terminates TLS
TRUSTED_PROXIES=${TRUSTED_PROXIES:-}           # networks (CIDR, separated by spaces) whose X-Forwarded-For is trusted
CERT_DIR=${CERT_DIR:-/certs}                   # folder with tls.crt and tls.key
MAX_BODY_BYTES=${MAX_BODY_BYTES:-4194304}      # largest request body, except files; must equal the API's
MAX_FILE_BYTES=${MAX_FILE_BYTES:-1073741824}   # largest CSV, Arrow or Parquet file; must equal the API's
# largest upload to a page of the UI in MB, and host names of the UI (* for any); both must equal Streamlit's
STREAMLIT_SERVER_MAX_UPLOAD_SIZE=${STREAMLIT_SERVER_MAX_UPLOAD_SIZE:-65}
STREAMLIT_SERVER_ALLOWED_HOSTS=${STREAMLIT_SERVER_ALLOWED_HOSTS:-*}
# requests a second to the API; for each API key if API_KEYS or API_KEYS_FILE is set as well, else for each address
RATE_LIMIT=${RATE_LIMIT:-}
RATE_BURST=${RATE_BURST:-$RATE_LIMIT}          # requests above that rate that pass without delay
CONNECTION_LIMIT=${CONNECTION_LIMIT:-}         # concurrent requests to the API, for each address
NGINX_WORKERS=${NGINX_WORKERS:-2}              # worker processes (auto counts the node's cores, not the CPU limit)
RUN_DIR=${RUN_DIR:-/tmp/nginx}                 # writable folder for the configuration and the pid file
SPOOL_DIR=${SPOOL_DIR:-$RUN_DIR}               # folder for request bodies, on a disk: up to 8 GiB

# These features are always on; the code below adds others.
features=problems

case $BIND_ADDRESS in
    *[!A-Za-z0-9.:-]*) fail "BIND_ADDRESS is '$BIND_ADDRESS', but must be an address such as 127.0.0.1, 0.0.0.0 or ::1." ;;
    *:*) LISTEN_ADDRESS="[$BIND_ADDRESS]" ;;
    *) LISTEN_ADDRESS=$BIND_ADDRESS ;;
esac
port HTTPS_PORT "$HTTPS_PORT"
port HTTP_PORT "$HTTP_PORT"
port PUBLIC_HTTPS_PORT "$PUBLIC_HTTPS_PORT"
[ "$HTTPS_PORT" != "$HTTP_PORT" ] || fail "HTTPS_PORT and HTTP_PORT are both $HTTP_PORT, but must differ."
REDIRECT_PORT=:$PUBLIC_HTTPS_PORT
[ "$PUBLIC_HTTPS_PORT" != 443 ] || REDIRECT_PORT=
upstream API_UPSTREAM "$API_UPSTREAM"
upstream UI_UPSTREAM "$UI_UPSTREAM"
upstream CANARY_UPSTREAM "$CANARY_UPSTREAM"
case $CANARY_PERCENT in
    0) ;;
    [1-9] | [1-9][0-9] | 100) features="$features canary" ;;
    *) fail "CANARY_PERCENT is '$CANARY_PERCENT', but must be a whole number from 0 to 100." ;;
esac
if [ -n "$SHADOW_UPSTREAM" ]; then
    upstream SHADOW_UPSTREAM "$SHADOW_UPSTREAM"
    features="$features shadow"
fi
if [ -n "$EDGE_PORT" ]; then
    port EDGE_PORT "$EDGE_PORT"
    [ "$EDGE_PORT" != "$HTTPS_PORT" ] && [ "$EDGE_PORT" != "$HTTP_PORT" ] ||
        fail "EDGE_PORT is $EDGE_PORT, but must differ from HTTPS_PORT and HTTP_PORT."
    features="$features edge"
fi
case $TRUSTED_PROXIES in
    '') ;;
    *[!0-9A-Fa-f.:/\ ]*) fail "TRUSTED_PROXIES is '$TRUSTED_PROXIES', but must be networks such as 10.0.0.0/8, separated by spaces." ;;
    *)
        features="$features trusted-proxies" TRUSTED_NETWORKS=''
        for network in $TRUSTED_PROXIES; do TRUSTED_NETWORKS="$TRUSTED_NETWORKS set_real_ip_from $network;"; done
        ;;
esac
count MAX_BODY_BYTES "$MAX_BODY_BYTES"
count MAX_FILE_BYTES "$MAX_FILE_BYTES"
count STREAMLIT_SERVER_MAX_UPLOAD_SIZE "$STREAMLIT_SERVER_MAX_UPLOAD_SIZE"
UPLOAD_BYTES=$((STREAMLIT_SERVER_MAX_UPLOAD_SIZE * 1048576))
UI_HOSTS='' other_hosts=1
# A name may be *.example.com, which the shell must not expand.
set -f
for name in $STREAMLIT_SERVER_ALLOWED_HOSTS; do
    case $name in
        '*') other_hosts="''" ;;
        *[!A-Za-z0-9.:*_-]*) fail "STREAMLIT_SERVER_ALLOWED_HOSTS has '$name', but must be names such as localhost, 192.0.2.1 or *.example.com." ;;
        *:*) UI_HOSTS="$UI_HOSTS [$name] '';" ;;
        *) UI_HOSTS="$UI_HOSTS $name '';" ;;
    esac
done
set +f
UI_HOSTS="$UI_HOSTS default $other_hosts;"
if [ -n "$RATE_LIMIT" ]; then
    count RATE_LIMIT "$RATE_LIMIT"
    features="$features rate-limit" KEY_HEADERS='' BURST=''
    # shellcheck disable=SC2016 # variables of Nginx
    [ -z "${API_KEYS:-}${API_KEYS_FILE:-}" ] || KEY_HEADERS='$http_x_api_key|$http_authorization'
    # Without a burst, Nginx rejects every request within the interval of the rate, even a second one.
    [ "$RATE_BURST" = 0 ] || { count RATE_BURST "$RATE_BURST" && BURST=" burst=$RATE_BURST nodelay"; }
elif [ -n "$RATE_BURST" ]; then
    fail "RATE_BURST is '$RATE_BURST', but there is no RATE_LIMIT: set that as well."
fi
if [ -n "$CONNECTION_LIMIT" ]; then
    count CONNECTION_LIMIT "$CONNECTION_LIMIT"
    features="$features connection-limit"
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

since() { # MAJOR MINOR PATCH: is the installed Nginx at least that version?
    echo "$version" | {
        IFS=. read -r major minor patch
        [ $((major * 1000000 + minor * 1000 + patch)) -ge $(($1 * 1000000 + $2 * 1000 + $3)) ]
    }
}

unknown_directives='' LISTEN_OPTIONS=ssl
since 1 19 10 || unknown_directives="$unknown_directives keepalive_time"
since 1 25 1 || unknown_directives="$unknown_directives http2" LISTEN_OPTIONS='ssl http2'
since 1 27 4 || unknown_directives="$unknown_directives keepalive_min_timeout"
# Nginx warns about `user` when it is not started by root.
RUN_USER="$(id -un) $(id -gn)"
[ "$(id -u)" = 0 ] || unknown_directives="$unknown_directives user"

# once: groups with the addresses of Nginx's start; follow: groups that follow their names, from 1.27.3; each: no groups,
# since an older Nginx follows a name only by resolving it for each request.
resolving=once
case $UPSTREAM_RESOLVE in
    off) ;;
    on)
        features="$features resolver" resolving=each
        # Nginx cannot use a scoped address (fe80::1%eth0).
        NAMESERVERS=$(awk '$1 == "nameserver" && $2 !~ /%/ { printf "%s%s", sep, ($2 ~ /:/ ? "[" $2 "]" : $2); sep = " " }' /etc/resolv.conf 2>/dev/null) || true
        [ -n "$NAMESERVERS" ] || fail "UPSTREAM_RESOLVE is on, but /etc/resolv.conf names no nameserver: set UPSTREAM_RESOLVE=off."
        ! since 1 27 3 || resolving=follow
        ;;
    *) fail "UPSTREAM_RESOLVE is '$UPSTREAM_RESOLVE', but must be on or off." ;;
esac

servers() { # GROUP TIMES SERVER [OPTION]: the directives of an upstream group; repeated addresses allow further tries
    if [ $resolving = follow ]; then
        # The workers share a zone, and with it the addresses.
        echo "zone $1 256k; server $3 resolve${4:-};"
    else
        yes "server $3${4:-};" | head -n "$2" | tr '\n' ' '
    fi
}

# Four and eight: a Service may offer the same dying pod again. Of two pods one may have died, and then every second
# connection may meet it.
API_SERVERS=$(servers flask_api 4 "$API_UPSTREAM" ' max_fails=0')
API_SECOND_SERVERS=$(servers flask_api_second 8 "$API_UPSTREAM" ' max_fails=0')
CANARY_SERVERS=$(servers flask_api_canary 2 "$CANARY_UPSTREAM" ' max_fails=0')
SHADOW_SERVERS=$(servers flask_api_shadow 1 "$SHADOW_UPSTREAM" ' max_fails=0')
UI_SERVERS=$(servers streamlit_ui 1 "$UI_UPSTREAM")
API_TARGET=flask_api API_SECOND_TARGET=flask_api_second UI_TARGET=streamlit_ui
CANARY_TARGET=flask_api_canary SHADOW_TARGET=flask_api_shadow
# Kept connections need an empty Connection header.
IDLE_CONNECTION=''
if [ $resolving = each ]; then
    API_TARGET=$API_UPSTREAM API_SECOND_TARGET=$API_UPSTREAM UI_TARGET=$UI_UPSTREAM
    CANARY_TARGET=$CANARY_UPSTREAM SHADOW_TARGET=$SHADOW_UPSTREAM
    # Without kept connections: the upstream closes first, and the TIME_WAIT socket is on its side.
    IDLE_CONNECTION=close
    # Resolved for each request, a session would meet another replica with every upload.
    UI_SERVERS=$(getent ahostsv4 "${UI_UPSTREAM%:*}" 2>/dev/null |
        awk -v port="${UI_UPSTREAM##*:}" '{ print "server " $1 ":" port ";" }' | sort -u | tr '\n' ' ')
    [ -z "$UI_SERVERS" ] || features="$features ui-group ui-addresses" UI_TARGET=streamlit_ui
else
    features="$features api-group ui-group"
    [ "$CANARY_PERCENT" = 0 ] || features="$features canary-group"
    [ -z "$SHADOW_UPSTREAM" ] || features="$features shadow-group"
fi
CHAMPION_TARGET=$API_TARGET
[ -z "$SHADOW_UPSTREAM" ] || CHAMPION_TARGET=flask_api_shadowed
PREDICTION_TARGET=$CHAMPION_TARGET
# shellcheck disable=SC2016 # a variable of Nginx
[ "$CANARY_PERCENT" = 0 ] || PREDICTION_TARGET='$drawn_upstream'

render() { # TEMPLATE
    awk '
        NF && index(ENVIRON["unknown_directives"] " ", " " $1 " ") { next }
        {
            line = ""
            while (match($0, /[$][{][A-Z_]+[}]/)) {
                name = substr($0, RSTART + 2, RLENGTH - 3)
                if (!(name in ENVIRON)) { print "nginx/render.sh: " FILENAME " has the unknown variable " name "." >"/dev/stderr"; exit 1 }
                line = line substr($0, 1, RSTART - 1) ENVIRON[name]
                $0 = substr($0, RSTART + RLENGTH)
            }
            print line $0
        }' "$1"
}

mkdir -p "$RUN_DIR/unused" || fail "RUN_DIR $RUN_DIR cannot be written: set RUN_DIR to a folder that can."
mkdir -p "$SPOOL_DIR/body" "$SPOOL_DIR/proxy" ||
    fail "SPOOL_DIR $SPOOL_DIR cannot be written: set SPOOL_DIR to a folder that can."
# Nginx may be running with the files of another rendering: replace them only once all new ones are complete.
rm -rf "$RUN_DIR/conf.d.new"
mkdir "$RUN_DIR/conf.d.new"
render "$here/nginx.conf.template" >"$RUN_DIR/nginx.conf.new"
for feature in $features; do
    for template in "$here/conf.d/$feature".*.template; do
        render "$template" >"$RUN_DIR/conf.d.new/$(basename "$template" .template)"
    done
done
rm -rf "$RUN_DIR/conf.d"
mv "$RUN_DIR/conf.d.new" "$RUN_DIR/conf.d"
mv "$RUN_DIR/nginx.conf.new" "$RUN_DIR/nginx.conf"
echo "$RUN_DIR/nginx.conf"
