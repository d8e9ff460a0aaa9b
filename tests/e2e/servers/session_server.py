"""A venue made of python3-websockets, plain and TLS: JSON-RPC 2.0 in the shape of
hpx_protocol_json_rpc(). Methods, usage and output are those of session_server.js.
SPDX-License-Identifier: Apache-2.0
"""
import asyncio
import json
import ssl
import sys

import websockets

stats = {"early": 0, "twice": 0}
clients = set()


def say(*words):
    print(*words, flush=True)


class Client:
    def __init__(self, ws):
        self.ws = ws
        self.authenticated = False
        self.channels = set()
        self.kept = []
        self.gone = asyncio.Event()

    async def send(self, **message):
        message["jsonrpc"] = "2.0"
        await self.ws.send(json.dumps(message, separators=(",", ":")))

    async def result(self, ident, value):
        await self.send(id=ident, result=value)

    def subscribe(self, channels):
        good = [channel for channel in channels if not channel.startswith("refused.")]
        for channel in good:
            stats["twice"] += channel in self.channels
            self.channels.add(channel)
        say("subscribed", *good)
        return good

    def unsubscribe(self, channels):
        for channel in channels:
            stats["twice"] += channel not in self.channels
            self.channels.discard(channel)
        say("unsubscribed", *channels)
        return channels

    async def auth(self, ident, params):
        self.authenticated = params["key"] == "secret"
        say("auth", "ok" if self.authenticated else "bad")
        if self.authenticated:
            await self.result(ident, {})
        else:
            await self.send(id=ident, error={"code": 13004, "message": "bad key"})

    async def publish(self, ident, params):
        await self.result(ident, "ok")
        channel = params["channel"]
        for seq in range(params["count"] if channel in self.channels else 0):
            await self.send(method="subscription",
                            params={"channel": channel, "data": {"seq": seq}})

    async def release(self, ident):
        for kept in self.kept:
            await self.result(kept, "late")
        self.kept = []
        await self.result(ident, "released")

    async def act(self, method, ident, params):
        if method == "public/fail":
            await self.send(id=ident, error={"code": -1, "message": "no"})
        elif method == "public/publish":
            await self.publish(ident, params)
        elif method == "public/silent":
            self.kept.append(ident)
        elif method == "public/release":
            await self.release(ident)
        elif method == "public/heartbeat":
            await self.result(ident, "ok")
            await self.send(method="heartbeat", params={"type": "test_request"})
        elif method == "public/test":
            say("tested")
            await self.result(ident, {"version": "1"})
        elif method == "public/drop":
            self.ws.transport.abort()
        elif method == "public/close":
            await self.ws.close(params["code"], params["reason"])

    async def on_message(self, text):
        message = json.loads(text)
        method, ident, params = message["method"], message["id"], message.get("params")
        if method == "public/auth":
            await self.auth(ident, params)
            return
        stats["early"] += not self.authenticated
        results = {
            "public/subscribe": lambda: self.subscribe(params["channels"]),
            "public/unsubscribe": lambda: self.unsubscribe(params["channels"]),
            "public/echo": lambda: params,
            "public/held": lambda: sorted(self.channels),
            "public/stats": lambda: stats,
        }
        if method in results:
            await self.result(ident, results[method]())
        else:
            await self.act(method, ident, params)


async def serve(ws):
    """One connection. What is over on the wire is said to be closed before the next one is said to
    be open: the client may be back before this program has noticed."""
    client = Client(ws)
    for old in list(clients):
        if old.ws.transport is None or old.ws.transport.is_closing():
            await old.gone.wait()
    clients.add(client)
    say("open", len(clients))
    try:
        async for text in ws:
            await client.on_message(text)
    except websockets.exceptions.ConnectionClosed:
        pass  # any code but 1000 and 1001, or no code at all
    await ws.wait_closed()
    clients.discard(client)
    say("closed", ws.close_code)
    client.gone.set()


async def listen(word, context):
    server = await websockets.serve(
        serve, "127.0.0.1", 0, ssl=context, max_queue=None, ping_interval=None, compression=None)
    say(word, server.sockets[0].getsockname()[1])


async def main():
    await listen("listening", None)
    if sys.argv[1:2] == ["--tls"]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[2], sys.argv[3])
        await listen("listening-tls", context)
    await asyncio.Future()


asyncio.run(main())
