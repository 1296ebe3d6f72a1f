#!/usr/bin/env bash
# Check that this container's Nginx answers. In bash, since the image may have no curl.
set -eu
host=127.0.0.1
case ${BIND_ADDRESS:-0.0.0.0} in
    0.0.0.0) ;;
    ::) host=::1 ;;
    *) host=$BIND_ADDRESS ;;
esac
exec 3<>"/dev/tcp/$host/${HTTP_PORT:-8080}"
printf 'GET /nginx-health HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
IFS= read -r -t 4 status <&3
[[ $status == *" 200 "* ]]
