#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seed corpus and the dictionary of fuzz_h2_session into corpus/, from RFC 9113.

The files are small, their names say what they hold, and the same call gives the same bytes. Seeds
that the fuzzer found (regressions) are kept beside them under other names and are not touched.
"""
import pathlib

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"
NAME = "fuzz_h2_session"

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8

GET = bytes([0x82, 0x87, 0x84, 0x41, 1]) + b"a"       # GET https / a
POST = bytes([0x83, 0x87, 0x84, 0x41, 1]) + b"a"
OK = b"\x88"                                         # :status 200


def frame(kind, stream=0, payload=b"", flags=0):
    return (len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
            + payload)


def literal(name, value, indexed=False):
    return (bytes([0x40 if indexed else 0, len(name)]) + name + bytes([len(value)]) + value)


def status(code):
    return bytes([0x08, 3]) + code                   # :status literal, name indexed


def setting(key, value):
    return key.to_bytes(2, "big") + value.to_bytes(4, "big")


def word(value):
    return value.to_bytes(4, "big")


HELLO = frame(SETTINGS) + frame(SETTINGS, flags=ACK)
BOTH = END_STREAM | END_HEADERS


def to_client():
    head = frame(HEADERS, 1, OK, END_HEADERS)
    return {
        "response": head + frame(DATA, 1, b"hello", END_STREAM),
        "response_length": frame(HEADERS, 1, OK + literal(b"content-length", b"5"), END_HEADERS)
        + frame(DATA, 1, b"he") + frame(DATA, 1, b"llo", END_STREAM),
        "too_long": frame(HEADERS, 1, OK + literal(b"content-length", b"5"), END_HEADERS)
        + frame(DATA, 1, b"hello, world", END_STREAM),
        "early": frame(HEADERS, 1, status(b"103") + literal(b"link", b"x"), END_HEADERS) + head
        + frame(DATA, 1, b"", END_STREAM),
        "two_early": frame(HEADERS, 1, status(b"100"), END_HEADERS) * 2 + head,
        "trailers": head + frame(DATA, 1, b"abc") + frame(HEADERS, 1, literal(b"sum", b"9"), BOTH),
        "head_only": frame(HEADERS, 5, OK + literal(b"content-length", b"500"), BOTH),
        "padded": frame(HEADERS, 1, b"\x03" + OK + b"\0\0\0", END_HEADERS | PADDED)
        + frame(DATA, 1, b"\x02hi\0\0", PADDED | END_STREAM),
        "continuation": frame(HEADERS, 1, OK) + frame(CONTINUATION, 1, literal(b"a", b"b"))
        + frame(CONTINUATION, 1, literal(b"c", b"d"), END_HEADERS) + frame(DATA, 1, b"x", 1),
        "interleaved": head + frame(HEADERS, 3, OK, END_HEADERS) + frame(DATA, 1, b"one")
        + frame(DATA, 3, b"two", END_STREAM) + frame(DATA, 1, b"three", END_STREAM),
        "reset": head + frame(RST, 1, word(8)) + frame(DATA, 1, b"late"),
        "refused": frame(RST, 1, word(7)) + frame(RST, 3, word(2)) + frame(RST, 5, word(0)),
        "goaway": frame(GOAWAY, 0, word(1) + word(0) + b"bye") + head
        + frame(DATA, 1, b"x", END_STREAM),
        "goaway_twice": frame(GOAWAY, 0, word(0x7FFFFFFF) + word(0))
        + frame(GOAWAY, 0, word(0) + word(11)),
        "push": frame(PUSH, 1, word(2) + GET, END_HEADERS),
        "upper": frame(HEADERS, 1, OK + literal(b"X", b"y"), BOTH),
        "bad_value": frame(HEADERS, 1, OK + literal(b"x", b"a\nb"), BOTH),
        "windows": frame(WINDOW, 0, word(1000)) + frame(WINDOW, 3, word(70000)) + head,
        "window_zero": frame(WINDOW, 3, word(0)),
        "window_over": frame(WINDOW, 3, word(0x7FFFFFFF)),
        "no_streams": frame(SETTINGS, 0, setting(3, 0) + setting(4, 0) + setting(5, 16384)),
        "shrunk": frame(SETTINGS, 0, setting(4, 100)) + frame(SETTINGS, 0, setting(4, 100000)),
        "many_fields": frame(HEADERS, 1, OK + literal(b"a", b"b") * 8, BOTH),
        "pings": frame(PING, 0, b"12345678") * 6 + frame(PING, 0, b"12345678", ACK),
        "empty_data": head + frame(DATA, 1) * 12,
        "unknown": frame(0xBB, 0, b"x") * 12 + head,
        "http1": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    }


def to_server():
    get = frame(HEADERS, 1, GET, BOTH)
    return {
        "get": get,
        "post": frame(HEADERS, 1, POST + literal(b"content-length", b"5"), END_HEADERS)
        + frame(DATA, 1, b"hello", END_STREAM),
        "two": get + frame(HEADERS, 3, GET + literal(b"x", b"y", True), BOTH)
        + frame(HEADERS, 5, GET + b"\xbe", BOTH),
        "upload": frame(HEADERS, 1, POST, END_HEADERS) + frame(DATA, 1, b"a" * 100)
        + frame(DATA, 1, b"\x09bb" + b"\0" * 9, PADDED)
        + frame(HEADERS, 1, literal(b"sum", b"1"), BOTH),
        "reset": frame(HEADERS, 1, POST, END_HEADERS) + frame(RST, 1, word(8))
        + frame(DATA, 1, b"late") + frame(HEADERS, 3, GET, BOTH),
        "made_you_reset": b"".join(
            frame(HEADERS, s, POST, END_HEADERS) + frame(WINDOW, s, word(0x7FFFFFFF))
            for s in (1, 3, 5, 7)),
        "priority": frame(PRIORITY, 3, word(0) + b"\x10") + frame(PRIORITY, 5, word(5) + b"\x10"),
        "no_path": frame(HEADERS, 1, bytes([0x82, 0x87, 0x41, 1]) + b"a", BOTH),
        "connection": frame(HEADERS, 1, GET + literal(b"connection", b"close"), BOTH),
        "table": frame(HEADERS, 1, b"\x3f\xe1\x1f" + GET, BOTH),
        "table_over": frame(HEADERS, 1, b"\x3f\xff\xff\xff\x0f" + GET, BOTH),
        "bad_index": frame(HEADERS, 1, b"\xff\xff\xff\xff\xff", BOTH),
        "even": frame(HEADERS, 2, GET, BOTH),
        "backwards": frame(HEADERS, 5, GET, BOTH) + frame(HEADERS, 3, GET, BOTH),
        "goaway": get + frame(GOAWAY, 0, word(0) + word(0)),
        "large": frame(HEADERS, 1, POST, END_HEADERS) + (16385).to_bytes(3, "big")
        + b"\0\0\0\0\0\1",
        "many": b"".join(frame(HEADERS, s, POST, END_HEADERS) for s in range(1, 37, 2)),
        "continuations": frame(HEADERS, 1, GET, END_STREAM)
        + frame(CONTINUATION, 1, literal(b"a", b"b")) * 20,
        "settings_odd": frame(SETTINGS, 0, b"\0\4\0"),
    }


def seeds():
    result = {}
    for role, bit, streams in (("client", 0, to_client()), ("server", 1, to_server())):
        for number, (name, data) in enumerate(streams.items()):
            for tight in (0, 2):
                plan = bytes([(number * 7 % 40) << 2 | tight | bit, (0, 0, 0x40, 0x21)[number % 4]])
                result[f"{role}_{name}" + ("_tight" if tight else "")] = plan + HELLO + data
    return result


def dictionary():
    words = {f"frame_{kind}": frame(kind, 1)[3:] for kind in range(10)}
    words |= {f"end_{kind}": frame(kind, 1, b"", 5)[3:] for kind in (0, 1, 9)}
    words |= {"get": GET, "post": POST, "ok": OK, "status": status(b"100"),
              "length": literal(b"content-length", b"5")}
    return "".join('%s="%s"\n' % (name, "".join("\\x%02x" % b for b in data))
                   for name, data in words.items())


if __name__ == "__main__":
    folder = CORPUS / NAME
    folder.mkdir(parents=True, exist_ok=True)
    for seed, content in seeds().items():
        (folder / seed).write_bytes(content)
    (CORPUS / (NAME + ".dict")).write_text(dictionary())
