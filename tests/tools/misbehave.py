#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""misbehave.py - the exchange misbehaves as asked, seen by python3-websockets.

Goal      Every fault shows on the wire as `hpx exchange --help` says, test/state tells the truth
          about it, and a controller is never touched.
Method    Each test has an exchange of its own, a controller and one or more victims. Nothing
          sleeps to see that something does not come: a later answer proves it.

Environment: HPX_TOOL.
"""
import asyncio
import json
import sys
import unittest

sys.dont_write_bytecode = True
from peers import DEADLINE, AsyncTest, Server, call, run, websockets  # noqa: E402

CHANNELS = ["trades.BTC-USD", "book.ETH-USD"]
ALL_TOPICS = [kind + "." + symbol for kind in ("trades", "book")
              for symbol in ("BTC-USD", "ETH-USD", "SOL-USD")]
LOGIN = {"grant_type": "client_credentials", "client_id": "me", "client_secret": "secret"}


async def steer(controller, method, params):
    """As call(), with params that may be called like its own."""
    await controller.send(json.dumps({"jsonrpc": "2.0", "id": 0, "method": method,
                                      "params": params}))
    return json.loads(await soon(controller.recv()))


async def soon(awaitable):
    return await asyncio.wait_for(awaitable, DEADLINE)


class FaultTest(AsyncTest):
    arguments = ["--rate", "0", "--faults"]

    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.server = Server("exchange", "--listen", "127.0.0.1:0", "--plain", "--quiet",
                             *self.arguments)
        self.url = f"ws://127.0.0.1:{self.server.port}/ws"
        self.peers = []
        if "--faults" in self.arguments:
            self.controller = await self.connect()
            await self.state()  # a controller from here on

    async def asyncTearDown(self):
        for peer in self.peers:
            await peer.close()
        self.assertEqual(self.server.stop(), 0)

    async def connect(self):
        peer = await soon(websockets.connect(self.url, max_size=1 << 26, max_queue=None))
        self.peers.append(peer)
        return peer

    async def fault(self, name, **members):
        reply = await steer(self.controller, "test/fault", {"fault": name, **members})
        self.assertEqual(reply.get("result"), "ok", reply)

    async def state(self, **params):
        return (await steer(self.controller, "test/state", params))["result"]

    async def state_without_subscriptions(self):
        """The state once the exchange has noticed, too, that its clients are gone."""
        async def look():
            while True:
                state = await self.state()
                if not state["subscriptions"]:
                    return state
        return await soon(look())

    async def closed(self, peer):
        """The close code that it saw: 1006 for a cut."""
        try:
            while True:
                await soon(peer.recv())
        except websockets.ConnectionClosed as error:
            return 1006 if error.rcvd is None else error.rcvd.code


class AnswerTest(FaultTest):
    async def test_never(self):
        victim = await self.connect()
        await self.fault("answer", how="never", method="private/buy", times=1)
        await victim.send('{"jsonrpc":"2.0","id":1,"method":"private/buy","params":{"label":"A"}}')
        reply = await call(victim, "public/test", identifier=2)
        self.assertEqual(reply["id"], 2)  # and not 1 before it
        reply = await call(victim, "private/buy", identifier=3, label="A")
        self.assertEqual(reply["error"]["code"], 13009)
        self.assertEqual((await self.state(label="A"))["seen"], 2)
        self.assertEqual((await self.state(id=1))["seen"], 1)
        self.assertEqual((await self.state(id="1"))["seen"], 0)

    async def test_never_by_id(self):
        victim = await self.connect()
        await self.fault("answer", how="never", id=5)
        await victim.send('{"jsonrpc":"2.0","id":5,"method":"public/test"}')
        self.assertEqual((await call(victim, "public/test", identifier=6))["id"], 6)

    async def test_late(self):
        victim = await self.connect()
        await self.fault("answer", how="late", id=1, delay_ms=200)
        await self.fault("answer", how="late", id=2, delay_ms=1)
        for identifier in (1, 2):
            await victim.send('{"jsonrpc":"2.0","id":%d,"method":"public/test"}' % identifier)
        self.assertEqual((await call(victim, "public/test", identifier=3))["id"], 3)
        self.assertEqual(json.loads(await soon(victim.recv()))["id"], 2)
        self.assertEqual(json.loads(await soon(victim.recv()))["id"], 1)

    async def test_late_across(self):
        first = await self.connect()
        await self.fault("answer", how="late", id=1, delay_ms=1, across=True)
        await self.fault("answer", how="late", id=2, delay_ms=30)
        for identifier in (1, 2):
            await first.send('{"jsonrpc":"2.0","id":%d,"method":"public/test"}' % identifier)
        self.assertEqual(json.loads(await soon(first.recv()))["id"], 2)  # and not 1 before it
        await first.close()
        second = await self.connect()
        self.assertEqual(json.loads(await soon(second.recv()))["id"], 1)

    async def test_twice_foreign_error_malformed(self):
        victim = await self.connect()
        for how in ("twice", "foreign", "malformed"):
            await self.fault("answer", how=how, times=1)
            await victim.send('{"jsonrpc":"2.0","id":7,"method":"public/test"}')
            await victim.send('{"jsonrpc":"2.0","id":8,"method":"public/test"}')
            raw = await soon(victim.recv())
            if how == "twice":
                self.assertEqual(await soon(victim.recv()), raw)
                self.assertEqual(json.loads(raw)["id"], 7)
            elif how == "foreign":
                self.assertNotIn(json.loads(raw)["id"], (7, 8))
            else:
                self.assertRaises(ValueError, json.loads, raw)
            self.assertEqual(json.loads(await soon(victim.recv()))["id"], 8)
        await self.fault("answer", how="error", code=1, message="so be it", times=1)
        reply = await call(victim, "public/test")
        self.assertEqual(reply["error"], {"code": 1, "message": "so be it"})

    async def test_drop_and_close(self):
        for how, members, code in (("drop", {}, 1006), ("close", {"code": 4007}, 4007)):
            victim = await self.connect()
            await self.fault("answer", how=how, times=1, **members)
            await victim.send('{"jsonrpc":"2.0","id":1,"method":"public/test"}')
            self.assertEqual(await self.closed(victim), code)

    async def test_authentication_refused_and_stalled(self):
        victim = await self.connect()
        await self.fault("answer", how="error", method="public/auth", code=13004, times=1)
        reply = await call(victim, "public/auth", **LOGIN)
        self.assertEqual(reply["error"]["code"], 13004)
        await self.fault("answer", how="never", method="public/auth", times=1)
        await victim.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "public/auth",
                                      "params": LOGIN}))
        reply = await call(victim, "private/buy", identifier=2)
        self.assertEqual(reply["error"]["code"], 13009)  # stalled means not done
        self.assertIn("access_token", (await call(victim, "public/auth", **LOGIN))["result"])


class ConnectionTest(FaultTest):
    async def test_drop_now(self):
        victims = [await self.connect() for _ in range(3)]
        for victim in victims:
            await call(victim, "public/subscribe", channels=CHANNELS)
        state = await self.state()
        self.assertEqual(state["connections"],
                         {"alive": 3, "total": 3, "refused": 0, "controllers": 1})
        self.assertEqual(state["subscriptions"], dict.fromkeys(CHANNELS, 3))
        await self.fault("drop", now=True)
        for victim in victims:
            self.assertEqual(await self.closed(victim), 1006)
        victim = await self.connect()
        state = await self.state_without_subscriptions()
        self.assertEqual((state["connections"]["alive"], state["connections"]["total"]), (1, 4))
        await self.fault("drop", now=True, code=1012)
        self.assertEqual(await self.closed(victim), 1012)

    async def test_drop_every(self):
        await self.fault("drop", every_ms=20, code=4000)
        for _ in range(3):
            self.assertEqual(await self.closed(await self.connect()), 4000)
        await self.fault("drop", every_ms=0)
        victim = await self.connect()
        for _ in range(20):
            await call(victim, "public/test")
        self.assertEqual((await self.state())["connections"]["total"], 4)

    async def test_upgrade_refused(self):
        await self.fault("upgrade", status=429, retry_after_s=3, times=2)
        for _ in range(2):
            with self.assertRaises(websockets.InvalidStatusCode) as caught:
                await self.connect()
            self.assertEqual(caught.exception.status_code, 429)
            self.assertEqual(caught.exception.headers["Retry-After"], "3")
        await self.connect()
        self.assertEqual((await self.state())["connections"],
                         {"alive": 1, "total": 1, "refused": 2, "controllers": 1})

    async def test_silent(self):
        victim = await self.connect()
        await self.fault("silent", on=True)
        await victim.send('{"jsonrpc":"2.0","id":1,"method":"public/test"}')
        await soon(await victim.ping())  # and so it has read the request
        await self.fault("silent", on=False)
        self.assertEqual((await call(victim, "public/test", identifier=2))["id"], 2)
        self.assertEqual((await self.state())["requests"], 2)

    async def test_sent_to_all(self):
        victim = await self.connect()
        await self.fault("send", text="no JSON [")
        self.assertEqual(await soon(victim.recv()), "no JSON [")
        await self.fault("send", text="x", binary=True)
        self.assertEqual(await soon(victim.recv()), b"x")
        await self.fault("send", bytes=3000000)
        big = await soon(victim.recv())
        self.assertEqual((len(big), json.loads(big)["method"]), (3000000, "pad"))
        await self.fault("send")
        with self.assertRaises(websockets.ConnectionClosed) as caught:
            await soon(victim.recv())
        self.assertEqual(caught.exception.sent.code, 1007)

    async def test_mistakes_are_refused(self):
        for fault in ({"fault": "drop"}, {"fault": "silent", "of": True}, {}):
            reply = await steer(self.controller, "test/fault", fault)
            self.assertEqual(reply["error"]["code"], -32602)
        reply = await call(self.controller, "test/nothing")
        self.assertEqual(reply["error"]["code"], -32602)


class UpdatesTest(FaultTest):
    arguments = ["--rate", "2000", "--faults"]

    async def sequences(self, count):
        victim = await self.connect()
        await call(victim, "public/subscribe", channels=CHANNELS[:1])
        seen = []
        while len(seen) < count:
            message = json.loads(await soon(victim.recv()))
            seen.append(message["params"]["data"]["seq"])
        return seen

    async def test_duplicated(self):
        await self.fault("updates", duplicate_every=3)
        seen = await self.sequences(100)
        self.assertEqual(seen, sorted(seen))
        self.assertGreater(len(seen) - len(set(seen)), 5)

    async def test_reordered(self):
        await self.fault("updates", reorder_every=2)
        seen = await self.sequences(200)
        self.assertNotEqual(seen, sorted(seen))
        self.assertEqual(len(seen), len(set(seen)))
        await self.fault("clear")
        seen = await self.sequences(50)
        self.assertEqual(seen, list(range(seen[0], seen[0] + 50)))


class TopicsTest(FaultTest):
    arguments = ["--rate", "0", "--faults", "--require-auth"]

    async def test_subscribed_in_part(self):
        victim = await self.connect()
        reply = await call(victim, "public/subscribe", channels=CHANNELS)
        self.assertEqual(reply["error"]["code"], 13009)
        await call(victim, "public/auth", **LOGIN)
        await self.fault("topics", refuse=["book.BTC-USD"], accept_max=2)
        reply = await call(victim, "public/subscribe", channels=ALL_TOPICS[3:])
        self.assertEqual(reply["result"], ["book.ETH-USD", "book.SOL-USD"])
        await call(victim, "public/unsubscribe", channels=["book.SOL-USD"])
        state = await self.state(sessions=True)
        self.assertEqual(state["unauthenticated"], 1)
        self.assertEqual(state["subscribe"], {"messages": 1, "topics": 3})
        self.assertEqual(state["unsubscribe"], {"messages": 1, "topics": 1})
        self.assertEqual(state["subscriptions"], {"book.ETH-USD": 1})
        self.assertEqual(len(state["sessions"]), 1)
        session = state["sessions"][0]
        self.assertEqual((session["authenticated"], session["requests"], session["topics"]),
                         (True, 4, ["book.ETH-USD"]))


class FlagTest(FaultTest):
    arguments = ["--rate", "0", "--fault", '{"fault":"upgrade","status":503,"times":1}',
                 "--fault", '{"fault":"answer","how":"error","id":9}']

    async def test_from_the_start(self):
        with self.assertRaises(websockets.InvalidStatusCode) as caught:
            await self.connect()
        self.assertEqual(caught.exception.status_code, 503)
        victim = await self.connect()
        self.assertEqual((await call(victim, "public/test", identifier=9))["error"]["code"], 10028)
        self.assertIn("result", await call(victim, "public/test", identifier=8))
        reply = await call(victim, "test/state")  # without --faults there is no such method
        self.assertEqual(reply["error"]["code"], -32601)

    async def test_mistakes_are_usage_errors(self):
        for fault, why in (("{", "not JSON"), ('{"fault":"x"}', "none of"),
                           ('{"fault":"drop","now":true}', "nobody connected")):
            code, out, err = run("exchange", "--fault", fault)
            self.assertEqual((code, out), (2, ""))
            self.assertIn(why, err)


if __name__ == "__main__":
    unittest.main()
