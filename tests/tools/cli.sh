#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# cli.sh - the command line's contract: exit codes, one clear line per mistake, help, doctor.
#
# Needs HPX_TOOL and HPX_PYTHON. No peer: the ports used are known to be closed.
set -u
tool=${HPX_TOOL:?}
python=${HPX_PYTHON:-python3}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failures=0

fail() {
    printf 'FAILED: %s\n' "$*"
    sed 's/^/  stdout: /' "$work/out"
    sed 's/^/  stderr: /' "$work/err"
    failures=$((failures + 1))
}

# expect CODE PATTERN ARGS...: exit code, and stderr is one line that matches PATTERN ('' = empty).
expect() {
    code=$1 pattern=$2
    shift 2
    "$tool" "$@" >"$work/out" 2>"$work/err" </dev/null
    got=$?
    [ "$got" = "$code" ] || fail "exit $got instead of $code: hpx $*"
    if [ -z "$pattern" ]; then
        [ ! -s "$work/err" ] || fail "unexpected stderr: hpx $*"
    else
        grep -q -- "$pattern" "$work/err" || fail "no '$pattern': hpx $*"
        [ "$(wc -l <"$work/err")" = 1 ] || fail "not one line: hpx $*"
    fi
}

# --- help and version
expect 0 '' --version
grep -q '^hpx [0-9]*\.[0-9]*\.[0-9]*$' "$work/out" || fail '--version'
expect 0 '' --help
for command in ws tls exchange echo ws-testee doctor quickstart; do
    expect 0 '' --help
    grep -q "^  $command " "$work/out" || fail "--help does not name $command"
    expect 0 '' "$command" --help
    grep -q "^usage: hpx $command" "$work/out" || fail "$command --help"
    expect 0 '' help "$command"
    grep -q "^usage: hpx $command" "$work/out" || fail "help $command"
    expect 2 "^hpx $command: unknown or ambiguous option '--nonsense'" "$command" --nonsense
    expect 2 "^hpx $command: unknown option '-Z'" "$command" -Z
    expect 2 "^hpx $command: option '--help' takes no value" "$command" --help=5
done
for code in 0 1 2 3 4 5; do
    "$tool" --help | grep -q "^  $code  " || fail "--help does not document exit code $code"
done

# --- usage errors
expect 2 "^hpx: unknown command 'nonsense'" nonsense
expect 2 "^hpx: unknown option '--nonsense'" --nonsense
expect 2 '^hpx tls: HOST:PORT is missing' tls
expect 2 "^hpx tls: 'a:b' is not HOST\[:PORT\]" tls a:b
expect 2 "^hpx tls: '\[::1' is not HOST" tls '[::1'
expect 2 "^hpx tls: unexpected 'two'" tls one two
expect 2 "^hpx tls: --pin '12' is not 64 hexadecimal digits" tls --pin 12 one
expect 2 "^hpx tls: --min is 1.2 or 1.3, not '1.1'" tls --min 1.1 one
expect 2 '^hpx ws: a URL is missing' ws
expect 2 "^hpx ws: unexpected 'two'" ws ws://127.0.0.1:1 two
expect 2 "^hpx ws: option '--count' needs a value" ws ws://127.0.0.1:1 --count
expect 2 "^hpx ws: --count 'x' is not a number" ws ws://127.0.0.1:1 --count x
expect 2 "^hpx ws: --count '0' is not a number from 1" ws ws://127.0.0.1:1 --count 0
expect 2 "^hpx ws: --count '-1' is not" ws ws://127.0.0.1:1 --count=-1
expect 2 "^hpx ws: --timeout 'soon' is not a number of seconds" ws ws://127.0.0.1:1 --timeout soon
expect 2 "^hpx ws: --timeout '0' is not" ws ws://127.0.0.1:1 --timeout 0
expect 2 '^hpx: config: ' ws http://127.0.0.1:1
expect 2 '^hpx: config: ' ws ws://
expect 2 '^hpx get: a URL is missing' get
expect 2 '^hpx: config: ' get ws://127.0.0.1:1
expect 2 "^hpx get: --header 'nonsense' is not 'Name: value'" get http://127.0.0.1:1 -H nonsense
expect 2 '^hpx post: --data and --data-file exclude' post http://127.0.0.1:1 -d x --data-file y
expect 2 "^hpx get: --write-out 'xml'" get http://127.0.0.1:1 -w xml
expect 2 '^hpx get: more --output than URLs' get http://127.0.0.1:1 -o a -o b
expect 2 '^hpx echo: --listen ADDR:PORT is missing' echo
expect 2 "^hpx echo: --wait is 'spin' or 'sleep'" echo --listen 127.0.0.1:0 --wait maybe
expect 2 '^hpx echo: --tls needs a certificate file and a key file' echo --listen a:0 --tls one
expect 2 "^hpx exchange: --symbols 'A,,B': " exchange --symbols A,,B
expect 2 "^hpx exchange: --rate '1x' is not" exchange --rate 1x
expect 2 '^hpx ws-testee: --url ws://HOST:PORT is missing' ws-testee
expect 2 "^hpx ws-testee: --agent is made of" ws-testee --url ws://127.0.0.1:1 --agent 'a b'
expect 2 "^hpx quickstart: --duration '-5' is not" quickstart --duration=-5
"$tool" >"$work/out" 2>"$work/err"
[ $? = 2 ] || fail 'no arguments'
grep -q '^usage: hpx' "$work/err" || fail 'no arguments: no usage'

# --- connections that cannot be: the stage and the cause
port=$("$python" -c 'import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])')
expect 1 '^hpx: connect: .*refused' ws "ws://127.0.0.1:$port/"
expect 1 '^hpx: connect: .*refused' ws "wss://127.0.0.1:$port/"
expect 1 '^hpx: resolve: ' ws ws://no-such-host.invalid/ --timeout 20
expect 1 '^hpx: config: .*/no/such/ca.pem' ws wss://127.0.0.1:1/ --cacert /no/such/ca.pem
expect 1 '^hpx: connect: .*refused' ws-testee --quiet --url "ws://127.0.0.1:$port"
expect 1 '^hpx: config: ' echo --listen 127.0.0.1:0 --tls /no/such.pem /no/such.key
expect 1 '^hpx: config: ' exchange --dir /no/such/folder/at/all
expect 1 '^hpx: config: ' echo --listen 192.0.2.1:1

# --- doctor
expect 0 '' doctor
grep -q '^hpx can run here' "$work/out" || fail 'doctor: verdict'
grep -q "$(printf '\033')" "$work/out" && fail 'doctor: escapes without a terminal'
expect 0 '' doctor --json
"$python" -m json.tool <"$work/out" >/dev/null || fail 'doctor --json: not JSON'
grep -q '"ok": true' "$work/out" || fail 'doctor --json: ok'
mkdir "$work/empty"
expect 0 '' doctor --sysroot "$work/empty"
grep -q 'clocksource *unknown' "$work/out" || fail 'doctor: unknown without /sys'
mkdir -p "$work/slow/sys/devices/system/clocksource/clocksource0" \
    "$work/slow/sys/devices/system/cpu/cpu0/cpufreq" "$work/slow/sys/kernel/mm/transparent_hugepage"
printf 'hpet\n' >"$work/slow/sys/devices/system/clocksource/clocksource0/current_clocksource"
printf 'powersave\033[31m\n' >"$work/slow/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
printf '[always] madvise never\n' >"$work/slow/sys/kernel/mm/transparent_hugepage/enabled"
expect 0 '' doctor --sysroot "$work/slow"
[ "$(grep -c '^  WARN  \(clocksource\|governor\|huge pages\) ' "$work/out")" = 3 ] ||
    fail 'doctor: warnings'
grep -q "$(printf '\033')" "$work/out" && fail 'doctor: a file wrote escapes'

# --- stdout that nobody reads: the end, without a word
"$tool" --help 2>"$work/err" | head -n 0
: >"$work/out"
[ ! -s "$work/err" ] || fail 'a closed pipe is no error'
"$tool" --help >&- 2>"$work/err" || fail 'a closed stdout is no error'
if [ -e /dev/full ]; then
    "$tool" --help >/dev/full 2>"$work/err" && fail '/dev/full'
    grep -q '^hpx: stdout: ' "$work/err" || fail '/dev/full: no message'
fi

[ "$failures" = 0 ] && echo 'all good'
exit "$((failures > 0))"
