"""Shared by the checks of this folder: the files of the repository, and how a check is run.

A check is a function `check(root, ...)` that returns a list of complaints. Each script shows with
--self-test, on a small tree made for it, that its check finds every kind of fault that it is for.
"""
import os
import sys
import tempfile

CODE_FOLDERS = ["include", "ring", "ws", "tls", "pool", "h1", "h2", "engine",
                "tools", "examples", "tests", "bench"]
OTHER_FOLDERS = ["cmake", "docs", ".ci"]
SKIPPED_FOLDERS = {"corpus", "__pycache__", "results", "build", ".deps", ".git"}


def files(root, folders=None, suffixes=None):
    """Paths below root, relative to it, sorted; top-level files too when no folders are named."""
    found = []
    for folder in folders or CODE_FOLDERS + OTHER_FOLDERS:
        for parent, children, names in os.walk(os.path.join(root, folder)):
            children[:] = sorted(set(children) - SKIPPED_FOLDERS)
            found += [os.path.relpath(os.path.join(parent, name), root) for name in names]
    if folders is None:
        found += [name for name in os.listdir(root) if os.path.isfile(os.path.join(root, name))]
    return sorted(name for name in found if suffixes is None or name.endswith(tuple(suffixes)))


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read()


def is_text(root, path):
    with open(os.path.join(root, path), "rb") as file:
        return b"\0" not in file.read(4096)


def write_tree(root, tree):
    for path, text in tree.items():
        full = os.path.join(root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(text)


def self_test(check, good, bad):
    """The check must accept the tree `good`, and complain of each change to it in `bad`."""
    with tempfile.TemporaryDirectory() as root:
        write_tree(root, good)
        complaints = check(root)
        if complaints:
            sys.exit("self-test: a good tree was refused: %s" % complaints)
    for name, change in bad.items():
        with tempfile.TemporaryDirectory() as root:
            write_tree(root, {**good, **change})
            complaints = check(root)
            if not complaints:
                sys.exit("self-test: '%s' was not found" % name)
            print("self-test: %s: %s" % (name, complaints[0]))


def finish(complaints):
    for complaint in complaints:
        print(complaint)
    print("%d complaint(s)" % len(complaints))
    sys.exit(1 if complaints else 0)
