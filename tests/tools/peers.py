#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""peers.py - the hpx command against python3-websockets, in both roles, over TCP and TLS.

Goal      What the tools promise holds with a peer that we did not write: the exchange's dialect,
          the echo server, the terminal client's exit codes, the Autobahn driver.
Method    Each test starts what it needs on free ports of 127.0.0.1. Nothing sleeps: every wait is
          for an event, with a deadline far above what it takes.

Environment: HPX_TOOL, HPX_BINARY_DIR.
"""
import asyncio
import http
import json
import logging
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import unittest

try:
    import websockets
except ImportError:
    sys.exit(77)

TOOL = os.environ["HPX_TOOL"]
BINARY_DIR = os.environ.get("HPX_BINARY_DIR", os.path.dirname(TOOL))
DEADLINE = 60
logging.disable(logging.CRITICAL)  # the peers' own tracebacks when we break off a handshake


class Server:
    """One hpx process that prints 'listening on ADDR:PORT'."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([TOOL, *arguments], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        match = re.fullmatch(r"listening on (\S+):(\d+)\n", line)
        if match is None:
            self.process.kill()
            raise AssertionError(f"no address in {line!r}")
        self.port = int(match.group(2))
        self.asked = False

    def ask_to_stop(self, signal_number=signal.SIGTERM):
        """Once only: a second signal means 'at once'."""
        if not self.asked:
            self.asked = True
            self.process.send_signal(signal_number)

    def stop(self):
        """Stop it; the exit code."""
        self.ask_to_stop()
        code = self.process.wait(DEADLINE)
        self.process.stdout.close()
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def run(*arguments, stdin=b"", env=None):
    """Run hpx to its end: (exit code, stdout, stderr)."""
    done = subprocess.run([TOOL, *arguments], input=stdin, capture_output=True, timeout=DEADLINE,
                          env=env)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def run_beside(*arguments, stdin=b"", feed=None):
    """The same while our event loop goes on. `feed(process)` may act on the running process."""
    process = await asyncio.create_subprocess_exec(
        TOOL, *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if feed is not None:
        await asyncio.wait_for(feed(process), DEADLINE)
    out, err = await asyncio.wait_for(process.communicate(None if feed else stdin), DEADLINE)
    return process.returncode, out.decode(), err.decode()


async def call(peer, method, identifier=1, **params):
    """One JSON-RPC request; its reply, skipping updates."""
    request = {"jsonrpc": "2.0", "id": identifier, "method": method, "params": params}
    await peer.send(json.dumps(request))
    while True:
        message = json.loads(await asyncio.wait_for(peer.recv(), DEADLINE))
        if "method" not in message:
            return message


class AsyncTest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        asyncio.get_running_loop().set_debug(False)  # many times slower, and it logs


class ExchangeTest(AsyncTest):
    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.folder = tempfile.TemporaryDirectory()
        self.server = Server("exchange", "--listen", "127.0.0.1:0", "--dir", self.folder.name,
                             "--rate", "2000", "--quiet")
        context = ssl.create_default_context(cafile=os.path.join(self.folder.name, "ca.pem"))
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        self.peer = await websockets.connect(f"wss://localhost:{self.server.port}/ws", ssl=context)

    async def asyncTearDown(self):
        await self.peer.close()
        self.assertEqual(self.server.stop(), 0)
        self.folder.cleanup()

    async def test_updates_have_every_sequence_number(self):
        channels = ["trades.BTC-USD", "book.ETH-USD"]
        reply = await call(self.peer, "public/subscribe", channels=[*channels, "no.such"])
        self.assertEqual(reply["result"], channels)
        last = {}
        for _ in range(1000):
            update = json.loads(await asyncio.wait_for(self.peer.recv(), DEADLINE))
            self.assertEqual(update["method"], "subscription")
            channel, data = update["params"]["channel"], update["params"]["data"]
            self.assertIn(channel, channels)
            self.assertEqual(data["seq"], last.get(channel, data["seq"] - 1) + 1)
            last[channel] = data["seq"]
        self.assertEqual(set(last), set(channels))
        await call(self.peer, "public/unsubscribe", channels=channels)
        # Nothing more comes: the reply to a request is the very next message.
        await self.peer.send('{"jsonrpc":"2.0","id":"mark","method":"public/test"}')
        self.assertIn('"mark"', await asyncio.wait_for(self.peer.recv(), DEADLINE))

    async def test_trading_needs_credentials(self):
        order = {"instrument_name": "BTC-USD", "amount": 1, "price": 2}
        reply = await call(self.peer, "private/buy", **order)
        self.assertEqual(reply["error"]["code"], 13009)
        grant = {"grant_type": "client_credentials", "client_id": "me"}
        reply = await call(self.peer, "public/auth", client_secret="guess", **grant)
        self.assertEqual(reply["error"], {"code": 13004, "message": "invalid_credentials"})
        reply = await call(self.peer, "public/auth", client_secret="secret", **grant)
        self.assertIn("access_token", reply["result"])
        reply = await call(self.peer, "private/buy", identifier="seven", **order)
        self.assertEqual(reply["id"], "seven")
        order_id = reply["result"]["order"]["order_id"]
        reply = await call(self.peer, "private/cancel", order_id=order_id)
        self.assertEqual(reply["result"]["order_state"], "cancelled")

    async def test_bad_input_is_answered(self):
        for bad in ["{", "[]", b"\x00\xff", "x" * 100000]:
            await self.peer.send(bad)
            reply = json.loads(await asyncio.wait_for(self.peer.recv(), DEADLINE))
            self.assertLess(reply["error"]["code"], -32000)
        await self.peer.send("x" * 300000)  # above 256 KiB
        with self.assertRaises(websockets.ConnectionClosed) as caught:
            await asyncio.wait_for(self.peer.recv(), DEADLINE)
        self.assertEqual(caught.exception.code, 1009)

    async def test_heartbeat_closes_a_silent_client(self):
        reply = await call(self.peer, "public/set_heartbeat", interval=1)
        self.assertEqual(reply["result"], "ok")
        for _ in range(2):
            asked = json.loads(await asyncio.wait_for(self.peer.recv(), DEADLINE))
            self.assertEqual(asked["params"], {"type": "test_request"})
            reply = await call(self.peer, "public/test")
            self.assertIn("result", reply)
        with self.assertRaises(websockets.ConnectionClosed) as caught:
            while True:
                await asyncio.wait_for(self.peer.recv(), DEADLINE)
        self.assertEqual(caught.exception.code, 1008)

    async def test_stop_says_going_away(self):
        self.server.ask_to_stop()
        with self.assertRaises(websockets.ConnectionClosed) as caught:
            await asyncio.wait_for(self.peer.recv(), DEADLINE)
        self.assertEqual(caught.exception.code, 1001)


class SlowClientTest(unittest.TestCase):
    def test_a_client_that_does_not_read_is_closed_and_others_miss_nothing(self):
        subscribe = b'{"jsonrpc":"2.0","id":1,"method":"public/subscribe","params":{"channels":' \
                    b'["trades.A","book.A"]}}'
        with Server("exchange", "--listen", "127.0.0.1:0", "--plain", "--rate", "200k",
                    "--symbols", "A", "--quiet") as server, \
                socket.create_connection(("127.0.0.1", server.port), DEADLINE) as lazy:
            lazy.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                         b"Connection: Upgrade\r\n"
                         b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                         b"Sec-WebSocket-Version: 13\r\n\r\n")
            self.assertIn(b" 101 ", lazy.recv(4096))
            lazy.sendall(bytes([0x81, 0x80 | len(subscribe)]) + bytes(4) + subscribe)
            # Meanwhile another one reads. If this machine is too slow for its stream, it says by
            # how much, and that is exactly what is missing.
            only = subscribe.replace(b',"book.A"', b"").decode()
            code, out, err = run("ws", f"ws://127.0.0.1:{server.port}/", "--send", only, "--count",
                                 "200000")
            self.assertEqual(code, 0)
            sequences = [json.loads(line)["params"]["data"]["seq"] for line in out.splitlines()[1:]]
            self.assertEqual(sequences, sorted(set(sequences)))
            missing = sequences[-1] - sequences[0] + 1 - len(sequences)
            dropped = sum(int(line.split()[1]) for line in err.splitlines())
            self.assertEqual(missing, dropped)
            # The lazy one was given up: its data ends, and is not more than the queues hold.
            total = 0
            while True:
                try:
                    chunk = lazy.recv(1 << 20)
                except ConnectionResetError:
                    break
                if not chunk:
                    break
                total += len(chunk)
                self.assertLess(total, 64 << 20)
            self.assertGreater(total, 1 << 20)
            self.assertEqual(server.stop(), 0)


class EchoTest(AsyncTest):
    async def check(self, server, **options):
        scheme = "wss" if "ssl" in options else "ws"
        async with websockets.connect(f"{scheme}://localhost:{server.port}/", max_size=None,
                                      **options) as peer:
            for size in (0, 1, 125, 126, 65535, 65536, 1000000):
                for message in ("x" * size, bytes(size)):
                    await peer.send(message)
                    self.assertEqual(await asyncio.wait_for(peer.recv(), DEADLINE), message)
            for i in range(1000):
                await peer.send(str(i))
            for i in range(1000):
                self.assertEqual(await asyncio.wait_for(peer.recv(), DEADLINE), str(i))
            await asyncio.wait_for(await peer.ping(), DEADLINE)
            await peer.send("x" * 1000001)
            with self.assertRaises(websockets.ConnectionClosed) as caught:
                await asyncio.wait_for(peer.recv(), DEADLINE)
            self.assertEqual(caught.exception.code, 1009)

    async def test_echo_plain(self):
        for extra in ([], ["--hot"], ["--wait", "spin"]):
            with Server("echo", "--listen", "127.0.0.1:0", "--max-message", "1000000",
                        *extra) as server:
                await self.check(server)
                self.assertEqual(server.stop(), 0)

    async def test_echo_tls(self):
        with tempfile.TemporaryDirectory() as folder:
            run("exchange", "--dir", folder, "--listen", "127.0.0.1:0", "--duration", "0.01",
                "--quiet")
            context = ssl.create_default_context(cafile=os.path.join(folder, "ca.pem"))
            with Server("echo", "--listen", "127.0.0.1:0", "--max-message", "1000000", "--tls",
                        os.path.join(folder, "server.pem"),
                        os.path.join(folder, "server.key")) as server:
                await self.check(server, ssl=context)
                self.assertEqual(server.stop(), 0)

    async def test_stop_closes_connections(self):
        with Server("echo", "--listen", "[::1]:0") as server:
            async with websockets.connect(f"ws://[::1]:{server.port}/") as peer:
                server.ask_to_stop(signal.SIGINT)
                with self.assertRaises(websockets.ConnectionClosed) as caught:
                    await asyncio.wait_for(peer.recv(), DEADLINE)
                self.assertIn(caught.exception.code, (1000, 1001))
            self.assertEqual(server.stop(), 0)

    def test_a_used_port_is_an_error(self):
        with Server("echo", "--listen", "127.0.0.1:0") as server:
            code, _, err = run("echo", "--listen", f"127.0.0.1:{server.port}")
            self.assertEqual(code, 1)
            self.assertRegex(err, r"^hpx: config: .*\n$")


class WsTest(AsyncTest):
    """hpx ws against a server whose behaviour is the path."""

    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.close_codes = asyncio.Queue()
        self.server = await websockets.serve(self.serve, "127.0.0.1", 0, max_size=None,
                                             subprotocols=["chat.v2"])
        self.url = f"ws://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def asyncTearDown(self):
        self.server.close()
        await self.server.wait_closed()

    async def serve(self, peer):
        path = peer.path
        try:
            if path == "/echo":
                async for message in peer:
                    await peer.send(message)
            elif path == "/headers":
                await peer.send(peer.request_headers["X-Test"] + " " + str(peer.subprotocol))
            elif path == "/mix":
                await peer.send("text\nof two lines")
                await peer.send(bytes(range(256)))
                await peer.send("")
                await peer.send("ä" * 3)
            elif path == "/flood":
                for i in range(100000):
                    await peer.send(f"message {i}")
            elif path == "/silent":
                await peer.wait_closed()
            elif path.startswith("/close/"):
                await peer.send("last words")
                await peer.close(int(path[7:]), "the reason")
            elif path == "/drop":
                await peer.send("last words")
                peer.transport.abort()
            elif path == "/count":
                count = size = 0
                async for message in peer:
                    count, size = count + 1, size + len(message)
                    await peer.send(f"{count} {size}")
        except websockets.ConnectionClosed:
            pass
        await peer.wait_closed()
        await self.close_codes.put(peer.close_code)

    async def test_lines_are_sent_and_answers_printed(self):
        got = await run_beside("ws", self.url + "/echo", "--linger", "2",
                               stdin=b"one\ntwo\r\n\nfour, no newline")
        self.assertEqual(got, (0, "one\ntwo\n\nfour, no newline\n", ""))
        self.assertEqual(await self.close_codes.get(), 1000)

    async def test_send_and_count(self):
        got = await run_beside("ws", self.url + "/echo", "--send", "a", "--send", "b",
                               "--count", "2")
        self.assertEqual(got, (0, "a\nb\n", ""))
        self.assertEqual(await self.close_codes.get(), 1000)

    async def test_kinds_of_messages(self):
        got = await run_beside("ws", self.url + "/mix", "--count", "4")
        expected = "text\nof two lines\n" + bytes(range(256)).hex() + "\n\näää\n"
        self.assertEqual(got, (0, expected, ""))

    async def test_headers_and_subprotocol(self):
        got = await run_beside("ws", self.url + "/headers", "--header", "X-Test: yes",
                               "--subprotocol", "chat.v1", "--subprotocol", "chat.v2",
                               "--count", "1")
        self.assertEqual(got, (0, "yes chat.v2\n", ""))

    async def test_resolve_saves_the_lookup(self):
        port = self.url.rsplit(":", 1)[1]
        got = await run_beside("ws", f"ws://nowhere.invalid:{port}/mix", "--resolve",
                               f"nowhere.invalid:{port}:127.0.0.1", "--count", "1")
        self.assertEqual(got, (0, "text\nof two lines\n", ""))

    async def test_exit_codes_of_a_close(self):
        for code, options, expected, stderr in [
                (1000, [], 0, ""), (1001, [], 0, ""), (1011, [], 1, "hpx: ready: .*1011.*\n"),
                (1000, ["--count", "2"], 4, "hpx: ready: .*1000.*\n"),
                (1000, ["--count", "1"], 0, "")]:
            with self.subTest(code=code, options=options):
                got = await run_beside("ws", f"{self.url}/close/{code}", *options)
                self.assertEqual(got[:2], (expected, "last words\n"))
                self.assertRegex(got[2], f"^{stderr}$")

    async def test_a_lost_connection_is_an_error(self):
        for options in ([], ["--count", "2"]):
            got = await run_beside("ws", self.url + "/drop", *options)
            self.assertEqual(got[:2], (1, "last words\n"))
            self.assertRegex(got[2], r"^hpx: ready: .*\n$")

    async def test_refused_upgrade_names_the_status(self):
        async def refuse(_path, _headers):
            return http.HTTPStatus.SERVICE_UNAVAILABLE, [], b"no"
        server = await websockets.serve(self.serve, "127.0.0.1", 0, process_request=refuse)
        got = await run_beside("ws", f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        self.assertEqual(got[0], 1)
        self.assertRegex(got[2], r"^hpx: upgrade: .*503.*\n$")
        server.close()
        await server.wait_closed()

    async def test_timeout(self):
        got = await run_beside("ws", self.url + "/silent", "--timeout", "2", "--count", "1")
        self.assertEqual(got, (3, "", "hpx: waiting for messages: timed out\n"))
        self.assertEqual(await self.close_codes.get(), 1000)
        got = await run_beside("ws", self.url + "/silent", "--timeout", "2")
        self.assertEqual(got, (0, "", ""))

    async def test_timeout_before_the_connection_is_up(self):
        async def never(reader, writer):
            while await reader.read(4096):
                pass
            writer.close()
        server = await asyncio.start_server(never, "127.0.0.1", 0)
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        got = await run_beside("ws", url, "--timeout", "2")
        self.assertEqual(got, (3, "", "hpx: upgrading: timed out\n"))
        server.close()
        await server.wait_closed()

    async def test_interrupt_closes_gracefully(self):
        async def interrupt(process):
            self.assertEqual(await process.stdout.readline(), b"text\n")
            process.send_signal(signal.SIGINT)
        code, _, err = await run_beside("ws", self.url + "/mix", feed=interrupt)
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(await self.close_codes.get(), 1000)

    async def test_a_reader_that_leaves_ends_it_quietly(self):
        ours, theirs = os.pipe()
        process = await asyncio.create_subprocess_exec(
            TOOL, "ws", self.url + "/flood", stdin=subprocess.DEVNULL, stdout=theirs,
            stderr=subprocess.PIPE)
        os.close(theirs)
        with open(ours, encoding="ascii") as out:
            line = await asyncio.to_thread(out.readline)
        self.assertEqual(line, "message 0\n")
        _, err = await asyncio.wait_for(process.communicate(), DEADLINE)
        self.assertEqual((process.returncode, err), (0, b""))
        self.assertEqual(await asyncio.wait_for(self.close_codes.get(), DEADLINE), 1000)

    async def test_a_lot_of_input_is_all_sent(self):
        lines = b"".join(b"%d %s\n" % (i, b"x" * (i % 3000)) for i in range(20000))
        got = await run_beside("ws", self.url + "/count", "--count", "20000", stdin=lines)
        self.assertEqual((got[0], got[2]), (0, ""))
        self.assertEqual(got[1].splitlines()[-1], f"20000 {len(lines) - 20000}")

    async def test_large_messages_in_and_out(self):
        line = b"y" * 5000000
        got = await run_beside("ws", self.url + "/echo", "--count", "1", stdin=line + b"\n")
        self.assertEqual((got[0], len(got[1]), got[2]), (0, len(line) + 1, ""))
        got = await run_beside("ws", self.url + "/echo", "--count", "1", "--max-message", "1M",
                               stdin=line + b"\n")
        self.assertEqual(got[0], 1)
        self.assertRegex(got[2], r"^hpx: ready: .*\n$")

    async def test_what_is_not_utf8_is_not_sent(self):
        got = await run_beside("ws", self.url + "/echo", "--count", "2", stdin=b"a\n\xff\xfe\nb\n")
        self.assertEqual(got, (0, "a\nb\n", "hpx: line 2: not valid UTF-8, not sent\n"))

    async def test_verbose_tells_the_stages(self):
        got = await run_beside("ws", self.url + "/mix", "-v", "--count", "1")
        self.assertEqual(got[0], 0)
        for stage in ("connect", "upgrade", "ready", "first message", "closed"):
            self.assertRegex(got[2], rf"(?m)^\* {stage} ")


class WsTlsTest(AsyncTest):
    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.folder = tempfile.TemporaryDirectory()
        run("exchange", "--dir", self.folder.name, "--listen", "127.0.0.1:0", "--duration", "0.01",
            "--quiet")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file("server.pem"), self.file("server.key"))

        async def greet(peer):
            await peer.send("hello")
            await peer.wait_closed()
        self.server = await websockets.serve(greet, "127.0.0.1", 0, ssl=context)
        self.port = self.server.sockets[0].getsockname()[1]

    async def asyncTearDown(self):
        self.server.close()
        await self.server.wait_closed()
        self.folder.cleanup()

    def file(self, name):
        return os.path.join(self.folder.name, name)

    async def test_verified(self):
        for host in ("localhost", "127.0.0.1"):
            got = await run_beside("ws", f"wss://{host}:{self.port}/", "--cacert",
                                   self.file("ca.pem"), "--count", "1", "-v")
            self.assertEqual(got[:2], (0, "hello\n"))
            self.assertRegex(got[2], r"(?m)^\* tls .* TLSv1\.3 .*, certificate verified")

    async def test_not_trusted(self):
        got = await run_beside("ws", f"wss://127.0.0.1:{self.port}/", "--count", "1")
        self.assertEqual(got[:2], (1, ""))
        self.assertRegex(got[2], r"^hpx: tls: .*\n$")

    async def test_another_name(self):
        got = await run_beside("ws", f"wss://example.com:{self.port}/", "--cacert",
                               self.file("ca.pem"), "--resolve",
                               f"example.com:{self.port}:127.0.0.1")
        self.assertEqual(got[:2], (1, ""))
        self.assertRegex(got[2], r"^hpx: tls: .*localhost.*\n$")

    async def test_insecure(self):
        got = await run_beside("ws", f"wss://example.com:{self.port}/", "--insecure", "-v",
                               "--resolve", f"example.com:{self.port}:127.0.0.1", "--count", "1")
        self.assertEqual(got[:2], (0, "hello\n"))
        self.assertIn("certificate NOT verified", got[2])


class TesteeTest(AsyncTest):
    """ws-testee against a stand-in for the fuzzing server."""

    async def test_every_case_is_run_and_echoed(self):
        seen, agents = [], []

        async def fuzz(peer):
            if peer.path == "/getCaseCount":
                await peer.send("3")
            elif peer.path.startswith("/runCase?case="):
                case, agent = re.fullmatch(r"/runCase\?case=(\d+)&agent=(\S+)", peer.path).groups()
                for message in ("text", b"\x00\xff", "", "z" * 1000000):
                    await peer.send(message)
                    if await asyncio.wait_for(peer.recv(), DEADLINE) != message:
                        return
                seen.append(case)
                agents.append(agent)
            elif peer.path.startswith("/updateReports?agent="):
                seen.append("reports")
            await peer.close()
        server = await websockets.serve(fuzz, "127.0.0.1", 0, max_size=None)
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        for extra in ([], ["--hot"]):
            seen.clear()
            got = await run_beside("ws-testee", "--url", url, "--agent", "hpx-test", *extra)
            self.assertEqual(got[0], 0, got[2])
            self.assertEqual(seen, ["1", "2", "3", "reports"])
            self.assertIn("case 3 of 3", got[2])
        self.assertEqual(set(agents), {"hpx-test"})
        server.close()
        await server.wait_closed()


class TogetherTest(unittest.TestCase):
    def test_quickstart(self):
        code, out, err = run("quickstart", "--duration", "2")
        self.assertEqual((code, err), (0, ""), out)
        self.assertRegex(out, r"(?m)^   1 s  ")
        self.assertRegex(out, r"(?m)^  gaps        0$")
        self.assertRegex(out, r"(?m)^  result      ok$")
        self.assertIn("certificate verified", out)
        self.assertNotIn("\x1b", out)

    def test_example_feed(self):
        feed = os.path.join(BINARY_DIR, "examples", "feed")
        if not os.path.exists(feed):
            self.skipTest("examples are not built")
        with Server("exchange", "--listen", "127.0.0.1:0", "--plain", "--quiet") as server:
            done = subprocess.run([feed, f"ws://127.0.0.1:{server.port}/ws"], capture_output=True,
                                  timeout=DEADLINE, check=False)
            lines = [json.loads(line) for line in done.stdout.splitlines()]
            self.assertEqual((done.returncode, len(lines)), (0, 10))
            self.assertEqual(lines[0]["result"], ["trades.BTC-USD"])


if __name__ == "__main__":
    unittest.main()
