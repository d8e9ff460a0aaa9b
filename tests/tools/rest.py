#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""rest.py - the exchange's REST side against python's http.client and curl.

Goal      Every route answers as its help says, over HTTP/1.1 and HTTP/2, plain and TLS; what is
          broken on purpose is broken in the way it says; the exchange ends in good order with
          answers open.
Method    http.client for HTTP/1.1, curl for HTTP/2 (where it is there). Nothing sleeps: what takes
          time is bounded from below only.

Environment: HPX_TOOL.
"""
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import unittest

TOOL = os.environ["HPX_TOOL"]
DEADLINE = 60
AUTH = {"Authorization": "Bearer secret"}
ORDER = {"symbol": "BTC-USD", "side": "buy", "amount": 1.5, "price": 100.25}


class Exchange:
    def __init__(self, *arguments):
        self.folder = tempfile.TemporaryDirectory()
        self.process = subprocess.Popen(
            [TOOL, "exchange", "--listen", "127.0.0.1:0", "--rest", "127.0.0.1:0", "--quiet",
             "--dir", self.folder.name, *arguments], stdout=subprocess.PIPE, text=True)
        lines = [self.process.stdout.readline() for _ in range(3)]
        match = re.match(r"hpx exchange: (https?)://([^:/]+):(\d+)/v1/time", lines[2])
        if match is None:
            self.process.kill()
            raise AssertionError(lines)
        self.tls = match[1] == "https"
        self.port = int(match[3])
        self.url = f"{match[1]}://localhost:{self.port}"
        self.ca = os.path.join(self.folder.name, "ca.pem")

    def connect(self):
        if not self.tls:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        context = ssl.create_default_context(cafile=self.ca)
        return http.client.HTTPSConnection("localhost", self.port, timeout=DEADLINE,
                                           context=context)

    def ask(self, method, path, body=None, headers=None):
        """One request on a connection of its own: (status, headers, body)."""
        connection = self.connect()
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def curl(self, path, *arguments):
        return subprocess.run(
            ["curl", "-sS", "--max-time", str(DEADLINE), "--cacert", self.ca, *arguments,
             self.url + path], capture_output=True, timeout=2 * DEADLINE)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.folder.cleanup()


def has_curl():
    try:
        done = subprocess.run(["curl", "--version"], capture_output=True, check=True)
        return b"HTTP2" in done.stdout
    except (OSError, subprocess.CalledProcessError):
        return False


class RestTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.exchange = Exchange()
        cls.plain = Exchange("--plain", "--rest-limit", "1000000")

    @classmethod
    def tearDownClass(cls):
        codes = [exchange.stop() for exchange in (cls.exchange, cls.plain)]
        cls.exchange.__exit__()
        cls.plain.__exit__()
        assert codes == [0, 0], codes

    def ask_json(self, *arguments, status=200, exchange=None):
        got, headers, body = (exchange or self.exchange).ask(*arguments)
        self.assertEqual(got, status, body)
        self.assertEqual(headers["Content-Type"], "application/json")
        return json.loads(body)

    def test_market_data(self):
        for exchange in (self.exchange, self.plain):
            now = self.ask_json("GET", "/v1/time", exchange=exchange)["time_ns"]
            self.assertLess(abs(now - time.time_ns()), DEADLINE * 10**9)
            symbols = self.ask_json("GET", "/v1/symbols", exchange=exchange)["symbols"]
            self.assertEqual(symbols, ["BTC-USD", "ETH-USD", "SOL-USD"])
        for depth in (1, 10, 1000):
            book = self.ask_json("GET", f"/v1/book/ETH-USD?x=1&depth={depth}")
            self.assertEqual([len(book["bids"]), len(book["asks"])], [depth, depth])
            self.assertLess(book["bids"][0][0], book["asks"][0][0])
            self.assertEqual(book["bids"], sorted(book["bids"], reverse=True))
            self.assertEqual(book["asks"], sorted(book["asks"]))
        first = self.ask_json("GET", "/v1/book/BTC-USD")["seq"]
        while self.ask_json("GET", "/v1/book/BTC-USD")["seq"] == first:
            pass  # the market moves

    def test_refusals(self):
        for method, path, status in (
                ("GET", "/", 404), ("GET", "/v1/book/NONE", 404), ("GET", "/v1/book/", 404),
                ("GET", "/v1/book/a/b", 404), ("GET", "/v1/book/BTC-USD?depth=0", 400),
                ("GET", "/v1/book/BTC-USD?depth=1001", 400),
                ("GET", "/v1/book/BTC-USD?depth=x", 400), ("GET", "/v1/orders", 401),
                ("GET", "/v1/status/99", 400), ("GET", "/v1/slow?ms=60001", 400)):
            with self.subTest(path=path):
                self.assertIn("error", self.ask_json(method, path, status=status))
        status, headers, body = self.exchange.ask("PATCH", "/v1/orders")
        self.assertEqual((status, headers["Allow"], body), (405, "GET, POST", b""))
        for code in (200, 302, 404, 429, 500, 503):
            status, headers, _ = self.exchange.ask("GET", f"/v1/status/{code}")
            self.assertEqual(status, code)
            self.assertEqual(headers["Retry-After"], "1" if code in (429, 503) else None)
        self.assertEqual(self.exchange.ask("GET", "/v1/status/204")[0], 204)

    def test_orders(self):
        made = []
        for i in range(3):
            order = dict(ORDER, client_order_id=f'mine "{i}"')
            made.append(self.ask_json("POST", "/v1/orders", json.dumps(order), AUTH, status=201))
            self.assertEqual(made[i]["client_order_id"], order["client_order_id"])
            self.assertEqual((made[i]["amount"], made[i]["price"]), (1.5, 100.25))
            self.ask_json("POST", "/v1/orders", json.dumps(order), AUTH, status=409)
        listed = self.ask_json("GET", "/v1/orders", None, AUTH)
        self.assertEqual(listed, {"count": 3, "orders": made})
        name = made[1]["order_id"]
        self.assertEqual(self.ask_json("GET", "/v1/orders/" + name, None, AUTH), made[1])
        gone = self.ask_json("DELETE", "/v1/orders/" + name, None, AUTH)
        self.assertEqual(gone, dict(made[1], state="cancelled"))
        self.ask_json("DELETE", "/v1/orders/" + name, None, AUTH, status=404)
        for order in (made[0], made[2]):
            self.ask_json("DELETE", "/v1/orders/" + order["order_id"], None, AUTH)
        for bad in ("", "x", "[]", json.dumps(dict(ORDER, symbol="X")), "{" * 4000, "x" * 5000,
                    json.dumps(dict(ORDER, side="hold")), json.dumps(dict(ORDER, amount=0)),
                    json.dumps(dict(ORDER, price="1")), json.dumps(dict(ORDER, price=-1)),
                    json.dumps(dict(ORDER, client_order_id=1)),
                    json.dumps(dict(ORDER, client_order_id="x" * 64))):
            self.ask_json("POST", "/v1/orders", bad, AUTH, status=400)
        self.assertEqual(self.ask_json("GET", "/v1/orders", None, AUTH)["count"], 0)
        self.ask_json("GET", "/v1/orders", None, {"Authorization": "Bearer wrong"}, status=401)

    def test_bodies(self):
        body = os.urandom(300000)
        for exchange in (self.exchange, self.plain):
            self.assertEqual(exchange.ask("POST", "/v1/echo", body)[2], body)
            pieces = iter([body[:7], body[7:]])  # http.client sends them as chunks
            self.assertEqual(exchange.ask("PUT", "/v1/echo", pieces)[2], body)
            status, headers, got = exchange.ask("GET", "/v1/large?bytes=5000001")
            self.assertEqual((status, len(got)), (200, 5000001))
            self.assertEqual(headers["Content-Length"], "5000001")
            self.assertEqual(set(got.split(b"\n")[:1000]), {got[:63]})
            status, headers, got = exchange.ask("GET", "/v1/pieces?count=50&bytes=3000&ms=0")
            self.assertEqual((len(got), headers["Transfer-Encoding"]), (150000, "chunked"))
        self.assertEqual(self.plain.ask("POST", "/v1/echo", bytes(1100000))[0], 413)

    def test_slow(self):
        start = time.monotonic()
        self.assertEqual(self.exchange.ask("GET", "/v1/slow?ms=150")[2], b'{"slow":true}')
        self.assertGreaterEqual(time.monotonic() - start, 0.15)
        start = time.monotonic()
        got = self.exchange.ask("GET", "/v1/pieces?count=4&bytes=10&ms=40")[2]
        self.assertEqual(got, b"abcdefghij" * 4)
        self.assertGreaterEqual(time.monotonic() - start, 0.12)

    def test_keep_alive(self):
        connection = self.exchange.connect()
        for _ in range(20):
            for path in ("/v1/time", "/v1/status/404", "/v1/pieces?count=2&ms=1", "/v1/orders"):
                connection.request("GET", path)
                response = connection.getresponse()
                response.read()
                self.assertIsNone(response.headers["Connection"])
        connection.close()

    def test_limit(self):
        with Exchange("--plain", "--rest-limit", "5") as exchange:
            statuses = [exchange.ask("GET", "/v1/time")[0] for _ in range(30)]
            self.assertEqual(statuses[:5], [200] * 5)
            self.assertIn(429, statuses)
            self.assertEqual(exchange.stop(), 0)

    def raw(self, kind):
        """What comes back for a fault, up to the end of the connection."""
        with socket.create_connection(("127.0.0.1", self.plain.port), DEADLINE) as peer:
            peer.sendall(b"GET /v1/fault/%s HTTP/1.1\r\nHost: x\r\n\r\n" % kind.encode())
            got = b""
            try:
                while piece := peer.recv(65536):
                    got += piece
            except ConnectionResetError:
                got += b"RESET"
            return got

    def test_faults(self):
        self.assertEqual(self.raw("close"), b"")
        self.assertEqual(self.raw("reset"), b"RESET")
        self.assertTrue(self.raw("garbage").startswith(b"\x16\x03\x01"))
        self.assertTrue(self.raw("truncate").endswith(b"Content-Length: 100\r\n\r\nonly this"))
        self.assertIn(b"\r\nxyz\r\n", self.raw("chunk-size"))
        both = self.raw("both-lengths")
        self.assertIn(b"Content-Length", both)
        self.assertIn(b"Transfer-Encoding", both)
        self.assertEqual(self.raw("two-lengths").count(b"Content-Length"), 2)
        self.assertNotIn(b"\r", self.raw("bare-lf"))
        self.assertIn(b"\r\n c\r\n", self.raw("folded"))
        kinds = self.ask_json("GET", "/v1/fault/unknown", status=404)["faults"]
        self.assertEqual(len(kinds), 13)
        for kind in ("silence", "stall", "poison"):  # these stay open: the client goes first
            with socket.create_connection(("127.0.0.1", self.plain.port), DEADLINE) as peer:
                peer.sendall(b"GET /v1/fault/%s HTTP/1.1\r\nHost: x\r\n\r\n" % kind.encode())
                if kind != "silence":
                    self.assertIn(b"200 OK", peer.recv(65536))

    @unittest.skipUnless(has_curl(), "no curl with HTTP/2")
    def test_http_2(self):
        for exchange, option in ((self.exchange, "--http2"),
                                 (self.plain, "--http2-prior-knowledge")):
            done = exchange.curl("/v1/book/BTC-USD", option, "-w", " %{http_version}")
            self.assertRegex(done.stdout, rb'^\{"symbol":"BTC-USD".* 2$')
            done = exchange.curl("/v1/large?bytes=5000001", option)
            self.assertEqual(len(done.stdout), 5000001)
            done = exchange.curl("/v1/pieces?count=3&bytes=10&ms=5", option)
            self.assertEqual(done.stdout, b"abcdefghij" * 3)
            done = exchange.curl("/v1/orders", option, "-H", "Authorization: Bearer secret")
            self.assertIn("count", json.loads(done.stdout))
            for kind in ("reset", "garbage", "truncate"):
                self.assertEqual(exchange.curl("/v1/fault/" + kind, option).returncode, 92)

    def hpx(self, exchange, *arguments, timeout="20"):
        trust = ["--cacert", exchange.ca] if exchange.tls else []
        done = subprocess.run([TOOL, *arguments, *trust, "--timeout", timeout],
                              capture_output=True, timeout=DEADLINE)
        return done.returncode, done.stdout, done.stderr.decode()

    def test_hpx_get(self):
        """Our own client: no fault is taken for an answer, and none spoils the next request."""
        refused = {
            "reset": "reset by the peer", "close": "closed the connection",
            "garbage": "is not HTTP/1.1", "truncate": "after 9 of 100 bytes",
            "chunk-size": "chunk size is not", "chunk-cut": "before its last chunk",
            "both-lengths": "both Transfer-Encoding and Content-Length",
            "two-lengths": "more than one Content-Length", "bare-lf": "LF without CR",
            "folded": "folded field"}
        for exchange in (self.exchange, self.plain):
            for kind, why in refused.items():
                code, _, error = self.hpx(exchange, "get", "--http1.1",
                                          exchange.url + "/v1/fault/" + kind)
                self.assertEqual(code, 1, kind)
                self.assertIn(why, error)
            for kind in ("silence", "stall"):
                code, _, _ = self.hpx(exchange, "get", "--http1.1",
                                      exchange.url + "/v1/fault/" + kind, timeout="0.2")
                self.assertEqual(code, 3, kind)
            code, out, _ = self.hpx(exchange, "get", "--http1.1", exchange.url + "/v1/fault/poison",
                                    exchange.url + "/v1/time", exchange.url + "/v1/fault/folded")
            self.assertEqual(code, 1)
            self.assertRegex(out, rb'^ok\{"time_ns":\d+\}$')
        code, _, error = self.hpx(self.exchange, "get", self.exchange.url + "/v1/fault/reset")
        self.assertEqual(code, 1)
        self.assertIn("INTERNAL_ERROR", error)  # HTTP/2, as ALPN agreed
        code, out, _ = self.hpx(
            self.exchange, "post", self.exchange.url + "/v1/orders", "-d", json.dumps(ORDER),
            "-H", "Authorization: Bearer secret")
        order = json.loads(out)["order_id"]
        self.ask_json("DELETE", "/v1/orders/" + order, None, AUTH)

    def test_stop_with_open_answers(self):
        with Exchange("--plain") as exchange:
            peers = []
            for path in ("/v1/slow?ms=60000", "/v1/fault/silence", "/v1/large?bytes=4000000000"):
                peer = socket.create_connection(("127.0.0.1", exchange.port), DEADLINE)
                peer.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                peers.append(peer)
            peers[2].recv(1)
            self.assertEqual(exchange.stop(), 0)
            for peer in peers:
                peer.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
