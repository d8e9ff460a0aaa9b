"""Sizes and words: files of at most 800 lines, lines of at most 100 columns, no leftover markers,
no path or registry of one particular machine; functions of more than 70 lines may only get fewer
(ratchet.txt). Reports the density of assertions by folder.

usage: check_text.py <repository> | --self-test
"""
import os
import re
import sys

import common

FILE_LINES_MAX = 800
LINE_COLUMNS_MAX = 100
FUNCTION_LINES_MAX = 70
RATCHET = "tests/tidy/ratchet.txt"

C_SUFFIXES = (".c", ".h", ".cc")
CODE_SUFFIXES = C_SUFFIXES + (".py", ".sh", ".cmake", ".js", ".txt", ".in", ".map", ".d", "setup",
                              "check", "quickstart", "run")
UNCHECKED = {"LICENSE"}

BANNED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
MACHINE_PATH = re.compile(r"(?<![\w.~}*)])/(home|work|root|Users)/\w")
REGISTRY = re.compile(
    r"\b(deb|security|snapshot|ftp)\.debian\.org|registry\.npmjs|\bpypi\.(org|io)|pythonhosted\.org"
    r"|proxy\.golang|\.pkg\.dev|static\.crates\.io|index\.crates\.io|nodesource\.com")
SPDX = "SPDX-License-Identifier: Apache-2.0"
ASSERTION = re.compile(r"\b(HPX_[DX]?ASSERT|HPXI_ASSERT_\w+|_Static_assert|static_assert)\s*\(")
FUNCTION = re.compile(
    r"^(?!struct|union|enum|typedef|static const)[^\n{};#/ ][^{};#]*\)[^{};]*\n\{\n(.*?)^\}",
    re.M | re.S)


def functions(text):
    """(first line, number of lines of the body) of each function in the Linux brace style."""
    for match in FUNCTION.finditer(text):
        yield text.count("\n", 0, match.start(1)), match[1].count("\n")


def check_lines(path, text):
    lines = text.split("\n")
    if path.endswith(CODE_SUFFIXES) and len(lines) - 1 > FILE_LINES_MAX:
        yield "%s: %d lines, %d are allowed" % (path, len(lines) - 1, FILE_LINES_MAX)
    for number, line in enumerate(lines, 1):
        where = "%s:%d: " % (path, number)
        if path.endswith(CODE_SUFFIXES) and len(line) > LINE_COLUMNS_MAX:
            yield where + "%d columns, %d are allowed" % (len(line), LINE_COLUMNS_MAX)
        if line != line.rstrip() and not path.endswith(".md"):
            yield where + "white space at the end of the line"
        for pattern, what in ((BANNED, "a leftover marker"), (MACHINE_PATH, "a machine's own path"),
                              (REGISTRY, "a registry's host name")):
            found = pattern.search(line)
            if found:
                yield where + "%s: %s" % (what, found[0])
    if path.endswith(C_SUFFIXES) and SPDX not in lines[0]:
        yield "%s:1: the first line is not '%s'" % (path, SPDX)


def check(root, report=None):
    complaints, long_functions, density = [], [], {}
    for path in common.files(root):
        if os.path.basename(path) in UNCHECKED or not common.is_text(root, path):
            continue
        text = common.read(root, path)
        complaints += check_lines(path, text)
        if path.endswith(C_SUFFIXES):
            sizes = list(functions(text))
            long_functions += ["%s:%d: a function of %d lines" % (path, line, size)
                               for line, size in sizes if size > FUNCTION_LINES_MAX]
            total = density.setdefault(path.split("/")[0], [0, 0])
            total[0] += len(sizes)
            total[1] += len(ASSERTION.findall(text))
    allowed = int(common.read(root, RATCHET).split()[-1])
    if len(long_functions) > allowed:
        complaints += long_functions
        complaints.append("%d functions of more than %d lines, %s allows %d"
                          % (len(long_functions), FUNCTION_LINES_MAX, RATCHET, allowed))
    if report is not None:
        report += long_functions
        if len(long_functions) < allowed:
            report.append("%s can be lowered to %d" % (RATCHET, len(long_functions)))
        for folder, (count, assertions) in sorted(density.items()):
            if count:
                report.append("%s: %d functions, %.2f assertions each"
                              % (folder, count, assertions / count))
    return complaints


def self_test():
    head = "/* %s */\n" % SPDX
    body = "    x();\n" * 71
    good = {
        RATCHET: "long functions: 1\n",
        "ring/a.c": head + "static int f(void)\n{\n" + body + "}\n\nint g(int a,\n      int b)\n{\n"
                    "    return a;\n}\n",
        "docs/a.md": "fine\n",
    }
    bad = {
        "long file": {"ring/b.c": head + "\n" * 800},
        "long line": {"ring/b.c": head + "x" * 101 + "\n"},
        "marker": {"docs/b.md": "TO" "DO later\n"},
        "machine path": {"tools/setup": "cd /ho" "me/me\n"},
        "registry": {"tools/setup": "URIs: http://deb." "debian.org/debian\n"},
        "no licence line": {"ring/b.c": "int x;\n"},
        "trailing space": {"ring/b.c": head + "int x; \n"},
        "one long function more": {
            "ring/b.c": head + "void hpxi_long(int a,\n    int b)\n{\n" + body + "}\n"},
    }
    common.self_test(check, good, bad)


if __name__ == "__main__":
    if sys.argv[1] == "--self-test":
        self_test()
    else:
        lines = []
        result = check(sys.argv[1], lines)
        print("\n".join(lines))
        common.finish(result)
