# SPDX-License-Identifier: Apache-2.0
"""A server that goes wrong as its URLs ask, and a proxy. What was asked for is kept.

The path of a request is WHAT/ARGUMENT/…; a K in it means: the first K requests for this path, the
others are answered with 200 and the SHA-256 of the body.

    /ok                    200, the SHA-256 of the body
    /status/S/K            status S; with ?retry-after=TEXT that header, a - for a blank
    /drop/N/K              the connection is reset after N bytes of body
    /lost/K                all of it is read, and the connection closed
    /cut/K /torn/K         a reply shorter than it says; one that ends amid its headers
    /garbage/K             no HTTP
    /silent/K              all of it is read, and nothing said
    /stall/N/K             nothing is read after N bytes of body
    /trickle/K             a reply of a byte each tenth of a second, without end
    /late/MS               all of it is read, the answer comes MS later
    /early/S/N             status S after N bytes of body, and the connection is reset
    /closing               200, and the connection is closed without a word
    /once                  200; the second request on a connection is read for a part, and it is reset
    /interim               100 and 103 with headers before the reply
    /chunked               a reply in chunks with a trailer
    /denied/END            401, unless the token ends so
    /huge/BYTES /headers   a reply of so many bytes; headers without end
    /redirect?URL          302
"""
import hashlib
import socket
import struct
import threading


class Request:
    def __init__(self, method, target, headers, body, connection):
        self.method, self.target, self.headers = method, target, headers
        self.body, self.connection = body, connection


class Stream:
    """A connection, read line by line and in pieces."""

    def __init__(self, sock):
        self.sock, self.rest = sock, b""

    def line(self):
        while b"\n" not in self.rest:
            more = self.sock.recv(65536)
            if not more:
                raise ConnectionError("closed")
            self.rest += more
        line, _, self.rest = self.rest.partition(b"\n")
        return line.rstrip(b"\r").decode("latin-1")

    def piece(self, most):
        if self.rest:
            piece, self.rest = self.rest[:most], self.rest[most:]
            return piece
        return self.sock.recv(min(most, 1 << 20))

    def head(self):
        """The first line and the headers, their names in lower case."""
        first, headers = self.line(), {}
        while line := self.line():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return first, headers


class Listener:
    """Accepts in a thread of its own, and handles every connection in another."""

    def __init__(self, context=None, host="127.0.0.1"):
        self.context, self.host = context, host
        self.lock = threading.Lock()
        self.open, self.connections = set(), 0
        self.over = threading.Event()
        self.socket = socket.create_server((host, 0), backlog=64)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        with self.lock:
            self.connections += 1
            number = self.connections
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.context:
                sock = self.context.wrap_socket(sock, server_side=True)
            with self.lock:
                self.open.add(sock)
            self.handle(Stream(sock), number)
        except OSError:
            pass
        finally:
            with self.lock:
                self.open.discard(sock)
            sock.close()

    def close(self):
        self.over.set()
        # A thread in accept would keep the port.
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        with self.lock:
            left = list(self.open)
        for sock in left:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Faulty(Listener):
    def __init__(self, context=None, host="127.0.0.1"):
        self.requests, self.counts = [], {}
        super().__init__(context, host)

    def url(self, path):
        return f"{'https' if self.context else 'http'}://{self.host}:{self.port}{path}"

    def asked(self, path):
        with self.lock:
            return [request for request in self.requests if request.target == path]

    def handle(self, stream, number):
        while self.handle_one(stream, number):
            pass

    def handle_one(self, stream, number):
        first, headers = stream.head()
        method, target, _ = first.split(" ")
        request = Request(method, target, headers, hashlib.sha256(), number)
        left = int(headers.get("content-length", 0))
        with self.lock:
            self.requests.append(request)
            count = self.counts[target] = self.counts.get(target, 0) + 1
        path, _, query = target.partition("?")
        what, *arguments = path.strip("/").split("/")
        action = getattr(self, "do_" + what)
        if what in ("status", "drop", "lost", "cut", "torn", "garbage", "silent", "stall", "trickle"):
            if count > int(arguments.pop()):
                action = self.do_ok
        return action(stream, request, left, arguments, query)

    def read_body(self, stream, request, left):
        while left:
            piece = stream.piece(left)
            if not piece:
                raise ConnectionError("body cut")
            left -= len(piece)
            request.body.update(piece)

    @staticmethod
    def reply(stream, request, status, body=b"", *headers):
        head = f"HTTP/1.1 {status} Because\r\nContent-Length: {len(body)}\r\n"
        head += "".join(f"{line}\r\n" for line in headers) + "\r\n"
        stream.sock.sendall(head.encode() + (b"" if request.method == "HEAD" else body))
        return True

    def do_ok(self, stream, request, left, *_):
        self.read_body(stream, request, left)
        return self.reply(stream, request, 200, request.body.hexdigest().encode())

    def do_status(self, stream, request, left, arguments, query):
        self.read_body(stream, request, left)
        after = query.partition("=")[2].replace("-", " ")
        return self.reply(stream, request, int(arguments[0]), b"no", *([f"Retry-After: {after}"] if after else []))

    def do_drop(self, stream, request, left, arguments, query):
        self.read_body(stream, request, min(left, int(arguments[0])))
        reset(stream.sock)

    def do_lost(self, stream, request, left, arguments, query):
        self.read_body(stream, request, left)

    def do_cut(self, stream, request, left, arguments, query):
        self.read_body(stream, request, left)
        stream.sock.sendall(b"HTTP/1.1 200 Fine\r\nContent-Length: 100\r\n\r\nonly this")

    def do_torn(self, stream, request, left, arguments, query):
        self.read_body(stream, request, left)
        stream.sock.sendall(b"HTTP/1.1 200 Fine\r\nX-Half: ")

    def do_garbage(self, stream, request, left, arguments, query):
        self.read_body(stream, request, left)
        stream.sock.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")

    def do_silent(self, stream, request, left, arguments, query):
        self.read_body(stream, request, left)
        self.over.wait(60)

    def do_stall(self, stream, request, left, arguments, query):
        self.read_body(stream, request, min(left, int(arguments[0])))
        self.over.wait(60)

    def do_trickle(self, stream, request, left, arguments, query):
        self.read_body(stream, request, left)
        stream.sock.sendall(b"HTTP/1.1 200 Fine\r\nContent-Length: 1000000\r\n\r\n")
        while not self.over.wait(0.1):
            stream.sock.sendall(b"x")

    def do_late(self, stream, request, left, arguments, query):
        self.read_body(stream, request, left)
        self.over.wait(int(arguments[0]) / 1000)
        return self.reply(stream, request, 200)

    def do_early(self, stream, request, left, arguments, query):
        self.read_body(stream, request, min(left, int(arguments[1])))
        self.reply(stream, request, int(arguments[0]), b"that is too much", "Connection: close")
        reset(stream.sock)

    def do_closing(self, stream, request, left, *_):
        self.do_ok(stream, request, left)

    def do_once(self, stream, request, left, *_):
        if len([other for other in self.requests if other.connection == request.connection]) == 1:
            return self.do_ok(stream, request, left)
        self.read_body(stream, request, min(left, 500000))
        self.over.wait(0.1)  # the other side can send no more, or has sent it all
        reset(stream.sock)

    def do_chunked(self, stream, *_):
        stream.sock.sendall(b"HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\nTrailer: X-Trailer\r\n\r\n"
                            b"6\r\nchunks\r\n0\r\nX-Trailer: 1\r\n\r\n")
        return True

    def do_interim(self, stream, request, left, *_):
        stream.sock.sendall(b"HTTP/1.1 100 Continue\r\nX-Interim: 1\r\n\r\n"
                            b"HTTP/1.1 103 Early Hints\r\nX-Interim: 2\r\n\r\n")
        return self.do_ok(stream, request, left)

    def do_denied(self, stream, request, left, arguments, query):
        self.read_body(stream, request, left)
        good = request.headers.get("authorization", "").endswith(arguments[0])
        return self.reply(stream, request, 200 if good else 401, b"fine" if good else b"denied")

    def do_huge(self, stream, request, left, arguments, query):
        size = int(arguments[0])
        stream.sock.sendall(b"HTTP/1.1 200 Fine\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size >> 16):
            stream.sock.sendall(bytes(1 << 16))
        stream.sock.sendall(bytes(size & 0xffff))
        return True

    def do_headers(self, stream, request, left, arguments, query):
        stream.sock.sendall(b"HTTP/1.1 200 Fine\r\n")
        while not self.over.is_set():
            stream.sock.sendall(b"X-More: %s\r\n" % (b"x" * 1000))

    def do_redirect(self, stream, request, left, arguments, query):
        self.read_body(stream, request, left)
        return self.reply(stream, request, 302, b"", f"Location: {query}")


class Proxy(Listener):
    """Forwards what it is asked for, CONNECT as well; everything to one place, so that names need
    not be known here. With STATUS it refuses so."""

    def __init__(self, port, status=None):
        self.requests, self.target, self.status = [], port, status
        super().__init__()

    def handle(self, stream, number):
        first, headers = stream.head()
        with self.lock:
            self.requests.append((first, headers))
        if self.status:
            stream.sock.sendall(f"HTTP/1.1 {self.status} Because\r\nContent-Length: 0\r\n\r\n".encode())
            return
        with socket.create_connection(("127.0.0.1", self.target)) as behind:
            if first.startswith("CONNECT "):
                stream.sock.sendall(b"HTTP/1.1 200 Go\r\nX-Proxy: 1\r\n\r\n")
            else:
                method, url, version = first.split(" ")
                path = "/" + url.split("/", 3)[3]
                lines = [f"{method} {path} {version}"] + [f"{n}: {v}" for n, v in headers.items()]
                behind.sendall("\r\n".join(lines + ["", ""]).encode())
            behind.sendall(stream.rest)
            back = threading.Thread(target=pump, args=(behind, stream.sock))
            back.start()
            pump(stream.sock, behind)
            back.join()


def pump(source, sink):
    try:
        while piece := source.recv(1 << 16):
            sink.sendall(piece)
    except OSError:
        pass
    finally:
        try:
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass
