#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh - runs an example against an exchange that is started for it. Needs HPX_TOOL.
#
# usage: run.sh PROGRAM
# `serve` is a server of its own: it is asked once, over HTTP/1.1.
# The program gets the URL, must exit with 0 in time, and print ten updates. `first` takes
# no URL and runs until the exchange ends: it is skipped (77) where its port is in use.
set -u
program=${1:?}
tool=${HPX_TOOL:?}
work=$(mktemp -d) || exit 1
exchange=
trap '[ -z "$exchange" ] || kill "$exchange" 2>/dev/null; rm -rf "$work"' EXIT

fail() {
    printf 'FAILED: %s\n' "$*"
    sed 's/^/  stdout: /' "$work/out"
    sed 's/^/  stderr: /' "$work/err"
    exit 1
}

if [ "$(basename "$program")" = serve ]; then
    "$program" 127.0.0.1:0 >"$work/out" 2>"$work/err" &
    exchange=$!
    while ! grep -qs '^curl ' "$work/out"; do
        kill -0 "$exchange" 2>/dev/null || fail 'serve ended'
        sleep 0.05
    done
    curl -sf --max-time 20 "$(sed -n 's/^curl //p' "$work/out")" | grep -q '^{"price":[0-9]*}$' ||
        fail 'no price'
    exit 0
fi

address=127.0.0.1:0 duration=60
[ "$(basename "$program")" != first ] || address=127.0.0.1:9443 duration=2
"$tool" exchange --plain --quiet --listen "$address" --rate 500 --duration "$duration" \
    >"$work/exchange" 2>"$work/exchange.err" &
exchange=$!
while ! grep -qs '^listening on ' "$work/exchange"; do
    if ! kill -0 "$exchange" 2>/dev/null; then
        cat "$work/exchange.err"
        [ "$address" = 127.0.0.1:0 ] && exit 1
        exit 77
    fi
    sleep 0.05
done
url=ws://$(sed -n 's/^listening on //p' "$work/exchange")/ws

timeout 40 "$program" "$url" >"$work/out" 2>"$work/err" || fail "exit $?: $program $url"
# feed counts the answer among its ten messages.
[ "$(grep -c '"method":"subscription"' "$work/out")" -ge 9 ] || fail "no ten updates"
case $(basename "$program") in
client) wanted='"result":[0-9]' ;;
session_inline) wanted='^HPX_OK after' ;;
session_port) wanted='"order_id":"HPX-1"' ;;
generic_json) wanted='^book.ETH-USD (' ;;
dialect) wanted='^[1-9][0-9]* updates were read' ;;
*) wanted=. ;;
esac
grep -q -- "$wanted" "$work/out" || fail "no line has $wanted"
[ ! -s "$work/err" ] || fail "it complains"
