"""A WebSocket client made of python3-websockets, against our server role (tests/e2e/service.h).

usage: ws_client.py URL CASE[,CASE...] [CA]
Exit status 0 if all cases went as they should; the reason is on stderr otherwise.
SPDX-License-Identifier: Apache-2.0
"""
import asyncio
import random
import ssl
import sys

import websockets

SIZES = [0, 1, 125, 126, 127, 65535, 65536, 1 << 20, 16 << 20]


def check(good, *what):
    if not good:
        sys.exit("ws_client.py: " + " ".join(map(repr, what)))


def text_of(size):
    unit = "a\u00e9\u20ac\U0001f600"  # 10 bytes
    return unit * (size // 10) + "x" * (size % 10)


def pieces(message):
    at = 0
    while True:
        size = random.choice([1, random.randint(1, len(message) + 1)])
        yield message[at:at + size]
        at += size
        if at >= len(message):
            return


async def case_echo(connect):
    async with connect("/echo") as ws:
        for size in SIZES:
            for message in (text_of(size), random.Random(size).randbytes(size)):
                await ws.send(message)
                check(await ws.recv() == message, size, type(message))


async def case_fragments(connect):
    async with connect("/echo") as ws:
        for size in SIZES[1:]:
            for message in (text_of(size), random.Random(size).randbytes(size)):
                await ws.send(pieces(message))
                check(await ws.recv() == message, size, type(message))


async def case_pipelined(connect):
    async with connect("/echo") as ws:
        for i in range(1000):
            await ws.send("message %d" % i)
        for i in range(1000):
            check(await ws.recv() == "message %d" % i, i)


async def case_ping(connect):
    async with connect("/echo") as ws:
        for payload in (b"", b"p", b"q" * 125):
            await asyncio.wait_for(await ws.ping(payload), 10)


async def case_push(connect):
    async with connect("/push") as ws:
        check(await ws.recv() == "one")
        check(await ws.recv() == "two")
        check(await ws.recv() == b"b" * 70000)


async def case_our_close(connect):
    ws = await connect("/echo")
    await ws.close(4005, "bye \u20ac")
    check(ws.close_code == 4005, ws.close_code)


async def case_their_close(connect):
    ws = await connect("/close")
    await ws.send("now")
    await ws.wait_closed()
    check((ws.close_code, ws.close_reason) == (4002, "enough"), ws.close_code, ws.close_reason)


async def case_stay(connect):
    """Until the server goes away."""
    ws = await connect("/echo")
    print("ready", flush=True)
    await ws.wait_closed()
    check(ws.close_code == 1001, ws.close_code)


async def case_subprotocol(connect):
    async with connect("/echo", subprotocols=["hpx.v1", "hpx.v2", "hpx.v3"]) as ws:
        check(ws.subprotocol == "hpx.v2", ws.subprotocol)


def main():
    base, cases = sys.argv[1:3]
    context = ssl.create_default_context(cafile=sys.argv[3]) if len(sys.argv) > 3 else None

    def connect(path, **more):
        return websockets.connect(base + path, ssl=context, compression=None, max_size=64 << 20,
                                  ping_interval=None, **more)

    for case in cases.split(","):
        asyncio.run(globals()["case_" + case](connect))


main()
