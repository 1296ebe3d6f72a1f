#!/usr/bin/env bash
# Usage: ./minikube-deploy.sh            deploy on Minikube, or update the deployment
#        ./minikube-deploy.sh --delete   remove the stack and its images; Minikube itself keeps running
#        ./minikube-deploy.sh --help     this text
#        ./minikube-deploy.sh --with retraining --with training-service
#                                        deploy with these components (docs/operations.md); name them in every run.
#                                        registry is the third, which needs the Secret mlflow-storage
#
# Starts Minikube if necessary, builds the images inside it, makes the certificates, applies k8s/overlays/minikube, waits
# until every part is ready, and requests one prediction through Nginx. Changes only the named Minikube cluster.
#
#   MINIKUBE_PROFILE   which Minikube cluster (minikube)
#   ROLLOUT_TIMEOUT    seconds to wait for each part (300)

# macOS still has bash 3.2: no mapfile, no associative arrays, no ${name,,}.
set -euo pipefail
cd "$(dirname "$0")"

PROFILE=${MINIKUBE_PROFILE:-minikube}
ROLLOUT_TIMEOUT=${ROLLOUT_TIMEOUT:-300}
NAMESPACE=iris
PARTS="flask-api streamlit-ui nginx-server"
IMAGES=$PARTS
COMPONENTS=""
OVERLAY=.run/minikube
CERTS=.run/minikube-certs

reason=""      # the message of a failure
suspects=""    # the parts whose pods diagnose shows; empty until they are applied
forward_pid="" # the port-forward this run started

say() { printf '==> %s\n' "$*"; }

# fail SENTENCE: end the run; the sentence names the next step.
fail() {
  reason=$1
  exit 1
}

# with NAME: is this component deployed?
with() { case " $COMPONENTS " in *" $1 "*) ;; *) return 1 ;; esac; }

# add_component NAME: deploy it.
add_component() {
  case $1 in
    retraining) extra_image=model-training extra_part="" ;;
    training-service) extra_image=model-training extra_part=training-api ;;
    registry) extra_image=mlflow-server extra_part=mlflow-server ;;
    *) fail "--with takes retraining, training-service or registry, not: ${1:-nothing}" ;;
  esac
  # Before the components that need it.
  [ -n "$COMPONENTS" ] || COMPONENTS=model-store
  ! with "$1" || return 0
  COMPONENTS="$COMPONENTS $1"
  PARTS="$PARTS${extra_part:+ $extra_part}"
  case " $IMAGES " in *" $extra_image "*) ;; *) IMAGES="$IMAGES $extra_image" ;; esac
}

# Both name the cluster, so that the current context does not matter.
mk() { minikube -p "$PROFILE" "$@"; }
kube() { kubectl --context "$PROFILE" -n "$NAMESPACE" "$@"; }

on_exit() {
  status=$?
  trap - EXIT
  if [ -n "$forward_pid" ]; then
    kill "$forward_pid" 2>/dev/null || true
    wait "$forward_pid" 2>/dev/null || true
  fi
  if [ "$status" -ne 0 ] && [ "$status" -ne 130 ]; then
    [ -z "$suspects" ] || diagnose >&2 || true
    printf '\nminikube-deploy: %s\n' "${reason:-stopped by the error above (status $status)}" >&2
  fi
  exit "$status"
}

# Show events and logs of the parts in $suspects: of the pods that are not ready, or of all if all are.
diagnose() {
  printf '\n--- pods\n'
  kube get pods -o wide || true
  printf '\n--- last events\n'
  kube get events --sort-by=.lastTimestamp | tail -n 20 || true
  for part in $suspects; do
    pods=$(kube get pods -l "app.kubernetes.io/name=$part" \
      -o 'jsonpath={range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}') || continue
    chosen=$(printf '%s\n' "$pods" | awk 'NF && $2 != "True" {print $1}')
    [ -n "$chosen" ] || chosen=$(printf '%s\n' "$pods" | awk 'NF {print $1}')
    for pod in $chosen; do
      printf '\n--- log of %s\n' "$pod"
      kube logs "$pod" --tail=40 || true
      if previous=$(kube logs "$pod" --tail=40 --previous 2>/dev/null); then
        printf -- '--- log of %s before its last restart\n%s\n' "$pod" "$previous"
      fi
    done
  done
}

check_tools() {
  missing=""
  while read -r tool source; do
    command -v "$tool" >/dev/null 2>&1 || missing="$missing
  $tool   $source"
  done <<EOF
minikube https://minikube.sigs.k8s.io/docs/start/
kubectl  https://kubernetes.io/docs/tasks/tools/
openssl  apt install openssl, or brew install openssl
curl     apt install curl, or brew install curl
EOF
  [ -z "$missing" ] || fail "missing tools; install them and run this again:$missing"
}

digest() { openssl dgst -sha256 | sed 's/^.*= *//'; }

# image_sources DOCKERFILE: the paths that it copies from the build context.
image_sources() {
  awk '/^ *#/ { next } { if (sub(/\\$/, "")) { line = line " " $0; next } print line " " $0; line = "" }' "$1" |
    awk 'toupper($1) ~ /^(COPY|ADD)$/ && !/--from=/ {
      gsub(/[][",]/, " ")
      for (i = 2; i < NF; i++) if ($i !~ /^--/) print $i
    }'
}

# content_tag PART: a tag that changes only with the Dockerfile, .dockerignore and the files of the image. With a fixed
# tag, Minikube would keep the old image (minikube#11276).
content_tag() {
  dockerfile=Dockerfile.$1
  sources=$(image_sources "$dockerfile") || return 1
  # Unquoted, since some are patterns. .dockerignore excludes the same files.
  # shellcheck disable=SC2086
  files=$(find .dockerignore "$dockerfile" $sources -name __pycache__ -prune -o -type f ! -name '*.pyc' \
    ! -name .DS_Store -print | LC_ALL=C sort -u) || return 1
  listing=$(printf '%s\n' "$files" | while IFS= read -r file; do
    mode=-
    [ ! -x "$file" ] || mode=x
    printf '%s %s %s\n' "$file" "$mode" "$(digest <"$file")"
  done)
  # With a prefix, since YAML reads a tag of digits as a number.
  printf 'sha-%s\n' "$(printf '%s\n' "$listing" | digest | cut -c 1-16)"
}

# has_image NAME:TAG
has_image() {
  images=$(mk image ls) || fail "Minikube does not list its images; see: minikube -p $PROFILE status"
  printf '%s\n' "$images" | grep -E "(^|/)$1\$" >/dev/null
}

# build_image PART TAG
build_image() {
  if has_image "$1:$2"; then
    say "$1:$2 is built already"
    return
  fi
  say "building $1:$2"
  # The Dockerfile's path is relative to the context. The exit status is 0 after a failed build as well.
  mk image build --all -t "$1:$2" -f "Dockerfile.$1" . || true
  has_image "$1:$2" || fail "the image $1 was not built; the reason is above. To repeat only this build: minikube -p $PROFILE image build -t $1:try -f Dockerfile.$1 ."
}

start_minikube() {
  if mk status >/dev/null 2>&1; then
    say "Minikube ($PROFILE) is running"
    return
  fi
  say "starting Minikube ($PROFILE)"
  mk start || fail "Minikube did not start; its message is above (it needs a driver such as docker: https://minikube.sigs.k8s.io/docs/drivers/)"
}

make_secrets() {
  ip=$(mk ip) || fail "Minikube has no IP address; try: minikube -p $PROFILE start"
  sh nginx/make-certs.sh "$CERTS" "$ip" || fail "make-certs.sh failed; the reason is above"
  kube create secret tls nginx-certs --cert="$CERTS/tls.crt" --key="$CERTS/tls.key" --dry-run=client -o yaml |
    kube apply -f - || fail "the cluster rejected the Secret nginx-certs; the reason is above"
  # Only once: a new one would end the sessions of every open page.
  make_secret_once streamlit-cookie cookie-secret
  ! with training-service || make_secret_once training-admin token
  ! with registry || kube get secret mlflow-storage >/dev/null 2>&1 ||
    fail "the registry needs Postgres and a bucket: make the Secret mlflow-storage (see k8s/components/registry/kustomization.yaml), then run this again"
}

# make_secret_once NAME KEY: make a Secret with a random value, unless it exists.
make_secret_once() {
  if ! kube get secret "$1" >/dev/null 2>&1; then
    openssl rand -hex 32 | tr -d '\n' | kube create secret generic "$1" --from-file="$2=/dev/stdin" ||
      fail "the cluster rejected the Secret $1; the reason is above"
  fi
}

# write_overlay: k8s/overlays/minikube with the new tags, and with an annotation that restarts Nginx when the certificate
# changes. Without it, Nginx reloads a new certificate only after a minute or two.
write_overlay() {
  mkdir -p "$OVERLAY"
  cat >"$OVERLAY/kustomization.yaml" <<EOF
# Written by minikube-deploy.sh.
resources:
  - ../../k8s/overlays/minikube
components:$(for name in $COMPONENTS; do printf '\n  - ../../k8s/components/%s' "$name"; done)
images:$image_tags
patches:
  - target: {kind: Deployment, name: nginx-server}
    patch: |-
      {kind: Deployment, apiVersion: apps/v1, metadata: {name: all}, spec: {template: {metadata: {annotations: {
        checksum/certificate: $(digest <"$CERTS/tls.crt")}}}}}
EOF
}

wait_for() {
  suspects=$1
  kube rollout status "deployment/$1" --timeout="${ROLLOUT_TIMEOUT}s" ||
    fail "$1 did not become ready within $ROLLOUT_TIMEOUT s; its events and log are above. Fix the cause and run this again (ROLLOUT_TIMEOUT=600 if it was only slow; minikube start --memory 4g if the events report a lack of memory)"
}

# A port-forward, since some drivers cannot reach a Service's own address (docker on macOS: minikube#7332).
check_prediction() {
  suspects="nginx-server flask-api"
  log=$OVERLAY/port-forward.log
  # The redirection below empties it only once its process runs; until then, it has the port of the last run.
  : >"$log"
  kubectl --context "$PROFILE" -n "$NAMESPACE" port-forward --address 127.0.0.1 service/nginx-server :443 >"$log" 2>&1 &
  forward_pid=$!
  port=""
  for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
    port=$(sed -n 's/^Forwarding from 127\.0\.0\.1:\([0-9]*\).*/\1/p' "$log")
    [ -z "$port" ] || break
    sleep 1
  done
  [ -n "$port" ] || fail "kubectl port-forward to nginx-server did not start: $(cat "$log")"
  if [ -n "$COMPONENTS" ]; then
    # The volume may hold the model of any table.
    answer=$(curl -fsS --noproxy '*' --max-time 20 --retry 3 --cacert "$CERTS/ca.crt" "https://127.0.0.1:$port/ready") ||
      fail "GET /ready through Nginx failed; the logs of nginx-server and flask-api are above"
    say "the API serves: $answer"
    return
  fi
  # If the API requires keys, use the UI's; curl reads it from stdin, so that the process list does not show it.
  key=$(kube get secret api-keys -o 'jsonpath={.data.API_KEY}' 2>/dev/null | openssl base64 -d -A) || key=""
  answer=$(printf '%s' "${key:+header = \"X-API-Key: $key\"}" | curl -K - -fsS --noproxy '*' --max-time 20 --retry 3 --cacert "$CERTS/ca.crt" -H 'Content-Type: application/json' \
    -d '{"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2}' "https://127.0.0.1:$port/predict") ||
    fail "POST /predict through Nginx failed; the logs of nginx-server and flask-api are above"
  species=$(printf '%s' "$answer" | sed -n 's/.*"class_name": *"\([^"]*\)".*/\1/p')
  version=$(printf '%s' "$answer" | sed -n 's/.*"model_version": *"\([^"]*\)".*/\1/p')
  [ "$species" = setosa ] || fail "the prediction for a known setosa is '$species'; the model is wrong: $answer"
  [ -n "$version" ] || fail "the prediction names no model version: $answer"
  say "predicted $species with model $version"
}

print_addresses() {
  node_port=$(kube get service nginx-server -o 'jsonpath={.spec.ports[?(@.name=="https")].nodePort}') || node_port=""
  trust="sudo cp $CERTS/ca.crt /usr/local/share/ca-certificates/iris.crt && sudo update-ca-certificates"
  [ "$(uname)" != Darwin ] ||
    trust="sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain $CERTS/ca.crt"
  cat <<EOF

The stack runs. Open it (UI and API) at
  https://$ip:$node_port/     where this machine reaches Minikube's address (Linux, or a driver with a VM)
  https://localhost:8443/     anywhere, while this runs in another terminal:
    kubectl --context $PROFILE -n $NAMESPACE port-forward service/nginx-server 8443:443

The browser warns until it trusts the authority made for this machine, $CERTS/ca.crt:
  $trust
  (Firefox: Settings, Certificates, View Certificates, Authorities, Import)

Remove everything with: ./minikube-deploy.sh --delete
EOF
  ! with training-service || cat <<EOF

The page Train requires the admin token:
  kubectl --context $PROFILE -n $NAMESPACE get secret training-admin -o 'jsonpath={.data.token}' | base64 -d
EOF
  ! with retraining || cat <<EOF

To train now instead of at night:
  kubectl --context $PROFILE -n $NAMESPACE create job --from=cronjob/retraining retraining-now
EOF
}

deploy() {
  check_tools
  for image in $IMAGES; do
    [ -f "Dockerfile.$image" ] || fail "Dockerfile.$image is missing; run this from a complete clone"
  done
  start_minikube
  image_tags=""
  for image in $IMAGES; do
    tag=$(content_tag "$image") || fail "a file that Dockerfile.$image copies is missing; the reason is above"
    build_image "$image" "$tag"
    image_tags="$image_tags
  - {name: $image, newTag: $tag}"
  done
  kube apply -f k8s/base/namespace.yaml || fail "the cluster does not answer; try: minikube -p $PROFILE update-context"
  make_secrets
  write_overlay
  say "applying k8s/overlays/minikube"
  kube apply -k "$OVERLAY" || fail "the cluster rejected the manifests; the reason is above"
  for part in $PARTS; do
    say "waiting for $part"
    wait_for "$part"
  done
  check_prediction
  print_addresses
}

delete() {
  check_tools
  mk status >/dev/null 2>&1 || fail "Minikube ($PROFILE) is not running. Start it and run this again (minikube -p $PROFILE start), or delete the whole cluster (minikube -p $PROFILE delete)"
  say "removing the namespace $NAMESPACE"
  kube delete namespace "$NAMESPACE" --ignore-not-found --timeout=180s ||
    fail "the namespace $NAMESPACE still exists; see: kubectl --context $PROFILE describe namespace $NAMESPACE"
  for image in $(mk image ls | grep -E '(^|/)(flask-api|streamlit-ui|nginx-server|model-training|mlflow-server):sha-[0-9a-f]*$' || true); do
    mk image rm "$image" || say "kept the image $image: it is in use"
  done
  rm -rf "$OVERLAY"
  say "removed. Minikube keeps running (stop it: minikube -p $PROFILE stop); the certificates stay in $CERTS"
}

trap on_exit EXIT
trap 'exit 130' INT TERM
case ${1-} in
  "") deploy ;;
  --with)
    while [ $# -gt 0 ]; do
      [ "$1" = --with ] || fail "unknown argument: $1 (see --help)"
      add_component "${2-}"
      shift 2
    done
    deploy
    ;;
  --delete) delete ;;
  -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0" ;;
  *) fail "unknown argument: $1 (see --help)" ;;
esac
