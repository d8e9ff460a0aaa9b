"""Cross-check of the opening handshake: another implementation reads what we write, and we read
what it writes. Also its verdicts on broken answers and requests must not be stricter than ours.

usage: handshake_cross.py <handshake_cross program>
"""
import base64
import hashlib
import http.client
import io
import random
import subprocess
import sys

try:
    from websockets.uri import parse_uri
    try:  # websockets 10
        from websockets.client import ClientConnection as Client
        from websockets.server import ServerConnection as Server
    except ImportError:  # 11 and later
        from websockets.client import ClientProtocol as Client
        from websockets.server import ServerProtocol as Server
except ImportError as reason:
    print("skipped: %s" % reason)
    sys.exit(77)

PROGRAM = sys.argv[1]
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
random.seed(6455)


def run(arguments, data=b""):
    done = subprocess.run([PROGRAM] + arguments, input=data, stdout=subprocess.PIPE, check=True)
    return done.stdout


def options(subprotocols, headers=()):
    result = []
    for name in subprotocols:
        result += ["-p", name]
    for header in headers:
        result += ["-h", header]
    return result


def expect(what, got, wanted):
    if got != wanted:
        sys.exit("%s: got %r, expected %r" % (what, got, wanted))


def accept_of(request):
    key = next(line.split(b": ", 1)[1] for line in request.split(b"\r\n")
               if line.startswith(b"Sec-WebSocket-Key"))
    return base64.b64encode(hashlib.sha1(key + GUID).digest())


REQUESTS = [
    ("a.example", "/", [], [], []),
    ("a.example:8443", "/ws/v2?x=1&y=%20", [], [], ["Origin: https://a.example"]),
    ("[::1]:80", "/?", ["chat"], ["chat"], []),
    ("127.0.0.1", "/a", ["v2.json", "chat"], ["chat"], ["X-One: 1", "X-One: 2"]),
    ("a", "/a", ["x", "y"], [], ["Authorization: Basic YTpi", "X-Empty:"]),
]


def our_request_their_server():
    """Their server accepts our request; our client accepts their answer."""
    for host, target, offered, supported, headers in REQUESTS:
        nonce = random.getrandbits(128).to_bytes(16, "big").hex()
        request = run(["request", host, target, nonce] + options(offered, headers))
        server = Server(subprotocols=supported or None)
        server.receive_data(request)
        events = server.events_received()
        expect("requests parsed", len(events), 1)
        expect("target", events[0].path, target)
        expect("host", events[0].headers["Host"], host)
        for header in headers:
            name, value = header.split(":", 1)
            if value.strip() not in events[0].headers.get_all(name):
                sys.exit("%s is not in the request" % header)
        server.send_response(server.accept(events[0]))
        answer = b"".join(server.data_to_send())
        expect("first line", answer[:13], b"HTTP/1.1 101 ")
        verdict = run(["check", host, target, nonce] + options(offered), answer).decode()
        chosen = next((name for name in offered if name in supported), "")
        expect("verdict", verdict.split("\n")[:2], ["HPX_OK", chosen])
        other = "00" + nonce[2:] if nonce[:2] != "00" else "01" + nonce[2:]
        verdict = run(["check", host, target, other] + options(offered), answer).decode()
        expect("verdict for another nonce", verdict.split("\n")[0], "HPX_E_UPGRADE_ACCEPT")


def their_request_our_server():
    """Our server accepts their request; their client accepts our answer."""
    for uri in ("ws://a.example/", "wss://a.example:8443/b?c=d", "ws://[::1]:81/x"):
        for offered, supported, chosen in (
                ([], [], None), (["chat"], ["chat"], "chat"), (["a", "b"], ["b", "a"], "b"),
                (["a"], ["b"], None), ([], ["b"], None)):
            for _ in range(5):
                client = Client(parse_uri(uri), subprotocols=offered or None)
                request = client.connect()
                client.send_request(request)
                bytes_out = b"".join(client.data_to_send())
                answer = run(["answer"] + options(supported), bytes_out)
                client.receive_data(answer + b"\x81\x02hi")
                expect("handshake error", getattr(client, "handshake_exc", None), None)
                events = client.events_received()
                expect("status", events[0].status_code, 101)
                expect("frame after the 101", bytes(events[1].data), b"hi")
                expect("subprotocol", client.subprotocol, chosen)


def broken_answers():
    """What their client refuses, ours refuses."""
    host, target, nonce = "a.example", "/", "00" * 16
    request = run(["request", host, target, nonce] + options(["chat"]))
    good = (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept_of(request) + b"\r\n\r\n")
    edits = [
        (b"101", b"200"), (b"HTTP/1.1", b"HTTP/1.0"), (b"HTTP/1.1", b"HTTP/2.0"),
        (b"Upgrade: websocket", b"Upgrade: h2c"), (b"Upgrade: websocket\r\n", b""),
        (b"Connection: Upgrade", b"Connection: close"), (b"Connection: Upgrade\r\n", b""),
        (accept_of(request), b"AAAAAAAAAAAAAAAAAAAAAAAAAAA="), (b"Accept", b"Accepd"),
        (b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: x\r\n\r\n"),
        (b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: soap\r\n\r\n"),
        (b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: chat, chat\r\n\r\n"),
        (b"\r\n\r\n", b"\r\nSec-WebSocket-Accept: " + accept_of(request) + b"\r\n\r\n"),
        (b"Upgrade: w", b"Upgrade : w"), (b"Upgrade: w", b"Upgrade w"),
        (b"websocket", b"web\0socket"),
        (b"Upgrade: websocket\r\n", b"Upgrade: websocket\r\n folded\r\n"),
    ]
    arguments = ["check", host, target, nonce] + options(["chat"])
    expect("the good answer", run(arguments, good).split(b"\n")[0], b"HPX_OK")
    for old, new in edits:
        answer = good.replace(old, new, 1)
        client = Client(parse_uri("ws://a.example/"), subprotocols=["chat"])
        client.key = base64.b64encode(bytes(16)).decode()
        try:
            client.receive_data(answer)
            events = client.events_received()
            theirs = bool(events) and client.handshake_exc is None
        except Exception:  # version 10 lets its parser's errors through
            theirs = False
        ours = run(arguments, answer).split(b"\n")[0] == b"HPX_OK"
        expect("their verdict on %r -> %r" % (old, new), theirs, False)
        expect("our verdict on %r -> %r" % (old, new), ours, False)


def refusals():
    """A third parser, http.client, reads our refusals."""
    class Socket:
        def __init__(self, data):
            self.data = data

        def makefile(self, _mode):
            return io.BytesIO(self.data)

    good = run(["request", "a", "/", "00" * 16])
    cases = [
        (good.replace(b"GET", b"POST"), 405, {"Allow": "GET"}),
        (good.replace(b": 13", b": 12"), 426,
         {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}),
        (good.replace(b"Host: a\r\n", b""), 400, {}),
        (b"\x16\x03\x01", 400, {}),
        (good.replace(b"\r\n\r\n", b"\r\n" + b"A: b\r\n" * 100 + b"\r\n"), 431, {}),
    ]
    for request, status, headers in cases:
        response = http.client.HTTPResponse(Socket(run(["answer"], request)))
        response.begin()
        expect("status", response.status, status)
        if "close" not in response.getheader("Connection"):
            sys.exit("a refusal without Connection: close")
        for name, value in headers.items():
            expect(name, response.getheader(name), value)
        body = response.read()
        expect("body", len(body), int(response.getheader("Content-Length")))


our_request_their_server()
their_request_our_server()
broken_answers()
refusals()
print("ok")
