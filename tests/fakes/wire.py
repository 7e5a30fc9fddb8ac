# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 for the fakes: a thread for each connection, bodies straight into a buffer that is used
again, and what a real server never does: cut connections and replies where a fault says so."""
import email.utils
import functools
import re
import socket
import ssl
import struct
import threading
import time

HEAD_MAX = 64 << 10
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
PHRASES = {200: "OK", 201: "Created", 202: "Accepted", 400: "Bad Request", 401: "Unauthorized",
           402: "Payment Required", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
           408: "Request Timeout", 409: "Conflict", 411: "Length Required",
           412: "Precondition Failed", 413: "Payload Too Large", 429: "Too Many Requests",
           500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable",
           504: "Gateway Timeout"}


@functools.lru_cache(2)
def date(seconds):
    return email.utils.formatdate(seconds, usegmt=True)


class Closed(Exception):
    """The other side went away, or a fault wants this connection to end."""


class Malformed(Exception):
    """Not HTTP as the fake wants it."""


class Request:
    """A request's head. 'headers' has lower-case names; one that came twice is refused."""

    def __init__(self, head):
        lines = head.decode("latin-1").split("\r\n")
        parts = lines[0].split(" ")
        if len(parts) != 3 or parts[2] != "HTTP/1.1":
            raise Malformed(f"no request line of HTTP/1.1: {lines[0][:100]!r}")
        self.method, self.target = parts[:2]
        self.path, _, self.query = self.target.partition("?")
        self.headers = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon or not TOKEN.fullmatch(name):
                raise Malformed("a line of the head that is no header")
            if name.lower() in self.headers:
                raise Malformed(f"header {name} twice")
            self.headers[name.lower()] = value.strip(" \t")
        if not self.path.startswith("/"):
            raise Malformed("the target is no path")
        if not self.headers.get("host"):
            raise Malformed("no Host")
        if "transfer-encoding" in self.headers:
            raise Malformed("Transfer-Encoding: the length has to be said before")
        length = self.headers.get("content-length", "0")
        if not re.fullmatch(r"[0-9]{1,15}", length):
            raise Malformed("Content-Length is no number")
        self.length = int(length)
        self.left = self.length  # of the body, to be read


class Connection:
    def __init__(self, sock):
        self.sock = sock
        self.tls = isinstance(sock, ssl.SSLSocket)
        self.pending = bytearray()
        self.used = False

    def head(self):
        """The next request, or Closed."""
        while (end := self.pending.find(b"\r\n\r\n")) < 0:
            if len(self.pending) > HEAD_MAX:
                raise Malformed("a head without an end")
            data = self.sock.recv(16384)
            if not data:
                raise Closed
            self.pending += data
        head = bytes(self.pending[:end])
        del self.pending[:end + 4]
        return Request(head)

    def read_into(self, request, view):
        """Fills VIEW, which is no longer than what is left of the body."""
        if request.headers.get("expect", "").lower() == "100-continue" and not self.pending \
                and request.left == request.length:
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.left -= len(view)
        have = min(len(self.pending), len(view))
        view[:have] = self.pending[:have]
        del self.pending[:have]
        while have < len(view):
            if self.tls:
                count = self.sock.recv_into(view[have:])
            else:
                count = self.sock.recv_into(view[have:], len(view) - have, socket.MSG_WAITALL)
            if count == 0:
                raise Closed
            have += count

    def body(self, request):
        data = bytearray(request.left)
        self.read_into(request, memoryview(data))
        return bytes(data)

    def reply(self, status, headers, body=b"", cut=None):
        """CUT: only so many bytes of it are sent, and then the connection ends."""
        lines = [f"HTTP/1.1 {status} {PHRASES.get(status, 'Status')}",
                 f"Date: {date(int(time.time()))}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers]
        data = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace") + body
        self.sock.sendall(data if cut is None else data[:cut])
        if cut is not None:
            raise Closed

    def reset(self):
        """Ends it the hard way: the other side sees 'connection reset'."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Closed


def listen(address="127.0.0.1"):
    sock = socket.socket()
    sock.bind((address, 0))
    sock.listen(256)
    return sock


def serve(listener, context, handle, accepted):
    """Accepts for ever. HANDLE(connection) answers one request; ACCEPTED() counts connections."""
    def work(sock):
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # A timeout of Python's own would make the socket non-blocking, and MSG_WAITALL moot.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 120, 0))
            if context:
                sock = context.wrap_socket(sock, server_side=True)
            connection = Connection(sock)
            while True:
                handle(connection)
        except (Closed, OSError):
            pass
        finally:
            sock.close()

    def accept():
        while True:
            sock, _ = listener.accept()
            accepted()
            threading.Thread(target=work, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
