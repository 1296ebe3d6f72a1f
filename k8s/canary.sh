#!/usr/bin/env bash
# Usage: k8s/canary.sh [--compose] status          how champion and challenger do, and whether the challenger may be promoted
#        k8s/canary.sh [--compose] share PERCENT   so many of a hundred predictions go to the challenger
#        k8s/canary.sh [--compose] promote         if it may, the challenger's image becomes the champion's
#        k8s/canary.sh [--compose] abort           nothing goes to the challenger any more, and it is stopped
#
# Works on the cluster that kubectl speaks to, where the component canary is applied; with --compose on the stack of
# docker-compose.yaml, started with CANARY_PERCENT=10 docker compose --profile canary up. No request is lost at any step.
#
#   CANARY_SECONDS         seconds for which both are watched; 0: all since their start (60)
#   CANARY_MIN_REQUESTS    predictions that the challenger must have answered in that time (100)
#   CANARY_MAX_ERRORS      percentage points by which its share of 5xx answers may be above the champion's (0.5)
#   CANARY_MAX_LATENCY     times the champion's 95th percentile, plus 5 ms, that its own may be (1.5)
#   NAMESPACE              on a cluster (iris)

# macOS still has bash 3.2: no mapfile, no associative arrays.
set -euo pipefail
cd "$(dirname "$0")/.."

CANARY_SECONDS=${CANARY_SECONDS:-60}
CANARY_MIN_REQUESTS=${CANARY_MIN_REQUESTS:-100}
CANARY_MAX_ERRORS=${CANARY_MAX_ERRORS:-0.5}
CANARY_MAX_LATENCY=${CANARY_MAX_LATENCY:-1.5}
NAMESPACE=${NAMESPACE:-iris}
CHAMPION=flask-api
CHALLENGER=flask-api-canary
SCRAPE='import os, urllib.request as u
print(u.urlopen("http://127.0.0.1:" + os.environ["API_PORT"] + "/metrics", timeout=10).read().decode())'

say() { printf '==> %s\n' "$*"; }
fail() {
  printf 'canary: %s\n' "$*" >&2
  exit 1
}

# --- a cluster -----------------------------------------------------------------------------------------------------
kube() { kubectl -n "$NAMESPACE" "$@"; }

cluster_replicas() { kube get pods -l "app.kubernetes.io/name=$1" --field-selector=status.phase=Running -o name; }
cluster_metrics() { kube exec "$1" -c flask-api -- python -c "$SCRAPE"; }
cluster_restarts() {
  kube get pods -l "app.kubernetes.io/name=$CHALLENGER" \
    -o 'jsonpath={range .items[*]}{.status.containerStatuses[0].restartCount}{"\n"}{end}'
}
cluster_share() {
  kube get deployment/nginx-server \
    -o 'jsonpath={.spec.template.spec.containers[0].env[?(@.name=="CANARY_PERCENT")].value}'
}
cluster_set_share() {
  kube set env deployment/nginx-server "CANARY_PERCENT=$1"
  kube rollout status deployment/nginx-server --timeout=300s
}
cluster_promote() {
  image=$(kube get "deployment/$CHALLENGER" -o 'jsonpath={.spec.template.spec.containers[0].image}')
  kube set image "deployment/$CHAMPION" "flask-api=$image"
  kube rollout status "deployment/$CHAMPION" --timeout=300s ||
    fail "the new champion does not become ready: kubectl -n $NAMESPACE rollout undo deployment/$CHAMPION, then: $self abort"
  cluster_set_share 0
  cluster_stop
  say "$image is the champion. Write it into your overlay's images for flask-api and take the component canary out, or the next kubectl apply -k undoes this."
}
cluster_stop() { kube scale "deployment/$CHALLENGER" --replicas=0; }
# First the challenger: from then on Nginx asks the champion whenever the challenger refuses.
cluster_abort() {
  cluster_stop
  cluster_set_share 0
  say "the challenger is stopped. Take the component canary out of your overlay, or the next kubectl apply -k starts it again."
}

# --- Compose -------------------------------------------------------------------------------------------------------
compose() {
  if docker compose version >/dev/null 2>&1; then
    docker compose --profile canary "$@"
  else
    docker-compose --profile canary "$@"
  fi
}

compose_replicas() {
  for id in $(compose ps -q "$1"); do
    [ "$(docker inspect --format '{{.State.Running}}' "$id")" != true ] || echo "$id"
  done
}
compose_metrics() { docker exec "$1" python -c "$SCRAPE"; }
compose_restarts() {
  for id in $(compose_replicas "$CHALLENGER"); do docker inspect --format '{{.RestartCount}}' "$id"; done
}
compose_share() {
  for id in $(compose_replicas nginx-server); do
    # shellcheck disable=SC2016 # variables of the container
    docker exec "$id" sh -c 'if [ -e "$RUN_DIR/canary-off" ]; then echo 0
      else cat "$RUN_DIR/canary-percent" 2>/dev/null || echo "${CANARY_PERCENT:-0}"; fi'
  done | head -n 1
}
compose_set_share() {
  for id in $(compose_replicas nginx-server); do
    docker exec "$id" sh /opt/nginx-server/reload.sh "$1" || fail "Nginx did not take the share; the reason stands above"
  done
}
# Without a reload, so that no connection is touched.
compose_switch_off() {
  for id in $(compose_replicas nginx-server); do
    # shellcheck disable=SC2016 # a variable of the container
    docker exec "$id" sh -c 'touch "$RUN_DIR/canary-off"'
  done
}
compose_promote() {
  old=$(compose_replicas "$CHAMPION")
  count=$(printf '%s\n' "$old" | wc -l)
  name=$(docker inspect --format '{{.Config.Image}}' "$(printf '%s\n' "$old" | head -n 1)")
  challenger=$(compose_replicas "$CHALLENGER" | head -n 1)
  docker tag "$(docker inspect --format '{{.Image}}' "$challenger")" "$name"
  # New ones beside the old ones, then the old ones go.
  compose up -d --no-deps --no-build --no-recreate --scale "$CHAMPION=$((2 * count))" "$CHAMPION"
  for _ in $(seq 120); do
    waiting=0
    for id in $(compose_replicas "$CHAMPION"); do
      [ "$(docker inspect --format '{{.State.Health.Status}}' "$id")" = healthy ] || waiting=1
    done
    [ "$waiting" = 1 ] || break
    sleep 1
  done
  [ "$waiting" = 0 ] || fail "the new champion does not become healthy; look at: docker compose logs $CHAMPION"
  # Nginx looks the name up every 2 s.
  sleep 4
  for id in $old; do
    docker stop "$id" >/dev/null
    docker rm "$id" >/dev/null
  done
  compose_switch_off
  compose_stop
  say "the challenger's image is now $name. docker compose build makes $name of this folder again, so change what it is made of (CANARY_TRAIN_OPTIONS) there."
}
compose_stop() { compose stop "$CHALLENGER"; }
compose_abort() {
  compose_switch_off
  compose_stop
  say "the challenger is stopped. Start the stack with CANARY_PERCENT=0 from now on."
}

# --- both ----------------------------------------------------------------------------------------------------------

# counts TRACK: of all its replicas' POST requests, the sum of each bucket, of all, of 5xx and of seconds.
counts() {
  for replica in $("${engine}_replicas" "$1"); do
    "${engine}_metrics" "$replica" || fail "$replica gives no metrics; try again, or: $self abort"
  done | awk '
    function label(name) {
      if (!match($0, "[{,]" name "=\"[^\"]*\"")) return ""
      return substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 4)
    }
    !/^flask_api_request_duration_seconds_/ || label("method") != "POST" { next }
    /_bucket/ { sum["le " label("le")] += $NF }
    /_sum/ { sum["seconds -"] += $NF }
    /_count/ { sum["requests -"] += $NF; if (label("status") ~ /^5/) sum["errors -"] += $NF }
    END { for (key in sum) print key, sum[key] }'
}

# since BEFORE AFTER: what was added; a replica that started in between counts from 0.
since() {
  awk 'FILENAME == ARGV[1] { before[$1 " " $2] = $3; next }
    { key = $1 " " $2; d = $3 - before[key]; print key, (d < 0 ? $3 : d) }' "$1" "$2"
}

# summary COUNTS: requests, errors, percent of errors, p50 and p95 in ms (interpolated in the buckets, as Prometheus does).
summary() {
  sort -k1,1 -k2,2g "$1" | awk '
    function quantile(q,   rank, i, low, below) {
      if (!n || !total) return 0
      rank = q * total; low = 0; below = 0
      for (i = 1; i <= n; i++) {
        if (count[i] >= rank) {
          if (bound[i] == "+Inf") return low * 1000
          return (low + (bound[i] - low) * (rank - below) / (count[i] - below)) * 1000
        }
        low = bound[i]; below = count[i]
      }
    }
    $1 == "le" && $2 != "+Inf" { bound[++n] = $2; count[n] = $3 }
    $1 == "le" && $2 == "+Inf" { total = $3 }
    $1 == "requests" { requests = $3 }
    $1 == "errors" { errors = $3 }
    END {
      bound[++n] = "+Inf"; count[n] = total
      printf "%d %d %.2f %.1f %.1f\n", requests, errors, (requests ? 100 * errors / requests : 0), quantile(0.5), quantile(0.95)
    }'
}

# watch: both tracks over the same time; prints the table and sets $champion and $challenger.
watch() {
  [ -n "$("${engine}_replicas" "$CHAMPION")" ] || fail "no champion runs here; start the stack first"
  [ -n "$("${engine}_replicas" "$CHALLENGER")" ] ||
    fail "no challenger runs here; apply the component canary, or start Compose with CANARY_PERCENT=10 and --profile canary"
  for track in "$CHAMPION" "$CHALLENGER"; do
    : >"$scratch/$track.before"
    [ "$CANARY_SECONDS" = 0 ] || counts "$track" >"$scratch/$track.before"
  done
  sleep "$CANARY_SECONDS"
  for track in "$CHAMPION" "$CHALLENGER"; do
    counts "$track" >"$scratch/$track.after"
    since "$scratch/$track.before" "$scratch/$track.after" >"$scratch/$track"
  done
  champion=$(summary "$scratch/$CHAMPION")
  challenger=$(summary "$scratch/$CHALLENGER")
  {
    echo "track requests errors percent p50_ms p95_ms"
    echo "champion $champion"
    echo "challenger $challenger"
  } | awk '{ printf "%-11s %9s %7s %8s %8s %8s\n", $1, $2, $3, $4, $5, $6 }'
  say "share: $("${engine}_share")%, watched: $([ "$CANARY_SECONDS" = 0 ] && echo "since the start" || echo "$CANARY_SECONDS s")"
}

# verdict: one line for each reason against the challenger; nothing if there is none.
verdict() {
  restarts=$("${engine}_restarts" | awk '{ sum += $1 } END { print sum + 0 }')
  echo "$champion $challenger" | awk -v least="$CANARY_MIN_REQUESTS" -v points="$CANARY_MAX_ERRORS" \
    -v times="$CANARY_MAX_LATENCY" -v restarts="$restarts" '{
      if (restarts > 0) print "the challenger was restarted " restarts " times"
      if ($6 < least) print "the challenger answered " $6 " predictions, and " least " are wanted"
      if ($1 < 1) print "the champion answered nothing to compare with"
      if ($8 > $3 + points) print "the challenger fails " $8 "% of its requests, the champion " $3 "%"
      if ($10 > times * $5 + 5) print "the challenger takes " $10 " ms (95th percentile), the champion " $5 " ms"
    }'
}

engine=cluster
self=k8s/canary.sh
if [ "${1-}" = --compose ]; then
  engine=compose
  self="$self --compose"
  shift
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

case "${1-} $#" in
  "status 1")
    watch
    against=$(verdict)
    if [ -z "$against" ]; then say "the challenger may be promoted"; else printf 'against it: %s\n' "$against"; fi
    ;;
  "share 2")
    case $2 in
      [0-9] | [1-9][0-9] | 100) ;;
      *) fail "the share is '$2', but must be a whole number from 0 to 100" ;;
    esac
    "${engine}_set_share" "$2"
    say "$2% of the predictions go to the challenger"
    ;;
  "promote 1")
    watch
    against=$(verdict)
    [ -z "$against" ] || fail "not promoted: ${against//$'\n'/; }. Wait, or: $self abort"
    "${engine}_promote"
    ;;
  "abort 1") "${engine}_abort" ;;
  "-h 1" | "--help 1") sed -n '2,/^$/s/^# \{0,1\}//p' "$0" ;;
  *) fail "say status, share PERCENT, promote or abort (see --help)" ;;
esac
