"""Folders include in one direction only: ring -> protocols -> pool -> engine, and never back up.

usage: check_includes.py <repository> | --self-test
"""
import re
import sys

import common

# What sans-IO code may take from ring/: buffers and assertions, nothing that reaches a kernel.
RING_PURE = {"ring/assert.h", "ring/alloc.h", "ring/quote.h", "ring/span.h"}
OURS = ["ring", "ws", "tls", "pool", "h1", "h2", "engine"]

# folder -> folders whose internal headers it may include ("ring*": the RING_PURE headers only)
MAY_INCLUDE = {
    "include": [],
    "ring": ["ring"],
    "ws": ["ws", "ring*"],
    "tls": ["tls", "ring*"],
    "h1": ["h1", "ring*"],
    "h2": ["h2", "ring*"],
    "pool": ["pool", "ring*"],
    "engine": OURS,
    "tools": ["tools"],
    "examples": ["examples"],
    "tests": OURS + ["tests", "tools", "bench"],
    "bench": OURS + ["tests", "bench"],
}

# Programs may name a header that lies beside them without its folder.
PROGRAMS = {"tools", "examples", "tests", "bench"}

# Other people's headers -> folders that may include them
FOREIGN = [
    (re.compile(r"liburing|linux/io_uring"), {"ring", "tests", "bench"}),
    (re.compile(r"wolfssl/(wolfcrypt|options)"),
     {"ws", "tls", "engine", "tools", "tests", "bench"}),
    (re.compile(r"wolfssl/"), {"tls", "tools", "tests", "bench"}),
    (re.compile(r"ares"), {"engine", "tests"}),
    (re.compile(r"yyjson"), {"engine", "tools", "examples", "tests", "bench"}),
    (re.compile(r"nghttp2/"), {"h2", "tests", "bench"}),
    (re.compile(r"zlib"), {"ws", "h1", "tests", "bench"}),
    (re.compile(r"mimalloc"), {"ring", "tls", "engine", "tests", "bench"}),
    (re.compile(r"cmocka"), {"tests"}),
]

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def complaint_about(folder, quote, name):
    if quote == "<":
        if name.startswith("hpx/"):
            return None
        folders = next((folders for pattern, folders in FOREIGN if pattern.match(name)), None)
        if folders is not None and folder not in folders:
            return "<%s> belongs to %s" % (name, ", ".join(sorted(folders)))
        return None
    if ".." in name.split("/"):
        return '"%s": paths start at the repository root' % name
    target = name.split("/")[0]
    allowed = MAY_INCLUDE[folder]
    if "/" not in name:
        if folder in PROGRAMS:
            return None  # a header beside the file
        return '"%s": write the path from the repository root' % name
    if target in allowed or ("ring*" in allowed and name in RING_PURE):
        return None
    return '%s/ may not include "%s"' % (folder, name)


def check(root):
    complaints = []
    for path in common.files(root, common.CODE_FOLDERS, [".c", ".h", ".cc"]):
        text = common.read(root, path)
        for match in INCLUDE.finditer(text):
            complaint = complaint_about(path.split("/")[0], match[1], match[2])
            if complaint:
                line = text.count("\n", 0, match.start(2)) + 1
                complaints.append("%s:%d: %s" % (path, line, complaint))
    return complaints


def self_test():
    good = {
        "include/hpx/a.h": "#include <stdint.h>\n#include <hpx/base.h>\n",
        "ring/r.c": '#include <liburing.h>\n#include "ring/r.h"\n',
        "ws/w.c": '#include "ws/w.h"\n\n#include <hpx/ws.h>\n\n#include "ring/assert.h"\n',
        "engine/e.c": '#include "ws/w.h"\n#include "ring/ring.h"\n#include "tls/tls.h"\n',
        "tools/hpx/t.c": '#include <hpx/hpx.h>\n#include "tools/hpx/t.h"\n',
        "tests/ws/t.c": '#include "ws/w.h"\n#include "tests/support/test.h"\n',
    }
    bad = {
        "public header includes an internal one": {"include/hpx/a.h": '#include "ring/r.h"\n'},
        "codec includes the ring": {"ws/w.c": '#include "ring/ring.h"\n'},
        "codec includes the engine": {"ws/w.c": '#include "engine/e.h"\n'},
        "ring includes a codec": {"ring/r.c": '#include "ws/w.h"\n'},
        "tool includes an internal header": {"tools/hpx/t.c": '#include "engine/e.h"\n'},
        "example includes an internal header": {"examples/x.c": '#include "ring/spsc.h"\n'},
        "relative path": {"engine/e.c": '#include "../ring/ring.h"\n'},
        "bare name": {"engine/e.c": '#include "e.h"\n'},
        "liburing outside ring": {"engine/e.c": "#  include <liburing.h>\n"},
        "wolfSSL outside tls": {"engine/e.c": "#include <wolfssl/ssl.h>\n"},
    }
    common.self_test(check, good, bad)


if __name__ == "__main__":
    if sys.argv[1] == "--self-test":
        self_test()
    else:
        common.finish(check(sys.argv[1]))
