#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads the raw JSON of bench_e2e_loopback and shows it: a table with ratios, and two charts.

usage: bench/report.py RESULTS.json [CHARTS_DIR]

Every number is the median over the repetitions; the differences are medians of differences within
one repetition, so that drift of the machine cancels out.
"""

import json
import pathlib
import re
import statistics
import sys

ECHO = [
    ("raw_spin", "raw send/recv, spinning (the floor)"),
    ("ws_hot", "WebSocket, hot receive"),
    ("ws_multishot", "WebSocket, multishot"),
    ("wss_hot", "WebSocket over TLS 1.3, hot receive"),
    ("wss_multishot", "WebSocket over TLS 1.3, multishot"),
    ("raw_blocking", "raw send/recv, blocking"),
    ("ws_sleep", "WebSocket, sleeping shard"),
]
FLOOD = [
    ("raw_blocking", "raw recv of 256 KiB, walks the headers"),
    ("ws_hot", "WebSocket, hot receive"),
    ("ws_multishot", "WebSocket, multishot"),
    ("ws_sleep", "WebSocket, multishot, sleeping shard"),
]


def load(path):
    """{(group, variant): {repetition: counters}} of single runs, aggregates left out."""
    runs = {}
    document = json.loads(pathlib.Path(path).read_text())
    for entry in document["benchmarks"]:
        if entry.get("run_type") != "iteration":
            continue
        match = re.match(r"(\w+)/(\w+)(?:/(?:slot:)?(\d+(?:x\d+)?))?", entry["name"])
        group, variant, size = match.groups()
        key = (group, variant if group != "slots" else f"{variant}:{size}")
        runs.setdefault(key, {})[entry["repetition_index"]] = entry
    return document["context"], runs


def median(runs, key, counter):
    return statistics.median(run[counter] for run in runs[key].values())


def difference(runs, key, base, counter):
    common = runs[key].keys() & runs[base].keys()
    return statistics.median(runs[key][i][counter] - runs[base][i][counter] for i in common)


def echo_table(runs):
    lines = ["| 128-byte echo | p50 µs | p99 µs | over the floor, p50 µs | ratio |",
             "|---|---:|---:|---:|---:|"]
    floor = ("echo", "raw_spin")
    for variant, label in ECHO:
        key = ("echo", variant)
        if key not in runs:
            continue
        p50 = median(runs, key, "p50_ns")
        lines.append(
            f"| {label} | {p50 / 1e3:.2f} | {median(runs, key, 'p99_ns') / 1e3:.2f} "
            f"| {difference(runs, key, floor, 'p50_ns') / 1e3:+.2f} "
            f"| {p50 / median(runs, floor, 'p50_ns'):.2f} |")
    return lines


def flood_table(runs):
    lines = ["| flood of 200-byte messages | M messages/s | CPU ns per message | ratio of rate |",
             "|---|---:|---:|---:|"]
    floor = median(runs, ("flood", "raw_blocking"), "msgs_per_s")
    for variant, label in FLOOD:
        key = ("flood", variant)
        if key not in runs:
            continue
        rate = median(runs, key, "msgs_per_s")
        lines.append(f"| {label} | {rate / 1e6:.2f} | {median(runs, key, 'cpu_ns_per_msg'):.0f} "
                     f"| {rate / floor:.2f} |")
    return lines


def slots_table(runs):
    names = {key[1].split(":")[1] for key in runs if key[0] == "slots"}
    sizes = sorted(names, key=lambda name: [int(part) for part in name.split("x")])
    if not sizes:
        return []
    lines = ["| receive slots | echo p50 µs | flood, spinning: M/s | flood, sleeping: M/s "
             "| flood, sleeping: CPU ns |", "|---:|---:|---:|---:|---:|"]
    for size in sizes:
        def of(variant, counter):
            return median(runs, ("slots", f"{variant}:{size}"), counter)

        slot, count = (int(part) for part in size.split("x"))
        label = f"{slot // 1024} KiB × {count} = {slot * count >> 20} MiB"
        lines.append(f"| {label} | {of('echo_multishot', 'p50_ns') / 1e3:.2f} "
                     f"| {of('flood_multishot', 'msgs_per_s') / 1e6:.2f} "
                     f"| {of('flood_sleep', 'msgs_per_s') / 1e6:.2f} "
                     f"| {of('flood_sleep', 'cpu_ns_per_msg'):.0f} |")
    return lines


def chart(title, rows, unit):
    """A bar chart as SVG: rows of (label, value, is_floor)."""
    top = max(value for _, value, _ in rows)
    height = 50 + 30 * len(rows)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="820" height="{height}" '
             'font-family="sans-serif" font-size="13">',
             f'<rect width="820" height="{height}" fill="white"/>',
             f'<text x="10" y="24" font-size="15" font-weight="bold">{title}</text>']
    for i, (label, value, is_floor) in enumerate(rows):
        y = 44 + 30 * i
        width = 400 * value / top
        colour = "#9aa5b1" if is_floor else "#2f6fab"
        parts.append(f'<text x="310" y="{y + 14}" text-anchor="end">{label}</text>')
        parts.append(f'<rect x="320" y="{y}" width="{width:.1f}" height="20" fill="{colour}"/>')
        parts.append(f'<text x="{326 + width:.1f}" y="{y + 14}">{value:.2f} {unit}</text>')
    return "\n".join(parts + ["</svg>", ""])


def charts(runs, folder):
    folder.mkdir(parents=True, exist_ok=True)
    echo = [(label, median(runs, ("echo", v), "p50_ns") / 1e3, v.startswith("raw"))
            for v, label in ECHO if ("echo", v) in runs]
    flood = [(label, median(runs, ("flood", v), "msgs_per_s") / 1e6, v.startswith("raw"))
             for v, label in FLOOD if ("flood", v) in runs]
    (folder / "echo.svg").write_text(
        chart("Round trip of a 128-byte message over loopback, median", echo, "µs"))
    (folder / "flood.svg").write_text(
        chart("Messages received per second, 200 bytes each", flood, "M/s"))


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    context, runs = load(sys.argv[1])
    print(f"{context['date'][:10]}, {context['num_cpus']} CPUs at {context['mhz_per_cpu']} MHz\n")
    for table in (echo_table(runs), flood_table(runs), slots_table(runs)):
        print("\n".join(table) + "\n")
    if len(sys.argv) == 3:
        charts(runs, pathlib.Path(sys.argv[2]))


if __name__ == "__main__":
    main()
