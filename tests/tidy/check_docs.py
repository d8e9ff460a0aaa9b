#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The documents name files that exist, and the programs in them are those that are compiled: the
README's, and each one below a line `<!-- program: examples/NAME.c -->`."""

import pathlib
import re
import sys
import tempfile

# `dir/file.ext` or `dir/` in backticks or as a link target; build/ and .deps/ are made, not kept.
PATH = re.compile(r"`((?:[\w.-]+/)+[\w.-]*)`|\]\(([\w./-]+)\)")
# A program that stands in a document: the file from its first #include on.
PROGRAM = re.compile(r"<!-- program: ([\w./-]+) -->\n```c\n(.*?)```", re.S)
MADE = ("build/", ".deps/", "public/", "private/")


def program_of(readme):
    match = re.search(r"```c\n(.*?)```", readme, re.S)
    return match.group(1) if match else ""


def check_programs(root, document):
    for match in PROGRAM.finditer(document.read_text()):
        path = root / match.group(1)
        name = f"{document.relative_to(root)}: the program"
        if not path.exists():
            yield f"{name} {match.group(1)} does not exist"
        elif match.group(2) != path.read_text()[path.read_text().index("#include"):]:
            yield f"{name} differs from {match.group(1)}"


def check(root):
    problems = []
    readme = (root / "README.md").read_text()
    example = (root / "examples/first.c").read_text().split("\n", 2)[2]
    if program_of(readme) != example:
        problems.append("README.md: the program differs from examples/first.c")
    documents = [root / "README.md", root / "CONTRIBUTING.md"]
    documents += sorted((root / "docs").rglob("*.md"))
    for document in documents:
        problems += check_programs(root, document)
        for match in PATH.finditer(document.read_text()):
            name = match.group(1) or match.group(2)
            if name.startswith(MADE) or name.startswith("http") or "<" in name:
                continue
            beside = document.parent / name
            if not (root / name).exists() and not beside.exists():
                problems.append(f"{document.relative_to(root)}: {name} does not exist")
    return problems


def self_test():
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name in ("docs", "examples"):
            (root / name).mkdir()
        (root / "examples/first.c").write_text("/* a */\n/* b */\nint x;\n")
        (root / "CONTRIBUTING.md").write_text("see `docs/here.md`\n")
        (root / "docs/here.md").write_text("[up](../README.md)\n")
        (root / "README.md").write_text("```c\nint x;\n```\n`examples/first.c`\n")
        assert check(root) == [], check(root)
        (root / "README.md").write_text("```c\nint y;\n```\n`examples/gone.c` [x](docs/gone.md)\n")
        assert len(check(root)) == 3, check(root)
        (root / "README.md").write_text("```c\nint x;\n```\n")
        (root / "examples/b.c").write_text("/* b */\n#include <b.h>\nint b;\n")
        marked = "<!-- program: examples/%s.c -->\n```c\n#include <b.h>\nint %s;\n```\n"
        (root / "docs/here.md").write_text(marked % ("b", "b"))
        assert check(root) == [], check(root)
        (root / "docs/here.md").write_text(marked % ("b", "c") + marked % ("gone", "b"))
        assert len(check(root)) == 2, check(root)
    print("self-test passed")


if __name__ == "__main__":
    if sys.argv[1] == "--self-test":
        self_test()
        sys.exit(0)
    found = check(pathlib.Path(sys.argv[1]))
    print("\n".join(found) or "documents agree with the tree")
    sys.exit(1 if found else 0)
