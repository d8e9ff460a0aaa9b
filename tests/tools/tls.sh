#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tls.sh - `hpx tls` against OpenSSL: what it shows, and what its exit code and last words are when
# each check fails.
set -u
tool=${HPX_TOOL:?}
command -v openssl >/dev/null || exit 77
work=$(mktemp -d) || exit 1
server=
trap 'stop; rm -rf "$work"' EXIT
failures=0

stop() {
    [ -z "$server" ] || { kill "$server" && wait "$server"; } 2>/dev/null
    server=
}

# start CERT ARGS...: s_server with that certificate; sets $port.
start() {
    cert=$1
    shift
    openssl s_server -accept 127.0.0.1:0 -cert "$work/$cert.pem" -key "$work/$cert.key" -www "$@" \
        >"$work/server.log" 2>&1 &
    server=$!
    port=
    for _ in $(seq 200); do
        port=$(sed -n 's/^ACCEPT 127\.0\.0\.1:\([0-9]*\)$/\1/p' "$work/server.log")
        [ -n "$port" ] && return
        sleep 0.05
    done
    echo "s_server does not start"
    cat "$work/server.log"
    exit 1
}

# expect CODE ARGS...: the exit code; then `shows` and `says` look at stdout and stderr.
expect() {
    code=$1
    shift
    run="hpx tls $*"
    "$tool" tls "$@" >"$work/out" 2>"$work/err" </dev/null
    got=$?
    [ "$got" = "$code" ] || fail "exit $got instead of $code"
}

fail() {
    printf 'FAILED: %s: %s\n' "$run" "$*"
    sed 's/^/  stdout: /' "$work/out"
    sed 's/^/  stderr: /' "$work/err"
    failures=$((failures + 1))
}

shows() { grep -Eq -- "$1" "$work/out" || fail "stdout does not show '$1'"; }
says() {
    grep -Eq -- "$1" "$work/err" || fail "stderr does not say '$1'"
    [ "$(wc -l <"$work/err")" = 1 ] || fail 'not one line on stderr'
}
silent() { [ ! -s "$work/err" ] || fail 'something on stderr'; }

sh "${HPX_SOURCE_DIR:?}/tests/tls/make_certs.sh" "$work" || exit 1
ca="--cacert $work/root.pem"

start ecdsa -alpn http/1.1
# shellcheck disable=SC2086
{
    expect 0 "localhost:$port" $ca
    silent
    shows "^server +localhost:$port, 127\.0\.0\.1$"
    shows '^time +resolve .*, connect .*, handshake '
    shows '^protocol +TLSv1\.3$'
    shows '^cipher +TLS_AES_'
    shows '^ALPN +http/1\.1$'
    shows '^  0 +/CN=ecdsa$'
    shows '^    issuer +/CN=hpx test root$'
    shows '^    names +.*127\.0\.0\.1'
    shows '^    names +.*::1'
    shows '^    names +.*localhost'
    shows '^    valid +20.* UTC to 20.* UTC \([12] days left\)$'
    shows '^    key +ECDSA P-256, signed with ECDSA SHA-256$'
    shows '^    SHA-256 +[0-9a-f]{64}$'
    shows '^verdict +accepted$'
    shows '^resumption +yes: the second handshake took '
    fingerprint=$(openssl x509 -in "$work/ecdsa.pem" -noout -fingerprint -sha256 |
        sed 's/.*=//; s/://g' | tr 'A-F' 'a-f')
    shows "^    SHA-256 +$fingerprint\$"
    pin=$(openssl pkey -in "$work/ecdsa.key" -pubout -outform DER | openssl dgst -sha256 -r |
        cut -c 1-64)
    shows "^    pin +$pin\$"
    expect 0 "127.0.0.1:$port" $ca --pin "$pin" --alpn ''
    shows '^ALPN +none$'
    expect 0 "127.0.0.1:$port" $ca --name localhost --max 1.2
    shows '^protocol +TLSv1\.2$'
    shows '^resumption +yes'

    expect 1 "localhost:$port" $ca --pin "$(echo "$pin" | tr '0-9' '1-90')"
    says '^hpx: tls: certificate of .* none of the pinned keys$'
    shows '^verdict +REFUSED: .*HPX_E_TLS_PIN'
    expect 1 "localhost:$port" $ca --name bank.example
    says '^hpx: tls: certificate is for .*; wanted bank\.example$'
    shows '^  0 +/CN=ecdsa$'
    expect 1 "localhost:$port" --cacert "$work/client.pem"
    says '^hpx: tls: no trusted root signs the certificate of localhost'
    expect 2 "localhost:$port" $ca --cert "$work/client.pem"
    says '^hpx: config: cert_file and key_file'
    expect 1 "localhost:$port" --cacert /nonexistent
    says "^hpx: config: ca_file '/nonexistent' cannot be read"
}
stop

start rsa -tls1_2 -num_tickets 0 -no_ticket -no_cache
# shellcheck disable=SC2086
{
    expect 0 "localhost:$port" $ca
    shows '^protocol +TLSv1\.2$'
    shows '^cipher +TLS_ECDHE_RSA_'
    shows '^    key +RSA 2048, signed with ECDSA SHA-256$'
    shows '^resumption +no'
    expect 1 "localhost:$port" $ca --min 1.3
    says '^hpx: tls: '
}
stop

start ecdsa -Verify 1 -verify_return_error -CAfile "$work/root.pem"
# shellcheck disable=SC2086
{
    expect 0 "localhost:$port" $ca --cert "$work/client.pem" --key "$work/client.key"
    shows '^verdict +accepted$'
    expect 1 "localhost:$port" $ca
    says '^hpx: tls: the peer sent the fatal alert 116 \(certificate_required\)$'
}
stop

expect 1 "127.0.0.1:$port" --timeout 5
says '^hpx: connect: .*Connection refused'
expect 1 "no-such-host.invalid:443" --timeout 5
says '^hpx: resolve: '

[ "$failures" = 0 ] || exit 1
echo ok
