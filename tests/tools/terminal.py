#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""terminal.py - the hpx command on a terminal.

Goal      The quickstart redraws in place, takes keys, leaves the terminal as it was; without
          colours it prints plain lines. The ws client ends on Ctrl-D.
Method    A pty, and a screen just large enough in its understanding to apply what we print: any
          other escape fails the test.

`terminal.py --show [COLUMNS ROWS]` prints what the quickstart looks like after two seconds.
Environment: HPX_TOOL.
"""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import unittest

TOOL = os.environ["HPX_TOOL"]
DEADLINE = 60


class Screen:
    """The part of a terminal that we use: text, CR, LF, SGR, cursor up, clear line and below."""

    ESCAPE = re.compile(r"\x1b\[(\??)([0-9;]*)([A-Za-z])")

    def __init__(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.lines = [[" "] * columns for _ in range(rows)]
        self.x = self.y = 0
        self.modes = {"25": True, "7": True}
        self.frames = 0
        self.pending = ""

    def text(self):
        return "\n".join("".join(line).rstrip() for line in self.lines).rstrip("\n")

    def line_feed(self):
        if self.y == self.rows - 1:
            self.lines = self.lines[1:] + [[" "] * self.columns]
        else:
            self.y += 1

    def put(self, character):
        if character == "\n":
            self.line_feed()
        elif character == "\r":
            self.x = 0
        else:
            if self.x == self.columns:
                if self.modes["7"]:
                    self.x = 0
                    self.line_feed()
                else:
                    self.x -= 1
            self.lines[self.y][self.x] = character
            self.x += 1

    def escape(self, private, numbers, final):
        if private:
            assert numbers in self.modes and final in "hl", (numbers, final)
            self.modes[numbers] = final == "h"
        elif final == "A":
            self.y = max(0, self.y - int(numbers or 1))
        elif final == "K":
            self.lines[self.y][self.x:] = [" "] * (self.columns - self.x)
        elif final == "J":
            self.lines[self.y][self.x:] = [" "] * (self.columns - self.x)
            for y in range(self.y + 1, self.rows):
                self.lines[y] = [" "] * self.columns
            self.frames += 1
        else:
            assert final == "m", final

    def feed(self, text):
        text = self.pending + text
        at = 0
        while at < len(text):
            match = self.ESCAPE.match(text, at)
            if match:
                self.escape(*match.groups())
                at = match.end()
            elif text[at] == "\x1b" and len(text) - at < 16:
                break
            else:
                assert text[at] != "\x1b", repr(text[at:at + 10])
                self.put(text[at])
                at += 1
        self.pending = text[at:]


class Terminal:
    """hpx on a pty."""

    def __init__(self, *arguments, columns=80, rows=30, **environment):
        self.screen = Screen(columns, rows)
        self.output = ""
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(self.slave)
        keep = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR",)}
        keep.update({"TERM": "xterm", "LC_ALL": "C.UTF-8"}, **environment)
        self.process = subprocess.Popen([TOOL, *arguments], stdin=self.slave, stdout=self.slave,
                                        stderr=self.slave, env=keep, preexec_fn=self.own_terminal)
        self.partial = b""

    def own_terminal(self):
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def read(self, timeout):
        ready, _, _ = select.select([self.master], [], [], timeout)
        if not ready:
            return False
        data = self.partial + os.read(self.master, 65536)
        text = data.decode(errors="ignore")
        self.partial = data[len(text.encode()):]
        self.output += text
        self.screen.feed(text)
        return True

    def until(self, condition):
        deadline = time.monotonic() + DEADLINE
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError("never came:\n" + self.screen.text())
            self.read(0.05)

    def type(self, keys):
        os.write(self.master, keys)

    def wait(self):
        """Exit code, once everything printed was read."""
        self.until(lambda: self.process.poll() is not None)
        while self.read(0):
            pass
        return self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


class QuickstartTest(unittest.TestCase):
    def check_restored(self, terminal):
        self.assertEqual(terminal.screen.modes, {"25": True, "7": True})
        self.assertEqual(termios.tcgetattr(terminal.slave), terminal.before)

    def test_it_redraws_in_place_and_ends_with_q(self):
        with Terminal("quickstart") as terminal:
            terminal.until(lambda: terminal.screen.frames >= 8)
            self.assertEqual(terminal.screen.modes, {"25": False, "7": False})
            shown = terminal.screen.text()
            self.assertEqual(shown.count("hpx quickstart"), 1, shown)
            self.assertRegex(shown, r"live\n +TLSv1\.3 .*certificate verified\n")
            self.assertRegex(shown, r"messages/s +[1-9][\d,]* +[▁▂▃▄▅▆▇█]+\n")
            self.assertRegex(shown, r"p50 +p90 +p99 +p99\.9 +max\n +\d")
            for topic in ("trades.BTC-USD", "book.SOL-USD"):
                self.assertRegex(shown, rf"(?m)^  {topic} +[\d,]+\.\d\d +[1-9][\d,]* +0$")
            terminal.type(b"q")
            self.assertEqual(terminal.wait(), 0)
            self.check_restored(terminal)
            self.assertIn("result      ok", terminal.screen.text())

    def test_it_ends_with_control_c(self):
        with Terminal("quickstart") as terminal:
            terminal.until(lambda: terminal.screen.frames >= 4)
            terminal.type(b"\x03")
            self.assertEqual(terminal.wait(), 0)
            self.check_restored(terminal)

    def test_it_ends_after_its_duration(self):
        with Terminal("quickstart", "--duration", "1.5", "--rate", "100") as terminal:
            self.assertEqual(terminal.wait(), 0)
            self.assertGreaterEqual(terminal.screen.frames, 4)
            self.check_restored(terminal)

    def test_small_windows_and_ascii(self):
        for columns, rows in ((40, 10), (80, 16), (200, 60)):
            with Terminal("quickstart", "--duration", "1.2", columns=columns, rows=rows,
                          LC_ALL="C") as terminal:
                terminal.until(lambda: terminal.screen.frames >= 3)
                self.assertEqual(terminal.screen.text().count("hpx quickstart"), 1)
                self.assertEqual(terminal.wait(), 0)
                self.assertTrue(terminal.output.isascii())

    def test_a_second_signal_restores_the_terminal_as_well(self):
        with Terminal("quickstart") as terminal:
            terminal.until(lambda: terminal.screen.frames >= 2)
            terminal.process.send_signal(signal.SIGSTOP)
            terminal.process.send_signal(signal.SIGINT)
            terminal.process.send_signal(signal.SIGTERM)
            terminal.process.send_signal(signal.SIGCONT)
            self.assertIn(terminal.wait(), (0, 130))
            self.check_restored(terminal)

    def test_without_colours_it_prints_lines(self):
        for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            with Terminal("quickstart", "--duration", "2", **environment) as terminal:
                self.assertEqual(terminal.wait(), 0)
                self.assertNotIn("\x1b", terminal.output)
                self.assertRegex(terminal.output, r"(?m)^   1 s ")
                self.check_restored(terminal)


class WsTest(unittest.TestCase):
    def test_control_d_closes(self):
        echo = subprocess.Popen([TOOL, "echo", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE,
                                text=True)
        try:
            port = echo.stdout.readline().rsplit(":", 1)[1].strip()
            with Terminal("ws", f"ws://127.0.0.1:{port}/", "-v") as terminal:
                terminal.until(lambda: "* ready" in terminal.output)
                terminal.type(b"typed\n")
                terminal.until(lambda: terminal.output.count("typed") == 2)  # echoed by both
                terminal.type(b"\x04")
                self.assertEqual(terminal.wait(), 0)
        finally:
            echo.terminate()
            self.assertEqual(echo.wait(DEADLINE), 0)
            echo.stdout.close()


def show(columns=80, rows=30):
    with Terminal("quickstart", columns=columns, rows=rows) as terminal:
        terminal.until(lambda: terminal.screen.frames >= 10)
        print(terminal.screen.text())
        terminal.type(b"q")
        terminal.wait()
        print("-" * columns)
        print(terminal.screen.text())


if __name__ == "__main__":
    if sys.argv[1:2] == ["--show"]:
        show(*map(int, sys.argv[2:]))
    else:
        unittest.main()
