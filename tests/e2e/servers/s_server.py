"""A WebSocket echo behind `openssl s_server`, which does the TLS: its stdin and stdout are ours.

usage: s_server.py [option of openssl s_server...]
stdout: "listening PORT"; "open PATH" and "closed CODE" per connection. SIGUSR1 kills s_server: TCP
ends without close_notify (a closed stdin would make it say goodbye).
SPDX-License-Identifier: Apache-2.0
"""
import base64
import ctypes
import hashlib
import os
import signal
import struct
import subprocess
import sys
import time

PR_SET_PDEATHSIG = 1
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
OP_CLOSE, OP_PING, OP_PONG = 8, 9, 10


def say(*words):
    print(*words, flush=True)


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def listening_port(pid):
    """s_server -quiet does not tell its port: look for the listening socket that it holds."""
    inodes = set()
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            inodes.add(os.readlink("/proc/%d/fd/%s" % (pid, fd)))
        except OSError:
            pass  # closed in between
    for line in open("/proc/net/tcp").readlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and "socket:[%s]" % fields[9] in inodes:
            return int(fields[1].split(":")[1], 16)
    return None


class Relay:
    """Bytes of one TLS connection after the other."""

    def __init__(self, server):
        self.server = server
        self.held = b""

    def take(self, size):
        while len(self.held) < size:
            more = self.server.stdout.read1(1 << 16)
            if not more:
                sys.exit(0)
            self.held += more
        taken, self.held = self.held[:size], self.held[size:]
        return taken

    def peek(self):
        self.held = self.take(1) + self.held
        return self.held[:1]

    def put(self, data):
        self.server.stdin.write(data)
        self.server.stdin.flush()

    def upgrade(self):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.take(1)
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        accept = base64.b64encode(hashlib.sha1(fields[b"Sec-WebSocket-Key"] + GUID).digest())
        self.put(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                 b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        return head.split(b" ")[1].decode()

    def frame(self):
        first, second = self.take(2)
        size = second & 127
        if size == 126:
            size, = struct.unpack(">H", self.take(2))
        elif size == 127:
            size, = struct.unpack(">Q", self.take(8))
        key = int.from_bytes(self.take(4) * (size // 4 + 1), "big")
        payload = self.take(size) + bytes(4 - size % 4)
        return first, (int.from_bytes(payload, "big") ^ key).to_bytes(len(payload), "big")[:size]

    def answer(self, first, payload):
        size = len(payload)
        head = bytes([first])
        if size < 126:
            head += bytes([size])
        elif size < 65536:
            head += b"\x7e" + struct.pack(">H", size)
        else:
            head += b"\x7f" + struct.pack(">Q", size)
        self.put(head + payload)

    def serve(self):
        """One connection, until its CLOSE frame or until the next one begins in its place."""
        path = self.upgrade()
        say("open", path)
        while True:
            if self.peek() == b"G":  # of GET; no frame of a client begins so
                return
            first, payload = self.frame()
            self.answer(first if first & 15 != OP_PING else 0x80 | OP_PONG, payload)
            if first & 15 == OP_CLOSE:
                say("closed", *struct.unpack(">H", payload[:2]))
                return


def main():
    server = subprocess.Popen(
        ["openssl", "s_server", "-accept", "127.0.0.1:0", "-quiet"] + sys.argv[1:],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=die_with_parent)
    signal.signal(signal.SIGUSR1, lambda *_: server.kill())
    port = None
    while port is None:
        if server.poll() is not None:
            sys.exit("s_server did not start")
        port = listening_port(server.pid)
        time.sleep(0.002)
    say("listening", port)
    relay = Relay(server)
    while True:
        relay.serve()


main()
