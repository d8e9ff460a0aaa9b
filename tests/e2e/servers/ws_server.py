"""A WebSocket server made of python3-websockets, plain and TLS. What it does follows from the path:

  /echo       every message comes back
  /fragment   comes back in random fragments
  /ping       pings; each pong comes back as the text "pong PAYLOAD"
  /close?code=C&reason=R   closes at the first message
  /headers    the request's x-* headers as one text message, at once

usage: ws_server.py [--tls CERT KEY]
stdout: "listening PORT", "listening-tls PORT"; "open PATH SUBPROTOCOL" and "closed CODE REASON" per
connection.
SPDX-License-Identifier: Apache-2.0
"""
import asyncio
import random
import ssl
import sys
import urllib.parse

import websockets


def say(*words):
    print(*words, flush=True)


def fragments(message):
    """A generator of at least one piece: websockets sends what it yields as fragments."""
    at = 0
    while True:
        size = random.choice([1, 2, random.randint(1, len(message) + 1)])
        yield message[at:at + size]
        at += size
        if at >= len(message):
            return


async def serve_ping(ws):
    for payload in (b"", b"a", b"x" * 125):
        await (await ws.ping(payload))
        await ws.send("pong " + payload.decode())


async def serve(ws):
    path = urllib.parse.urlsplit(ws.path)
    query = {name: values[0] for name, values in urllib.parse.parse_qs(path.query).items()}
    say("open", ws.path, ws.subprotocol or "-")
    if path.path == "/headers":
        headers = sorted((name.lower(), value) for name, value in ws.request_headers.raw_items()
                         if name.lower().startswith("x-"))
        await ws.send(";".join("%s=%s" % header for header in headers))
    elif path.path == "/ping":
        await serve_ping(ws)
    try:
        async for message in ws:
            if path.path == "/close":
                await ws.close(int(query["code"]), query.get("reason", ""))
            elif path.path == "/fragment" and message:
                await ws.send(fragments(message))
            else:
                await ws.send(message)
    except websockets.exceptions.ConnectionClosedError:
        pass  # any code but 1000 and 1001
    await ws.wait_closed()
    say("closed", ws.close_code, ws.close_reason)


async def listen(word, context):
    server = await websockets.serve(
        serve, "127.0.0.1", 0, ssl=context, subprotocols=["hpx.v2"], max_size=64 << 20,
        max_queue=None, ping_interval=None, compression=None)
    say(word, server.sockets[0].getsockname()[1])


async def main():
    await listen("listening", None)
    if sys.argv[1:2] == ["--tls"]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[2], sys.argv[3])
        await listen("listening-tls", context)
    await asyncio.Future()


asyncio.run(main())
