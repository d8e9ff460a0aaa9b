#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads the raw JSON of bench_e2e_session and shows it as tables.

usage: bench/report_session.py RESULTS.json

Every number is the median over the repetitions, in brackets the best of them: what the machine does
when nobody disturbs. Differences are taken within a repetition.
"""

import json
import pathlib
import statistics
import sys

REQUESTS = [
    ("request/inline", "inline: handlers on the shard's thread"),
    ("request/port_same_thread", "a port on the shard's thread"),
    ("request/port", "a port on another thread, both spinning"),
    ("request/port_wait", "`hpx_handle_request_wait()`, both sleeping"),
]
FLOODS = [
    ("flood/inline", "inline"),
    ("flood/port_same_thread", "a port on the shard's thread"),
]
RECONNECTS = [
    ("reconnect/plain/0", "plain, no topics"),
    ("reconnect/plain/500", "plain, 500 topics"),
    ("reconnect/tls/0", "TLS 1.3, full handshake, no topics"),
    ("reconnect/tls/500", "TLS 1.3, full handshake, 500 topics"),
    ("reconnect/tls_resumed/0", "TLS 1.3, resumed, no topics"),
    ("reconnect/tls_resumed/500", "TLS 1.3, resumed, 500 topics"),
]


def load(path):
    """{variant: {repetition: counters}} of single runs, aggregates left out."""
    runs = {}
    for entry in json.loads(pathlib.Path(path).read_text())["benchmarks"]:
        if entry.get("run_type") == "iteration":
            name = entry["name"].split("/iterations")[0]
            runs.setdefault(name, {})[entry["repetition_index"]] = entry
    return runs


def values(runs, name, counter):
    return [run[counter] for run in runs[name].values()]


def both(numbers, scale, best=min):
    return f"{statistics.median(numbers) / scale:.2f} ({best(numbers) / scale:.2f})"


def added(runs, name, base, counter):
    common = runs[name].keys() & runs[base].keys()
    return statistics.median(runs[name][i][counter] - runs[base][i][counter] for i in common)


def requests(runs):
    lines = ["| one request at a time | p50 µs | p99 µs | added to inline, p50 µs |",
             "|---|---:|---:|---:|"]
    for name, label in REQUESTS:
        plus = added(runs, name, "request/inline", "p50_ns") / 1e3
        lines.append(f"| {label} | {both(values(runs, name, 'p50_ns'), 1e3)} "
                     f"| {both(values(runs, name, 'p99_ns'), 1e3)} | {plus:+.2f} |")
    return lines


def floods(runs):
    lines = ["| 64 requests under way | CPU ns per request | requests/s of a core | allocations |",
             "|---|---:|---:|---:|"]
    for name, label in FLOODS:
        cost = values(runs, name, "cpu_ns_per_request")
        rate = [1e9 / ns for ns in cost]
        lines.append(f"| {label} | {both(cost, 1)} | {both(rate, 1e6, max)} M "
                     f"| {max(values(runs, name, 'allocations')):.0f} |")
    return lines


def fan_out(runs):
    lines = ["| one update of 112 bytes to | inline: shard ns | port: shard ns "
             "| port: reader ns per message | allocations |", "|---|---:|---:|---:|---:|"]
    for count in (0, 1, 4, 16):
        port, inline = f"fan_out/port/{count}", f"fan_out/inline/{count}"
        read = both(values(runs, port, "read_ns_per_message"), 1) if count else "–"
        most = max(values(runs, port, "allocations") + values(runs, inline, "allocations"))
        lines.append(f"| {count} subscriber{'' if count == 1 else 's'} "
                     f"| {both(values(runs, inline, 'shard_ns_per_update'), 1)} "
                     f"| {both(values(runs, port, 'shard_ns_per_update'), 1)} "
                     f"| {read} | {most:.0f} |")
    for way in ("inline", "port"):
        slope = added(runs, f"fan_out/{way}/16", f"fan_out/{way}/0", "shard_ns_per_update") / 16
        lines.append(f"| each further one, {way} | {slope:.1f} ns | | | |")
    return lines


def reconnects(runs):
    lines = ["| | loss to Ready, p50 µs | the attempt alone, p50 µs | p90 µs |",
             "|---|---:|---:|---:|"]
    for name, label in RECONNECTS:
        lines.append(f"| {label} | {both(values(runs, name, 'p50_ns'), 1e3)} "
                     f"| {both(values(runs, name, 'attempt_p50_ns'), 1e3)} "
                     f"| {both(values(runs, name, 'attempt_p90_ns'), 1e3)} |")
    return lines


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    runs = load(sys.argv[1])
    for table in (requests(runs), floods(runs), fan_out(runs), reconnects(runs)):
        print("\n".join(table) + "\n")


if __name__ == "__main__":
    main()
