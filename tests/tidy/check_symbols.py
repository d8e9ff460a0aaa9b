"""Only ring/ touches the kernel: the object files of the other folders call no function for
sockets, clocks, waiting, io_uring or random bytes. One file makes TLS contexts, one says how they
verify, and one may turn that off for a connection that asked for it. And the shared library exports
what the public headers declare, all of it under hpx_, and nothing else.

usage: check_symbols.py <repository> <folder of the object files> <shared library>
       check_symbols.py --self-test
"""
import os
import re
import subprocess
import sys
import tempfile

import check_api
import common

FORBIDDEN = re.compile(
    r"(socket|socketpair|bind|listen|accept4?|connect|shutdown|[gs]etsockopt"
    r"|getsockname|getpeername|send|sendto|sendm?msg|recv|recvfrom|recvm?msg"
    r"|p?readv?2?|p?writev?2?"
    r"|poll|ppoll|p?select|epoll_\w+|eventfd\w*|timerfd\w*|signalfd\w*"
    r"|clock_\w+|gettimeofday|time|timespec_get|nanosleep|u?sleep"
    r"|io_uring_\w+|syscall|getrandom|getentropy|getaddrinfo|gethostby\w+)")
FREE_FOLDERS = {"ring"}
EXCEPTIONS = {
    ("tls/keylog.c", "write"),  # one whole line per call to a file that others append to as well
}
# function -> the one file that may call it; none: nobody
HOMES = {
    "wolfSSL_CTX_new": "tls/context.c",
    "wolfSSL_CTX_new_ex": None,
    "wolfSSL_CTX_set_verify": "tls/verify.c",
    "wolfSSL_CertManagerSetVerify": "tls/verify.c",
    "wolfSSL_set_verify": "tls/setup.c",
}


def undefined_symbols(path):
    output = subprocess.run(["nm", "-u", "--format=posix", path], check=True, capture_output=True,
                            text=True).stdout
    # glibc may add a suffix or prefix of its own: __read_chk, __poll_chk, recv@GLIBC
    for line in output.splitlines():
        yield re.sub(r"^__(\w+)_chk$", r"\1", line.split()[0].split("@")[0])


def check_objects(objects):
    complaints, count = [], 0
    for parent, _, names in os.walk(objects):
        folder = os.path.relpath(parent, objects).split(os.sep)[0]
        for name in sorted(names):
            if not name.endswith(".o"):
                continue
            count += 1
            path = os.path.join(parent, name)
            source = os.path.relpath(path, objects).removesuffix(".o")
            for symbol in undefined_symbols(path):
                if HOMES.get(symbol, source) != source:
                    complaints.append("%s calls %s(): only %s may" % (
                        source, symbol, HOMES[symbol] or "nobody"))
                if folder in FREE_FOLDERS:
                    continue
                if FORBIDDEN.fullmatch(symbol) and (source, symbol) not in EXCEPTIONS:
                    complaints.append("%s calls %s(): only ring/ may" % (source, symbol))
    if count == 0:
        complaints.append("%s: no object files" % objects)
    return complaints


def check_library(root, library):
    output = subprocess.run(["nm", "-D", "--defined-only", "--format=posix", library], check=True,
                            capture_output=True, text=True).stdout
    exported = {line.split()[0].split("@")[0] for line in output.splitlines()}
    declared = {name for path in common.files(root, ["include/hpx"], [".h"])
                for name, _, _ in check_api.functions(common.read(root, path))}
    complaints = ["%s is exported: public names begin with hpx_" % name
                  for name in sorted(exported) if not name.startswith("hpx_")]
    complaints += ["%s is exported but in no public header" % name
                   for name in sorted(exported - declared) if name.startswith("hpx_")]
    complaints += ["%s is declared but not in the library" % name
                   for name in sorted(declared - exported)]
    return complaints


def compile_c(root, source, target, *flags):
    path = os.path.join(root, target)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    subprocess.run(["cc", "-x", "c", "-", "-o", path, *flags], input=source, text=True, check=True)
    return path


def expect(name, complaints, wanted):
    if bool(complaints) != wanted:
        sys.exit("self-test: %s: %s" % (name, complaints or "was not found"))
    print("self-test: %s: %s" % (name, complaints[0] if complaints else "accepted"))


def self_test():
    calls = "int %s(); int f(void); int f(void) { return %s(); }\n"
    with tempfile.TemporaryDirectory() as root:
        expect("empty folder", check_objects(root), True)
        compile_c(root, calls % ("send", "send"), "ring/a.c.o", "-c", "-w")
        compile_c(root, calls % ("sendmail", "sendmail"), "ws/a.c.o", "-c", "-w")
        expect("ring sends", check_objects(root), False)
        for symbol in ("send", "recvmsg", "clock_gettime", "io_uring_submit", "getaddrinfo",
                       "epoll_wait", "__read_chk", "time", "connect"):
            compile_c(root, calls % (symbol, symbol), "engine/deep/b.c.o", "-c", "-w",
                      "-fno-builtin")
            expect("engine calls " + symbol, check_objects(root), True)
    with tempfile.TemporaryDirectory() as root:
        compile_c(root, calls % (2 * ("wolfSSL_set_verify",)), "tls/setup.c.o", "-c", "-w")
        compile_c(root, calls % (2 * ("wolfSSL_CTX_new",)), "tls/context.c.o", "-c", "-w")
        expect("TLS contexts at home", check_objects(root), False)
        for symbol, source in (("wolfSSL_CTX_new", "tls/session.c.o"),
                               ("wolfSSL_CTX_new_ex", "tls/context.c.o"),
                               ("wolfSSL_set_verify", "engine/conn.c.o")):
            path = compile_c(root, calls % (symbol, symbol), source, "-c", "-w")
            expect("%s in %s" % (symbol, source), check_objects(root), True)
            os.remove(path)
    with tempfile.TemporaryDirectory() as root:
        header = "/** @thread any */\nHPX_API int hpx_a(void);\n"
        common.write_tree(root, {"include/hpx/a.h": header})
        right = "int hpx_a(void) { return 0; }"
        for name, source, wanted in (
                ("right exports", right, False),
                ("foreign export", right + "int wolf(void) { return 0; }", True),
                ("secret export", right + "int hpx_b(void) { return 0; }", True),
                ("missing export", "static int hpx_c;", True)):
            library = compile_c(root, source, "out/lib.so", "-shared", "-fPIC", "-nostdlib")
            expect(name, check_library(root, library), wanted)


if __name__ == "__main__":
    if sys.argv[1] == "--self-test":
        self_test()
    else:
        common.finish(check_objects(sys.argv[2]) + check_library(sys.argv[1], sys.argv[3]))
