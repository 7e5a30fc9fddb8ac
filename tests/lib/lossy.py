#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""lossy.py PORT_FILE TARGET_PORT: a server's answers, every other one lost.

Passes TLS connections on to TARGET_PORT of the loopback. What the server gets is whole; but of the
first connection, the third, the fifth…, nothing comes back once the client has sent what is no
handshake any more: as when a line breaks after the work was done. Its own port is written to
PORT_FILE; ends when its input does.
"""
import os
import pathlib
import socket
import sys
import threading


APPLICATION_DATA = 23  # the type of a TLS record (RFC 8446, 5.1)


class Records:
    """Whether application data has been seen in a stream of TLS records."""

    def __init__(self):
        self.skip, self.head, self.seen = 0, b"", threading.Event()

    def add(self, data):
        while data and not self.seen.is_set():
            skipped = min(self.skip, len(data))
            self.skip -= skipped
            take = 5 - len(self.head)
            self.head, data = self.head + data[skipped:skipped + take], data[skipped + take:]
            if len(self.head) == 5:
                self.skip = int.from_bytes(self.head[3:], "big")
                if self.head[0] == APPLICATION_DATA:
                    self.seen.set()
                self.head = b""


def carry(source, target, asked):
    """From the server to the client; ASKED is set when its answers are to be lost."""
    try:
        while data := source.recv(1 << 16):
            if not asked.is_set():
                target.sendall(data)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve(client, port, lose):
    server = socket.create_connection(("127.0.0.1", port))
    records = Records()
    threading.Thread(target=carry, args=(server, client, records.seen), daemon=True).start()
    try:
        while data := client.recv(1 << 16):
            if lose:
                records.add(data)
            server.sendall(data)
        server.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def main():
    port_file, target = sys.argv[1:]
    listener = socket.create_server(("127.0.0.1", 0))
    partial = pathlib.Path(port_file + ".partial")
    partial.write_text(str(listener.getsockname()[1]))
    partial.rename(port_file)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    lose = True
    while True:
        client, _ = listener.accept()
        threading.Thread(target=serve, args=(client, int(target), lose), daemon=True).start()
        lose = not lose


if __name__ == "__main__":
    main()
