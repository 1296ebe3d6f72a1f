#!/bin/sh
# Make a local certificate authority and a TLS certificate for Nginx signed by it.
#
#   nginx/make-certs.sh DIR [NAME...]
#
# Writes to DIR: tls.crt and tls.key (for Nginx), ca.crt (which clients trust) and ca.key (secret).
# The certificate is for localhost, 127.0.0.1, ::1 and every NAME (host name or IP address).
# Keeps a certificate that is valid for more than 7 days, signed by the authority, and has every name. Keeps the authority
# while it can sign, so that clients need to trust it only once.
set -eu
umask 077

LEAF_DAYS=396 # clients reject more than 397 or 398
CA_DAYS=3650
SPARE_SECONDS=604800 # 7 days

fail() {
    echo "nginx/make-certs.sh: $*" >&2
    exit 1
}

[ $# -ge 1 ] || fail "name the folder for the certificates: nginx/make-certs.sh DIR [NAME...]"
dir=$1
shift
command -v openssl >/dev/null || fail "openssl is not installed: apt install openssl, or brew install openssl."

# Print the SAN entry of each name, as 'openssl x509 -text' does, one a line.
san_entries() {
    for name in localhost 127.0.0.1 ::1 "$@"; do
        echo "$name"
    done | awk '
        function bad() { print "BAD " $0; exit }
        /:/ {  # IPv6, written out in full
            if ($0 !~ /^[0-9A-Fa-f:]+$/ || split($0, halves, "::") > 2) bad()
            left = split(halves[1], a, ":"); right = split(halves[2], b, ":")
            if (left + right > 8 || (left + right < 8) != ($0 ~ /::/)) bad()
            out = ""
            for (i = 1; i <= 8; i++) {
                group = i <= left ? a[i] : (i > 8 - right ? b[i - 8 + right] : "0")
                if (length(group) < 1 || length(group) > 4) bad()
                sub(/^0+/, "", group)
                out = out (i > 1 ? ":" : "") (group == "" ? "0" : toupper(group))
            }
            print "IP Address:" out; next
        }
        /^[0-9.]+$/ {
            if (split($0, a, ".") != 4) bad()
            for (i = 1; i <= 4; i++) if (a[i] !~ /^[0-9][0-9]?[0-9]?$/ || a[i] + 0 > 255) bad()
            print "IP Address:" (a[1] + 0) "." (a[2] + 0) "." (a[3] + 0) "." (a[4] + 0); next
        }
        {
            if (length($0) > 253 || tolower($0) !~ /^(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/) bad()
            print "DNS:" tolower($0)
        }' | awk '!seen[$0]++'
}
entries=$(san_entries "$@")
case $entries in
    *BAD*) fail "'$(echo "$entries" | sed -n 's/^BAD //p')' is no host name and no IP address." ;;
esac

ca_is_good() {
    [ -s "$dir/ca.crt" ] && [ -s "$dir/ca.key" ] &&
        # The authority must outlive the certificates that it signs.
        openssl x509 -in "$dir/ca.crt" -noout -checkend $((LEAF_DAYS * 86400)) >/dev/null 2>&1 &&
        [ "$(openssl x509 -in "$dir/ca.crt" -noout -pubkey 2>/dev/null)" = "$(openssl pkey -in "$dir/ca.key" -pubout 2>/dev/null)" ]
}

leaf_is_good() {
    [ -s "$dir/tls.crt" ] && [ -s "$dir/tls.key" ] &&
        openssl x509 -in "$dir/tls.crt" -noout -checkend "$SPARE_SECONDS" >/dev/null 2>&1 &&
        openssl verify -CAfile "$dir/ca.crt" "$dir/tls.crt" >/dev/null 2>&1 &&
        [ "$(openssl x509 -in "$dir/tls.crt" -noout -pubkey 2>/dev/null)" = "$(openssl pkey -in "$dir/tls.key" -pubout 2>/dev/null)" ] &&
        present=$(openssl x509 -in "$dir/tls.crt" -noout -text 2>/dev/null | sed -n '/Subject Alternative Name/{n;p;}' | tr ',' '\n' | sed 's/^ *//') &&
        echo "$entries" | while IFS= read -r entry; do
            echo "$present" | grep -qxF -e "$entry" || exit 1
        done
}

# A certificate from elsewhere, which this authority cannot renew.
if [ -e "$dir/tls.crt" ] && ! [ -e "$dir/ca.key" ]; then
    echo "Kept $dir/tls.crt: it was not made here ($dir/ca.key is missing)." >&2
    exit 0
fi
if [ -e "$dir/ca.crt" ] && ! [ -e "$dir/ca.key" ]; then
    fail "$dir/ca.crt has no ca.key, so it cannot sign: put ca.key back, or delete ca.crt to get a new authority."
fi

if ca_is_good && leaf_is_good; then
    echo "The certificate in $dir is still valid." >&2
    exit 0
fi

mkdir -p "$dir" || fail "$dir cannot be made: name a writable folder."
new=$(mktemp -d "$dir/.new.XXXXXX") || fail "$dir is not writable: name another folder, or change its owner."
trap 'rm -rf "$new"' EXIT
trap 'exit 1' HUP INT TERM

quiet() { # run a command; show its output only if it fails
    "$@" >"$new/log" 2>&1 || {
        cat "$new/log" >&2
        fail "openssl failed (above): $*"
    }
}
serial() { # 120 random bits: positive and unique
    echo "0x1$(openssl rand -hex 15)"
}

ca_is_new=no
if ! ca_is_good; then
    ca_is_new=yes
    cat >"$new/ca.cnf" <<CONFIG
[req]
prompt = no
distinguished_name = name
x509_extensions = extensions
[name]
O = Iris stack (local development)
CN = Local authority $(openssl rand -hex 4)
[extensions]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
CONFIG
    quiet openssl ecparam -name prime256v1 -genkey -noout -out "$new/ca.key"
    quiet openssl req -x509 -new -sha256 -config "$new/ca.cnf" -key "$new/ca.key" -days "$CA_DAYS" -out "$new/ca.crt"
    chmod 644 "$new/ca.crt"
    # The key first: a ca.crt without its key would look like a foreign one.
    mv -f "$new/ca.key" "$dir/ca.key"
    mv -f "$new/ca.crt" "$dir/ca.crt"
fi

cat >"$new/leaf.cnf" <<CONFIG
[req]
prompt = no
distinguished_name = name
[name]
CN = localhost
[extensions]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = @names
[names]
$(echo "$entries" | awk '{ kind = /^DNS:/ ? "DNS" : "IP"; sub(/^(DNS|IP Address):/, ""); print kind "." NR " = " $0 }')
CONFIG
quiet openssl ecparam -name prime256v1 -genkey -noout -out "$new/tls.key"
quiet openssl req -new -sha256 -config "$new/leaf.cnf" -key "$new/tls.key" -out "$new/tls.csr"
quiet openssl x509 -req -sha256 -in "$new/tls.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -set_serial "$(serial)" \
    -days "$LEAF_DAYS" -extfile "$new/leaf.cnf" -extensions extensions -out "$new/tls.crt"
chmod 644 "$new/tls.crt"
# If this ends between the two, they do not match, and the next run makes both again.
mv -f "$new/tls.key" "$dir/tls.key"
mv -f "$new/tls.crt" "$dir/tls.crt"

echo "Made $dir/tls.crt for $(echo "$entries" | sed 's/^DNS://;s/^IP Address://' | tr '\n' ' ')" >&2
[ "$ca_is_new" = yes ] || exit 0
cat >&2 <<HELP
Made a new authority, $dir/ca.crt. Browsers warn until it is trusted:
  Debian, Ubuntu  sudo cp $dir/ca.crt /usr/local/share/ca-certificates/iris-local.crt && sudo update-ca-certificates
  macOS           sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain $dir/ca.crt
  Firefox, Chrome Settings > Privacy & Security > Certificates > Authorities > Import $dir/ca.crt
  curl            curl --cacert $dir/ca.crt https://localhost:8443/health
HELP
