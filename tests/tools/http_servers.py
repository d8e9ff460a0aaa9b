#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""http_servers.py - hpx get, post, put, delete and head against servers that we did not write.

Goal      The client and its command do what they promise with nginx, nghttpd, haproxy and
          python's http.server: HTTP/1.1 and HTTP/2, plain and TLS, keep-alive limits that end a
          connection in the middle of things, large and chunked bodies, gzip; exit codes, output
          files and the JSON line are as documented.
Method    Each test starts the servers it needs on free ports of 127.0.0.1; a server that is not
          installed skips its tests. Files are compared byte by byte.

Environment: HPX_TOOL.
"""
import hashlib
import http.server
import json
import os
import pty
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest

TOOL = os.environ["HPX_TOOL"]
DEADLINE = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def find(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def wait_for(port, process):
    limit = time.monotonic() + DEADLINE
    while time.monotonic() < limit:
        if process.poll() is not None:
            raise AssertionError("the server ended with %d" % process.returncode)
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise AssertionError("the server does not listen")


class Files:
    """A folder with a certificate and some files to serve."""

    def __init__(self):
        self.folder = tempfile.mkdtemp()
        self.large = os.urandom(1 << 16) * 200  # 13 MB
        self.text = b"the quick brown fox " * 20000
        www = self.path("www")
        os.mkdir(www)
        for name, content in (("small.txt", b"hello\n"), ("large.bin", self.large),
                              ("text.txt", self.text)):
            with open(os.path.join(www, name), "wb") as file:
                file.write(content)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
             "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", self.path("key.pem"),
             "-out", self.path("cert.pem")], check=True, stderr=subprocess.DEVNULL)

    def path(self, name):
        return os.path.join(self.folder, name)

    def remove(self):
        shutil.rmtree(self.folder)


def hpx(*arguments, code=0, stdin=b""):
    """Runs the command; (stdout, stderr)."""
    done = subprocess.run([TOOL, *arguments], input=stdin, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=DEADLINE)
    if done.returncode != code:
        raise AssertionError("exit %d instead of %d: %s\n%s" % (
            done.returncode, code, " ".join(arguments), done.stderr.decode()))
    return done.stdout, done.stderr.decode()


def lines_of(stdout):
    return [json.loads(line) for line in stdout.decode().splitlines()]


class ServerCase(unittest.TestCase):
    binary = None

    @classmethod
    def setUpClass(cls):
        cls.tool = find(cls.binary)
        if cls.tool is None:
            raise unittest.SkipTest(cls.binary + " is not installed")
        cls.files = Files()
        cls.processes = []
        try:
            cls.start()
        except BaseException:
            cls.tearDownClass()
            raise

    @classmethod
    def tearDownClass(cls):
        for process in cls.processes:
            process.kill()
            process.wait()
        cls.files.remove()

    @classmethod
    def run_server(cls, arguments, ports):
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cls.processes.append(process)
        for port in ports:
            wait_for(port, process)

    def download(self, url, *options):
        out = self.files.path("out")
        stdout, _ = hpx("get", url, "-o", out, "-w", "json", "--cacert",
                        self.files.path("cert.pem"), *options)
        with open(out, "rb") as file:
            return file.read(), lines_of(stdout)[0]


class Nginx(ServerCase):
    binary = "nginx"

    @classmethod
    def start(cls):
        cls.ports = {name: free_port() for name in ("h1", "h2c", "tls1", "tls2")}
        folder = cls.files.folder
        with open(cls.files.path("nginx.conf"), "w") as conf:
            conf.write("""
daemon off; master_process off; pid %(f)s/pid; error_log %(f)s/log; worker_processes 1;
events { worker_connections 512; }
http {
  access_log off; default_type text/plain; keepalive_requests 7; gzip on; gzip_types text/plain;
  client_body_temp_path %(f)s/t1; proxy_temp_path %(f)s/t2; fastcgi_temp_path %(f)s/t3;
  uwsgi_temp_path %(f)s/t4; scgi_temp_path %(f)s/t5; client_max_body_size 100m;
  ssl_certificate %(f)s/cert.pem; ssl_certificate_key %(f)s/key.pem;
  server {
    listen 127.0.0.1:%(h1)d; listen 127.0.0.1:%(h2c)d http2;
    listen 127.0.0.1:%(tls1)d ssl; listen 127.0.0.1:%(tls2)d ssl http2;
    root %(f)s/www;
    location /moved { return 302 /small.txt; }
    location /down { return 302 http://127.0.0.1:%(h1)d/small.txt; }
    location /gone { return 410 "gone"; }
    location /put { return 200 "$request_method $content_length $content_type"; }
  }
}
""" % dict(cls.ports, f=folder))
        cls.run_server([cls.tool, "-c", cls.files.path("nginx.conf"), "-p", folder],
                       cls.ports.values())

    def urls(self, path):
        return (("http://127.0.0.1:%d%s" % (self.ports["h1"], path), (), "HTTP/1.1"),
                ("http://127.0.0.1:%d%s" % (self.ports["h2c"], path),
                 ("--http2-prior-knowledge",), "HTTP/2"),
                ("https://localhost:%d%s" % (self.ports["tls1"], path), (), "HTTP/1.1"),
                ("https://localhost:%d%s" % (self.ports["tls2"], path), (), "HTTP/2"),
                ("https://localhost:%d%s" % (self.ports["tls2"], path), ("--http1.1",),
                 "HTTP/1.1"))

    def test_get_when_large_then_whole_in_every_version(self):
        for url, options, version in self.urls("/large.bin"):
            body, report = self.download(url, *options)
            self.assertEqual(hashlib.sha256(body).digest(),
                             hashlib.sha256(self.files.large).digest())
            self.assertEqual((report["outcome"], report["status"], report["version"]),
                             ("done", 200, version))
            self.assertEqual(report.get("tls_verified", True), True)

    def test_get_when_gzip_then_chunked_and_decoded(self):
        for url, options, _ in self.urls("/text.txt"):
            body, report = self.download(url, "--compressed", *options)
            self.assertEqual(body, self.files.text)
            self.assertLess(report["response_bytes"], len(body) // 4)
            self.assertEqual(report["body_bytes"], len(body))

    def test_get_when_the_keep_alive_limit_is_met_then_all_are_answered(self):
        for url, options, _ in self.urls("/small.txt"):
            stdout, _ = hpx("get", *[url] * 20, "-w", "json", "--cacert",
                            self.files.path("cert.pem"), *options)
            rows = [line for line in stdout.decode().splitlines() if line.startswith("{")]
            self.assertEqual(len(rows), 20)
            self.assertEqual(stdout.count(b"hello\n"), 20)
            reused = [json.loads(row)["reused"] for row in rows]
            self.assertFalse(reused[0])
            self.assertIn(sum(reused), range(16, 18))  # 7 requests on each connection

    def test_post_when_large_then_taken(self):
        data = self.files.path("www/large.bin")
        for url, options, _ in self.urls("/put"):
            stdout, _ = hpx("put", url, "--data-file", data, "-H", "Content-Type: x/y", "-k",
                            *options)
            self.assertEqual(stdout.decode(), "PUT %d x/y" % len(self.files.large))
            stdout, _ = hpx("post", url, "--data-file", "-", "-k", *options, stdin=b"12345")
            self.assertEqual(stdout.decode(), "POST 5 ")
            stdout, _ = hpx("post", url, "-d", '{"a":1}', "-k", *options)
            self.assertEqual(stdout.decode(), "POST 7 application/json")

    def test_status_when_an_error_then_0_or_5_with_fail(self):
        url = self.urls("/gone")[0][0]
        self.assertEqual(hpx("get", url)[0], b"gone")
        _, stderr = hpx("get", url, "--fail", code=5)
        self.assertIn("410", stderr)

    def test_redirect_when_location_then_followed(self):
        for url, options, _ in self.urls("/moved"):
            body, report = self.download(url, "-L", *options)
            self.assertEqual((body, report["redirects"]), (b"hello\n", 1))
            self.assertEqual(self.download(url, *options)[1]["status"], 302)

    def test_redirect_when_from_https_to_http_then_not_followed(self):
        for url, options, _ in self.urls("/down"):
            if url.startswith("https"):
                _, stderr = hpx("get", url, "-L", "-k", *options, code=1)
                self.assertIn("from https to http is not followed", stderr)
        url = self.urls("/down")[0][0]
        self.assertEqual(self.download(url, "-L")[0], b"hello\n")

    def test_head_and_delete_when_asked_then_the_method_is_right(self):
        url = self.urls("/small.txt")[0][0]
        stdout, stderr = hpx("head", url, "-v")
        self.assertEqual(stdout, b"")
        self.assertIn("Content-Length: 6", stderr)
        stdout, _ = hpx("delete", self.urls("/put")[1][0], "--http2-prior-knowledge")
        self.assertEqual(stdout.decode(), "DELETE  ")

    def test_tls_when_not_trusted_then_1_and_the_cause(self):
        _, stderr = hpx("get", self.urls("/small.txt")[3][0], code=1)
        self.assertRegex(stderr, "^hpx: tls: .*self-signed.*processed: no")
        _, stderr = hpx("get", self.urls("/small.txt")[2][0], "--http2", "-k", code=1)
        self.assertIn("tls", stderr)

    def test_resolve_when_given_then_used_for_that_host(self):
        url = "http://nowhere.test:%d/small.txt" % self.ports["h1"]
        stdout, _ = hpx("get", url, "--resolve", "nowhere.test:%d:127.0.0.1" % self.ports["h1"])
        self.assertEqual(stdout, b"hello\n")


class Nghttpd(ServerCase):
    binary = "nghttpd"

    @classmethod
    def start(cls):
        cls.port, cls.tls_port = free_port(), free_port()
        www = cls.files.path("www")
        cls.run_server([cls.tool, "--no-tls", "-d", www, str(cls.port)], [cls.port])
        cls.run_server([cls.tool, "-d", www, str(cls.tls_port), cls.files.path("key.pem"),
                        cls.files.path("cert.pem")], [cls.tls_port])

    def test_get_when_large_then_whole(self):
        for url, options in (("http://127.0.0.1:%d" % self.port, ["--http2-prior-knowledge"]),
                             ("https://localhost:%d" % self.tls_port, [])):
            body, report = self.download(url + "/large.bin", *options)
            self.assertEqual(body, self.files.large)
            self.assertEqual(report["version"], "HTTP/2")

    def test_get_when_tls_then_1_3_and_verified(self):
        _, report = self.download("https://localhost:%d/small.txt" % self.tls_port)
        self.assertEqual((report["tls_version"], report["tls_verified"]), ("TLSv1.3", True))


class Haproxy(ServerCase):
    """HTTP/2 in front of nothing but its own answers."""
    binary = "haproxy"

    @classmethod
    def start(cls):
        cls.port = free_port()
        pem = cls.files.path("both.pem")
        with open(pem, "wb") as both:
            for name in ("cert.pem", "key.pem"):
                with open(cls.files.path(name), "rb") as part:
                    both.write(part.read())
        with open(cls.files.path("haproxy.cfg"), "w") as conf:
            conf.write("""
global
  maxconn 100
defaults
  mode http
  timeout client 20s
  timeout server 20s
  timeout connect 5s
frontend main
  bind 127.0.0.1:%d ssl crt %s alpn h2,http/1.1
  http-request return status 200 content-type text/plain string "%s" if { path /ok }
  http-request return status 429 hdr Retry-After 7 if { path /busy }
  http-request deny deny_status 403
""" % (cls.port, pem, "answer"))
        cls.run_server([cls.tool, "-db", "-q", "-f", cls.files.path("haproxy.cfg")], [cls.port])

    def test_get_when_either_version_then_answered(self):
        for options, version in (([], "HTTP/2"), (["--http1.1"], "HTTP/1.1")):
            body, report = self.download("https://localhost:%d/ok" % self.port, *options)
            self.assertEqual((body, report["version"]), (b"answer", version))
            _, report = self.download("https://localhost:%d/busy" % self.port, *options)
            self.assertEqual(report["status"], 429)


class Python(unittest.TestCase):
    """http.server: HTTP/1.0 by default, closes when it likes."""

    @classmethod
    def setUpClass(cls):
        class Handler(http.server.SimpleHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for start in range(0, len(body), 70):
                    piece = body[start:start + 70]
                    self.wfile.write(b"%x;ext=1\r\n%s\r\n" % (len(piece), piece))
                self.wfile.write(b"0\r\nTrailer: t\r\n\r\n")

            def log_message(self, *_):
                pass

        class Old(Handler):
            protocol_version = "HTTP/1.0"

        cls.files = Files()
        cls.servers = []
        for handler in (Handler, Old):
            server = http.server.ThreadingHTTPServer(
                ("127.0.0.1", 0), lambda *a, h=handler: h(*a, directory=cls.files.path("www")))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            cls.servers.append(server)

    @classmethod
    def tearDownClass(cls):
        for server in cls.servers:
            server.shutdown()
            server.server_close()
        cls.files.remove()

    def test_get_when_http_1_0_or_1_1_then_whole(self):
        for server in self.servers:
            url = "http://127.0.0.1:%d/large.bin" % server.server_address[1]
            self.assertEqual(hpx("get", url)[0], self.files.large)

    def test_post_when_answered_in_small_chunks_then_whole(self):
        url = "http://127.0.0.1:%d/" % self.servers[0].server_address[1]
        data = os.urandom(50000)
        stdout, _ = hpx("post", url, url, "--data-file", "-", stdin=data)
        self.assertEqual(stdout, data + data)


class Progress(unittest.TestCase):
    def test_download_when_long_and_on_a_terminal_then_progress_on_stderr(self):
        with socket.socket() as listener, tempfile.NamedTemporaryFile() as out:
            listener.bind(("127.0.0.1", 0))
            listener.listen()

            def answer():
                with listener.accept()[0] as connection:
                    connection.recv(4096)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n")
                    for _ in range(16):
                        connection.sendall(b"x" * 250000)
                        time.sleep(0.1)

            thread = threading.Thread(target=answer)
            thread.start()
            master, slave = pty.openpty()
            process = subprocess.Popen(
                [TOOL, "get", "http://127.0.0.1:%d/" % listener.getsockname()[1], "-o", out.name],
                stdout=subprocess.DEVNULL, stderr=slave)
            os.close(slave)
            self.assertEqual(process.wait(DEADLINE), 0)
            thread.join()
            shown = os.read(master, 65536).decode()
            os.close(master)
            self.assertEqual(os.path.getsize(out.name), 4000000)
        self.assertRegex(shown, "\r4.0 of 4.0 MB, 100 %, [0-9.]+ MB/s")
        self.assertGreater(shown.count("\r"), 3)


class Failures(unittest.TestCase):
    def test_exit_when_it_cannot_be_then_the_code_and_one_line(self):
        port = free_port()
        _, stderr = hpx("get", "http://127.0.0.1:%d/" % port, code=1)
        self.assertRegex(stderr, r"^hpx: connect: .*refused.*\(processed: no\)\n$")
        _, stderr = hpx("get", "http://a b/", code=2)
        self.assertEqual(stderr.count("\n"), 1)
        _, stderr = hpx("get", code=2)
        self.assertIn("a URL is missing", stderr)
        hpx("get", "http://127.0.0.1:1/", "-H", "nonsense", code=2)
        hpx("get", "http://127.0.0.1:1/", "-H", "A: b\r\nC: d", code=2)

    def test_exit_when_silent_then_3(self):
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            url = "http://127.0.0.1:%d/" % silent.getsockname()[1]
            _, stderr = hpx("get", url, "--timeout", "0.3", code=3)
            self.assertIn("processed: unknown", stderr)


class Truncation(unittest.TestCase):
    """A TLS server without ALPN whose body lasts until the close: only close_notify says that it is
    whole."""

    def serve(self, says_goodbye, *options):
        files = Files()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.path("cert.pem"), files.path("key.pem"))
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()

            def answer():
                with listener.accept()[0] as raw:
                    connection = context.wrap_socket(raw, server_side=True)
                    if not connection.recv(4096):
                        connection.close()
                        return
                    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nthe first half")
                    if says_goodbye:
                        try:
                            connection.unwrap()
                        except OSError:
                            pass  # the client need not answer
                    connection.close()

            thread = threading.Thread(target=answer)
            thread.start()
            done = subprocess.run(
                [TOOL, "get", "https://localhost:%d/" % listener.getsockname()[1], "--cacert",
                 files.path("cert.pem"), *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                timeout=DEADLINE)
            thread.join()
        files.remove()
        return done.returncode, done.stdout, done.stderr.decode()

    def test_body_when_close_notify_came_then_whole(self):
        self.assertEqual(self.serve(True), (0, b"the first half", ""))

    def test_body_when_no_close_notify_then_failed(self):
        code, stdout, stderr = self.serve(False)
        self.assertEqual((code, stdout), (1, b"the first half"))
        self.assertRegex(stderr, "^hpx: body: .*processed: yes")

    def test_http2_when_the_server_knows_no_alpn_then_failed(self):
        code, stdout, stderr = self.serve(True, "--http2")
        self.assertEqual((code, stdout), (1, b""))
        self.assertRegex(stderr, "^hpx: tls: .*does not speak HTTP/2.*processed: no")


if __name__ == "__main__":
    unittest.main()
