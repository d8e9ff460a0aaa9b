#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# certs.sh - the exchange's certificates, judged by OpenSSL: names, purpose, strict rules, modes;
# the folder's life.
set -u
tool=${HPX_TOOL:?}
command -v openssl >/dev/null || exit 77
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failures=0

check() { # WHAT COMMAND...
    what=$1
    shift
    "$@" >"$work/log" 2>&1 || {
        printf 'FAILED: %s\n' "$what"
        sed 's/^/  /' "$work/log"
        failures=$((failures + 1))
    }
}

refused() { ! "$@"; }

exchange() {
    "$tool" exchange --listen 127.0.0.1:0 --duration 0.05 --quiet "$@" >"$work/out" 2>"$work/err"
}

dir=$work/certs
check 'exchange makes certificates' exchange --dir "$dir"
grep -q -- "--cacert $dir/ca.pem\$" "$work/out" || check 'the CA path is printed' false
verify() {
    openssl verify -x509_strict -purpose sslserver -CAfile "$dir/ca.pem" "$@" "$dir/server.pem"
}
check 'good for localhost' verify -verify_hostname localhost
check 'good for 127.0.0.1' verify -verify_ip 127.0.0.1
check 'good for ::1' verify -verify_ip ::1
check 'not good for others' refused verify -verify_hostname example.com
check 'not good for other addresses' refused verify -verify_ip 127.0.0.2
check 'not good for a client' refused openssl verify -purpose sslclient -CAfile "$dir/ca.pem" \
    "$dir/server.pem"
check 'not its own authority' refused openssl verify -CAfile "$dir/server.pem" "$dir/ca.pem"
check 'valid in six days' openssl x509 -in "$dir/server.pem" -noout -checkend 518400
check 'not valid in eight' refused openssl x509 -in "$dir/server.pem" -noout -checkend 691200
check 'valid half an hour ago' verify -attime "$(($(date +%s) - 1800))"
check 'P-256' sh -c "openssl x509 -in '$dir/server.pem' -noout -text | grep -q prime256v1"
check 'the key belongs to it' sh -c "
    [ \"\$(openssl pkey -in '$dir/server.key' -pubout)\" = \
      \"\$(openssl x509 -in '$dir/server.pem' -noout -pubkey)\" ]"
check 'key mode 0600' [ "$(stat -c %a "$dir/server.key")" = 600 ]
check 'no other key' [ "$(ls "$dir")" = "$(printf 'ca.pem\nserver.key\nserver.pem')" ]

cp "$dir/ca.pem" "$work/before.pem"
check 'a second start' exchange --dir "$dir"
check 'the same CA' cmp "$dir/ca.pem" "$work/before.pem"
touch -d '-7 days' "$dir/ca.pem"
check 'a start a week later' exchange --dir "$dir"
check 'a new CA' refused cmp "$dir/ca.pem" "$work/before.pem"
check 'good again' verify -verify_hostname localhost

rm "$dir/server.key"
ln -s "$work/elsewhere" "$dir/server.key"
check 'a link in place of the key' exchange --dir "$dir"
check 'is not followed' [ ! -e "$work/elsewhere" ]

mkdir "$work/run"
check 'a fresh folder' env XDG_RUNTIME_DIR="$work/run" "$tool" exchange --listen 127.0.0.1:0 \
    --duration 0.05 --quiet
check 'is removed at the end' [ -z "$(ls -A "$work/run")" ]

[ "$failures" = 0 ] && echo 'all good'
exit "$((failures > 0))"
