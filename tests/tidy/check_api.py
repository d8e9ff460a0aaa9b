"""Every public function says in its comment which thread may call it (@thread); the other tags are
counted.

usage: check_api.py <repository> | --self-test
"""
import re
import sys

import common

COMMENT = re.compile(r"/\*.*?\*/", re.S)
DECLARATION = re.compile(r"^HPX_API\b[^;{]*?\b(hpx_\w+)\s*\([^;{]*;", re.M | re.S)
TAGS = ["@thread", "@alloc", "@blocks", "@returns"]


def functions(text):
    """(name, line, doc comment) of each HPX_API function. One comment may serve a block of
    declarations that follow each other without an empty line."""
    docs = {match.end(): match[0] for match in COMMENT.finditer(text) if match[0].startswith("/**")}
    previous_end, previous_doc = -1, ""
    # Comments are blanked out in place, so that offsets stay true.
    bare = COMMENT.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    for match in DECLARATION.finditer(bare):
        before = text[:match.start()].rstrip()
        gap = text[len(before):match.start()]
        doc = ""
        if len(before) in docs and gap.count("\n") <= 1:
            doc = docs[len(before)]
        elif previous_end >= 0 and re.fullmatch(r"[ ]*\n", bare[previous_end:match.start()]):
            doc = previous_doc
        yield match[1], text.count("\n", 0, match.start()) + 1, doc
        previous_end, previous_doc = match.end(), doc


def check(root, counts=None):
    complaints = []
    for path in common.files(root, ["include/hpx"], [".h"]):
        text = common.read(root, path)
        found = list(functions(text))
        for name, line, doc in found:
            if not doc:
                complaints.append("%s:%d: %s has no doc comment" % (path, line, name))
            elif not re.search(r"@thread\s+\w", doc):
                complaints.append("%s:%d: %s: the comment has no @thread" % (path, line, name))
            for tag in TAGS if counts is not None else []:
                counts[tag] = counts.get(tag, 0) + (tag in doc)
        if counts is not None:
            counts["functions"] = counts.get("functions", 0) + len(found)
        marks = len(re.findall(r"^HPX_API\b", COMMENT.sub("", text), re.M))
        if marks != len(found):
            complaints.append("%s: %d HPX_API marks but %d functions understood"
                              % (path, marks, len(found)))
    return complaints


def self_test():
    head = "#define HPX_API __attribute__((visibility(\"default\")))\n"
    good = {"include/hpx/a.h": head + (
        "/** Does it. @thread any @alloc never */\nHPX_API void hpx_a(void);\n"
        "HPX_API HPX_NODISCARD int\nhpx_b(int (*f)(void), /* why */\n      int x);\n\n"
        "/**\n * Third.\n * @thread owner\n */\nHPX_API int hpx_c(void);\n")}
    bad = {
        "no comment": {"include/hpx/b.h": "HPX_API void hpx_a(void);\n"},
        "no tag": {"include/hpx/b.h": "/** Does it. */\nHPX_API void hpx_a(void);\n"},
        "empty tag": {"include/hpx/b.h": "/** Does it. @thread */\nHPX_API void hpx_a(void);\n"},
        "plain comment": {"include/hpx/b.h": "/* @thread any */\nHPX_API void hpx_a(void);\n"},
        "comment far away": {
            "include/hpx/b.h": "/** @thread any */\n\n\nHPX_API void hpx_a(void);\n"},
        "next block": {"include/hpx/b.h": "/** @thread any */\nHPX_API void hpx_a(void);\n"
                       "\nHPX_API void hpx_b(void);\n"},
    }
    common.self_test(check, good, bad)


if __name__ == "__main__":
    if sys.argv[1] == "--self-test":
        self_test()
    else:
        totals = {}
        result = check(sys.argv[1], totals)
        print(", ".join("%s %d" % item for item in sorted(totals.items())))
        common.finish(result)
