#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""dialect.py - `hpx ws` with a dialect: --auth, --subscribe, --request, --dialect, --reconnect.

Goal      Answers and updates are printed, lifecycle events told on stderr; subscriptions survive a
          loss, requests are never sent twice; what goes wrong is said and shows in the exit status.
Method    Against `hpx exchange` made to misbehave, and against a server of python3-websockets that
          speaks another exchange's shape, described by a file.

Environment: HPX_TOOL.
"""
import json
import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
from misbehave import FaultTest, soon  # noqa: E402
from peers import AsyncTest, run, run_beside, websockets  # noqa: E402

LOGIN = '{"grant_type":"client_credentials","client_id":"me","client_secret":"secret"}'
TEST = '{"jsonrpc":"2.0","method":"public/test"}'


class ExchangeTest(FaultTest):
    arguments = ["--rate", "500", "--faults", "--require-auth"]

    async def ws(self, *arguments, **options):
        return await run_beside("ws", self.url, *arguments, **options)

    async def test_updates_and_answers(self):
        code, out, err = await self.ws("--auth", LOGIN, "--subscribe", "trades.BTC-USD",
                                       "--subscribe", "book.ETH-USD", "--request", TEST,
                                       "--request", TEST, "--count", "50")
        lines = [json.loads(line) for line in out.splitlines()]
        self.assertEqual((code, len(lines)), (0, 50), err)
        self.assertEqual(err, "hpx: connected, epoch 1\nhpx: subscribed, epoch 1, topics 2\n"
                              "hpx: closed\n")
        self.assertEqual(sum("result" in line for line in lines), 2)
        channels = {line["params"]["channel"] for line in lines if "params" in line}
        self.assertEqual(channels, {"trades.BTC-USD", "book.ETH-USD"})
        state = await self.state_without_subscriptions()
        self.assertEqual(state["unauthenticated"], 0)

    async def test_lines_of_stdin_are_requests(self):
        code, out, err = await self.ws("--dialect", "json-rpc", "--count", "2",
                                       stdin=(TEST + "\n" + TEST + "\n").encode())
        replies = [json.loads(line) for line in out.splitlines()]
        self.assertEqual((code, len(replies)), (0, 2), err)
        self.assertEqual(len({reply["id"] for reply in replies}), 2)

    async def test_lost_and_back(self):
        """A drop with a request in flight: resubscribed, the request told and not sent again."""
        await self.fault("answer", how="never", method="private/buy")
        request = json.dumps({"jsonrpc": "2.0", "method": "private/buy",
                              "params": {"label": "only once"}})

        async def drop(process):
            await process.stdout.readline()
            while (await self.state(label="only once"))["seen"] == 0:
                pass
            await self.fault("drop", now=True)
            await self.told(process, "hpx: subscribed, epoch 2, topics 1")
            self.assertEqual((await self.state())["subscriptions"], {"trades.BTC-USD": 1})
            process.terminate()

        self.lines = []
        code, _, err = await self.ws("--auth", LOGIN, "--subscribe", "trades.BTC-USD",
                                     "--request", request, "--reconnect", feed=drop)
        self.assertEqual(code, 1)  # the request
        told = "".join(self.lines) + err
        self.assertRegex(told, r"(?m)^hpx: ready: ")
        self.assertRegex(told, r"(?m)^hpx: connected, epoch 2$")
        self.assertRegex(told, r"(?m)^hpx: request: .*; the server may have acted on it$")
        state = await self.state(label="only once")
        self.assertEqual((state["seen"], state["connections"]["total"]), (1, 2))
        self.assertEqual(state["subscribe"], {"messages": 2, "topics": 2})
        self.assertEqual(state["unauthenticated"], 0)

    async def told(self, process, wanted):
        while True:
            line = (await soon(process.stderr.readline())).decode()
            self.assertNotEqual(line, "", f"no '{wanted}' in {self.lines}")
            self.lines.append(line)
            if line.rstrip("\n") == wanted:
                return

    async def test_authentication_is_refused(self):
        code, out, err = await self.ws("--auth", LOGIN.replace("secret\"}", "x\"}"),
                                       "--subscribe", "trades.BTC-USD")
        self.assertEqual((code, out), (1, ""))
        self.assertRegex(err, r"^hpx: auth: .*invalid_credentials.*\n$")

    async def test_topics_are_refused(self):
        code, _, err = await self.ws("--auth", LOGIN, "--subscribe", "trades.BTC-USD",
                                     "--subscribe", "no.such.topic", "--count", "2")
        self.assertEqual(code, 0)
        self.assertRegex(err, r"(?m)^hpx: refused: no\.such\.topic: ")
        code, out, err = await self.ws("--auth", LOGIN, "--subscribe", "no.such.topic")
        self.assertEqual((code, out), (1, ""))
        self.assertRegex(err, r"(?m)^hpx: subscription ended: ")

    async def test_unanswered_and_impossible_requests(self):
        await self.fault("answer", how="never", method="public/test")
        code, out, err = await self.ws("--request", TEST, "--timeout", "1")
        self.assertEqual((code, out), (3, ""))
        self.assertRegex(err, r"(?m)^hpx: waiting for an answer: timed out$")
        code, out, err = await self.ws("--request", "[1]", "--linger", "0.1")
        self.assertEqual((code, out), (1, ""))
        self.assertRegex(err, r"(?m)^hpx: request: no JSON object with room for an id; ")


OKX = {
    "id_is_string": True, "topic_field": "arg", "update_rule": "data",
    "error_rule": "event=error", "reason_field": "msg",
    "auth": '{"op":"login","args":["k"]}', "auth_ok_rule": "event=login&code=0",
    "subscribe": '{"op":"subscribe","args":${topics:${topic:raw}}}',
    "unsubscribe": '{"op":"unsubscribe","args":${topics:${topic:raw}}}',
    "acknowledges": True, "subscribed_rule": "event=subscribe",
    "on_connect": ['{"op":"hello"}'],
}
TOPIC = '{"channel":"tickers","instId":"BTC-USDT"}'


class FileTest(AsyncTest):
    """Another shape of exchange, from a file."""

    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.folder = tempfile.TemporaryDirectory()
        self.received = []
        self.server = await websockets.serve(self.serve, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def asyncTearDown(self):
        self.server.close()
        await self.server.wait_closed()
        self.folder.cleanup()

    async def serve(self, peer):
        async for message in peer:
            self.received.append(message)
            if message == "pong":
                continue
            asked = json.loads(message)
            if asked["op"] == "login":
                await peer.send('{"event":"login","code":"0","msg":""}')
            elif asked["op"] == "subscribe":
                for topic in asked["args"]:
                    text = json.dumps(topic, separators=(",", ":"))
                    await peer.send(f'{{"event":"subscribe","arg":{text}}}')
                    await peer.send("ping")
                    await peer.send(f'{{"arg":{text},"data":[1]}}')
            elif asked["op"] == "order":
                await peer.send(json.dumps({"id": asked["id"], "op": "order", "code": "0"}))

    def file(self, content):
        path = os.path.join(self.folder.name, "settings.json")
        with open(path, "w", encoding="utf-8") as file:
            file.write(content if isinstance(content, str) else json.dumps(content))
        return path

    async def test_another_shape(self):
        code, out, err = await run_beside(
            "ws", self.url, "--dialect", "json:" + self.file(OKX), "--subscribe", TOPIC,
            "--request", '{"op":"order","args":[]}', "--count", "2")
        lines = sorted((json.loads(line) for line in out.splitlines()), key=len)
        self.assertEqual(code, 0, err)
        self.assertEqual(lines[0], {"arg": json.loads(TOPIC), "data": [1]})
        self.assertEqual(lines[1]["op"], "order")
        self.assertIsInstance(lines[1]["id"], str)
        self.assertEqual(json.loads(self.received[0]), {"op": "hello"})
        self.assertEqual(json.loads(self.received[1]), {"op": "login", "args": ["k"]})
        self.assertIn('{"op":"subscribe","args":[%s]}' % TOPIC, self.received[2:])
        self.assertIn("pong", self.received)

    async def test_auth_from_a_file(self):
        secret = os.path.join(self.folder.name, "secret")
        with open(secret, "w", encoding="utf-8") as file:
            file.write('{"op":"login","args":["from a file"]}')
        code, _, err = await run_beside(
            "ws", self.url, "--dialect", "json:" + self.file(OKX), "--auth", "@" + secret,
            "--subscribe", TOPIC, "--count", "1")
        self.assertEqual(code, 0, err)
        self.assertEqual(json.loads(self.received[1])["args"], ["from a file"])

    def test_mistakes_are_named(self):
        for content, why in (
                ("{", "not a JSON object"), ("[]", "not a JSON object"),
                ({"id_fiel": "x"}, "id_fiel is no setting"), ({"id_field": 5}, "is not a string"),
                ({"acknowledges": "yes"}, "is not true or false"),
                ({"on_connect": "x"}, "on_connect is no array"),
                ({"subscribe": "{}"}, "subscribe: says no topic")):
            code, out, err = run("ws", "ws://127.0.0.1:1/", "--dialect",
                                 "json:" + self.file(content))
            self.assertEqual((code, out), (2, ""))
            self.assertIn(why, err)
            self.assertEqual(len(err.splitlines()), 1)
        for arguments, why in (
                (["--dialect", "xml"], "none of json-rpc"),
                (["--dialect", "json:/no/such"], "/no/such: "),
                (["--auth", "@/no/such"], "/no/such: "),
                (["--auth", "[]"], "auth_params: not a JSON object"),
                (["--dialect", "json-rpc:" + self.file({"topics_field": ""})],
                 "topics_field: empty")):
            code, out, err = run("ws", "ws://127.0.0.1:1/", *arguments)
            self.assertEqual((code, out), (2, ""), arguments)
            self.assertIn(why, err)


del FaultTest  # or unittest would run it here again

if __name__ == "__main__":
    unittest.main()
