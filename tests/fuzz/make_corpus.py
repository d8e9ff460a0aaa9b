#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seed corpora of the codec fuzzers into corpus/<fuzzer>/, from the rules behind them.

The files are small, their names say what they hold, and the same call gives the same bytes. Seeds
that a fuzzer found (regressions) are kept beside them under other names and are not touched.
"""
import pathlib
import zlib

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"
KEY = b"\x37\xfa\x21\x3d"

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def write(fuzzer, seeds):
    folder = CORPUS / fuzzer
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in seeds.items():
        (folder / name).write_bytes(data)


def frame(op, payload=b"", fin=True, rsv=0, masked=False, form=None, claimed=None):
    """One frame; `form` (7, 16, 64) and `claimed` override what the length would have."""
    size = len(payload) if claimed is None else claimed
    form = form or (7 if size < 126 else 16 if size < 65536 else 64)
    length7 = {7: size, 16: 126, 64: 127}[form]
    extended = {7: 0, 16: 2, 64: 8}[form]
    head = bytes([fin << 7 | rsv << 4 | op, masked << 7 | length7])
    head += size.to_bytes(extended, "big") if extended else b""
    if not masked:
        return head + payload
    return head + KEY + bytes(b ^ KEY[i % 4] for i, b in enumerate(payload))


def ws_frame_streams(masked):
    def f(op, payload=b"", **more):
        return frame(op, payload, masked=masked, **more)

    euro = "\u20ac".encode()
    return {
        "text": f(TEXT, b"hi"),
        "binary": f(BINARY, bytes(range(16))),
        "empty": f(TEXT) + f(BINARY) + f(PING) + f(PONG) + f(CLOSE),
        "length_125": f(BINARY, b"x" * 125),
        "length_126": f(BINARY, b"x" * 126),
        "length_300": f(TEXT, b"x" * 300) + f(TEXT, b"y"),
        "length_65536": f(BINARY, b"z" * 65536)[:2000],
        "not_minimal_16": f(BINARY, b"x" * 5, form=16),
        "not_minimal_64": f(BINARY, b"x" * 5, form=64),
        "length_max": f(BINARY, b"abc", claimed=2**63 - 1, form=64),
        "length_high_bit": f(BINARY, b"abc", claimed=2**63, form=64),
        "fragments": f(TEXT, b"a", fin=False) + f(0, b"b", fin=False) + f(0, b"c"),
        "fragments_and_controls": f(BINARY, b"a", fin=False) + f(PING, b"p") + f(0, b"b", fin=False)
        + f(PONG) + f(0, b"c") + f(CLOSE, b"\x03\xe8bye"),
        "fragments_empty": f(TEXT, fin=False) + f(0, fin=False) + f(0),
        "fragments_too_many": f(TEXT, fin=False) + 6 * f(0, b"x", fin=False) + f(0),
        "fragments_too_big": f(BINARY, b"x" * 100, fin=False) + f(0, b"y" * 31),
        "continuation_orphan": f(0, b"a"),
        "text_inside_text": f(TEXT, b"a", fin=False) + f(TEXT, b"b"),
        "rsv": f(TEXT, b"a", rsv=4),
        "opcode_reserved": f(3, b"a"),
        "control_fragmented": f(PING, b"a", fin=False),
        "control_long": f(PING, b"a" * 126),
        "close_code": f(CLOSE, b"\x03\xe8"),
        "close_code_bad": f(CLOSE, b"\x03\xed"),
        "close_half": f(CLOSE, b"\x03"),
        "close_reason": f(CLOSE, b"\x0f\xa0" + euro) + f(TEXT, b"after"),
        "close_reason_bad": f(CLOSE, b"\x03\xe8\xff"),
        "utf8_mixed": f(TEXT, ("price " + "\u20ac \U0001f680 \u0436" * 6).encode()),
        "utf8_fragments": f(TEXT, euro[:1], fin=False) + f(PING, b"\xff")
        + f(0, euro[1:2], fin=False)
        + f(0, euro[2:]),
        "utf8_bad": f(TEXT, b"x" * 40 + b"\xed\xa0\x80"),
        "utf8_cut": f(TEXT, b"x" * 40 + euro[:2]),
        "wrong_mask_bit": frame(TEXT, b"hi", masked=not masked),
    }


def ws_frame():
    seeds = {}
    for role, masked in (("client", False), ("server", True)):
        for name, data in ws_frame_streams(masked).items():
            for limits in (0, 2):
                first = 3
                plan = bytes([first << 2 | limits | masked, 29])
                if limits == 0 or "big" in name or "many" in name or "length" in name:
                    seeds[f"{role}_{name}" + ("_tight" if limits else "")] = plan + data
    return seeds


def utf8():
    ascii_run = b"The quick brown fox jumps over the lazy dog. " * 4
    mixed = "h\u00e9llo \u20ac \u65e5\u672c\u8a9e \U0001f680 ".encode()
    bad = {
        "overlong_2": b"\xc0\xaf", "overlong_3": b"\xe0\x9f\xbf", "overlong_4": b"\xf0\x8f\xbf\xbf",
        "surrogate": b"\xed\xa0\x80", "above": b"\xf4\x90\x80\x80", "f5": b"\xf5\x80\x80\x80",
        "continuation": b"\x80", "too_many": b"\xc3\xa9\xa9",
        "short_2": b"\xc3", "short_3": b"\xe2\x82",
        "short_4": b"\xf0\x9f\x9a", "fe": b"\xfe", "ff": b"\xff",
    }
    seeds = {
        "ascii": b"\x00\x21" + ascii_run,
        "mixed": b"\x00\x07" + mixed * 4,
        "edges": b"\x00\x05"
        + "\x7f\u0080\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff".encode(),
        "short": b"\x00\x01" + "\u20ac".encode(),
    }
    for name, data in bad.items():
        seeds["bad_" + name] = b"\x00\x03" + ascii_run[:30] + data
        seeds["bad_" + name + "_inside"] = b"\x00\x11" + mixed + data + ascii_run[:40]
    return seeds


def mask():
    seeds = {}
    for size in (1, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 64, 127, 128, 129, 200, 300):
        seeds[f"size_{size}"] = KEY + bytes([size % 256]) + bytes(i * 7 % 256 for i in range(size))
    return seeds


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def h1_response():
    def seed(data, exchange=0, tight=0, close=0):
        return bytes([exchange | tight << 2 | close << 3, 6, 11]) + data

    bodies = {
        "length": OK + b"Content-Length: 5\r\nA: b\r\n\r\nhello",
        "length_poisoned": OK + b"Content-Length: 0\r\n\r\n" + OK,
        "chunked": CHUNKED + b"5\r\nhello\r\na\r\n0123456789\r\n0\r\n\r\n",
        "extensions": CHUNKED + b'1;a;b=c;d="e\\"f"\r\nx\r\n0;z\r\n\r\n',
        "trailers": CHUNKED + b"1\r\nx\r\n0\r\nT: u\r\nV:\r\n\r\n",
        "interim": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nL: m\r\n\r\n" + OK
        + b"Content-Length: 0\r\n\r\n",
        "no_content": b"HTTP/1.1 204 x\r\nContent-Length: 1\r\n\r\nx",
        "not_modified": b"HTTP/1.1 304 x\r\nConnection: close, x\r\n\r\n",
        "old": b"HTTP/1.0 200\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
        "both": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        "folded": OK + b"A: b\r\n c\r\n\r\n",
        "bare_lf": OK + b"A: b\n\r\n",
        "huge_length": OK + b"Content-Length: 9223372036854775808\r\n\r\n",
        "huge_chunk": CHUNKED + b"8000000000000000\r\n",
    }
    seeds = {name: seed(data) for name, data in bodies.items()}
    seeds.update({name + "_tight": seed(data, tight=1) for name, data in bodies.items()})
    seeds["to_head"] = seed(OK + b"Content-Length: 5\r\n\r\n", exchange=1)
    seeds["to_connect"] = seed(OK + b"\r\nbytes", exchange=2)
    seeds["to_upgrade"] = seed(b"HTTP/1.1 101 x\r\nUpgrade: y\r\n\r\nbytes", exchange=3)
    seeds["until_close"] = seed(OK + b"\r\nbody", close=1)
    seeds["until_cut"] = seed(OK + b"\r\nbody", close=2)
    seeds["cut"] = seed(OK + b"Content-Length: 5\r\n\r\nhel", close=1)
    return seeds


def h1_request():
    get = b"GET / HTTP/1.1\r\nHost: x\r\n"
    streams = {
        "get": get + b"\r\n",
        "pipeline": b"POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
        b"PUT /2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;a\r\nx\r\n0\r\n\r\n"
        b"\r\n" + get + b"Connection: close\r\n\r\n",
        "forms": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\nGET http://[::1]:80/?a HTTP/1.1\r\nHost: x"
        b"\r\n\r\nCONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        "old": b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        "expect": get + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
        "both": get + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "http_2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "upgrade": get + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "raw": b"/abcdefgName....value...x:1.....",
    }
    return {name + suffix: bytes([flags, 4, 9]) + data for name, data in streams.items()
            for suffix, flags in (("", 0), ("_tight", 1), ("_closed", 2))}


def h1_content():
    def coded(window, data):
        c = zlib.compressobj(9, zlib.DEFLATED, window)
        return c.compress(data) + c.flush()

    text = b'{"price":"100.25","size":"3"},' * 20
    bodies = {
        "text": coded(15, text), "raw": coded(-15, text), "empty": coded(15, b""),
        "stored": b"\x78\x01\x01\x05\x00\xfa\xffhello\x06\x2c\x02\x15",
        "bomb": coded(15, bytes(100000)), "cut": coded(15, text)[:-3],
        "trailing": coded(15, b"x") + b"y",
        "dictionary": b"\x78\xbb\x00\x00\x00\x01",
    }
    members = {
        "member": coded(31, text), "members": coded(31, b"a") + coded(31, b"") + coded(31, b"b"),
        "bomb": coded(31, bytes(100000)), "bad_crc": coded(31, text)[:-8] + bytes(8),
        "named": b"\x1f\x8b\x08\x08\x00\x00\x00\x00\x02\x03name\x00" + coded(31, b"x")[10:],
    }
    seeds = {"deflate_" + name: bytes([0, 4, 30]) + data for name, data in bodies.items()}
    seeds.update({"gzip_" + name: bytes([1, 4, 30]) + data for name, data in members.items()})
    seeds.update({"tight_" + name: bytes([3, 4, 30]) + data for name, data in members.items()})
    return seeds


if __name__ == "__main__":
    write("fuzz_ws_frame", ws_frame())
    write("fuzz_utf8", utf8())
    write("fuzz_mask", mask())
    write("fuzz_h1_response", h1_response())
    write("fuzz_h1_request", h1_request())
    write("fuzz_h1_content", h1_content())
