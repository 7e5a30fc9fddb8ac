#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A fake of what an instance's metadata service (IMDSv2 only) and a container's agent say of keys.

    aws_metadata.py DIR

It listens on a free port of the loopback's, writes its URL to DIR/metadata, and ends with SIGTERM.
What it says is in files of DIR, read for every request:

    role            the instance's role; without it there is none
    keys            the JSON with keys, of /container too; "@N@" in it is how often it was asked for
    authorization   what /container wants in Authorization
    status          of any reply instead of 200
    stall           seconds before any reply

DIR/requests has a line for each request: method, path, and status.
"""
import http.server
import os
import secrets
import signal
import sys
import threading
import time
import urllib.parse

CREDENTIALS = "/latest/meta-data/iam/security-credentials/"
DIR = sys.argv[1]
TOKENS = set()
LOCK = threading.Lock()


def said(name):
    try:
        with open(os.path.join(DIR, name), encoding="utf-8") as file:
            return file.read().rstrip("\n")
    except FileNotFoundError:
        return None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served = 0

    def log_message(self, *_):
        pass

    def answer(self, status, text=""):
        data = text.encode()
        with LOCK, open(os.path.join(DIR, "requests"), "a", encoding="utf-8") as file:
            file.write(f"{self.command} {self.path} {status}\n")
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def keys(self):
        with LOCK:
            Handler.served += 1
            text = (said("keys") or "").replace("@N@", str(Handler.served))
        self.answer(200, text)

    def ordered(self):
        """True when a file has said what to answer."""
        time.sleep(float(said("stall") or 0))
        status = said("status")
        if status:
            self.answer(int(status))
        return bool(status)

    def do_PUT(self):
        if self.ordered():
            return
        ttl = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "0")
        if self.path != "/latest/api/token" or not 1 <= int(ttl) <= 21600 \
                or self.headers.get("Content-Length") != "0" or "X-Forwarded-For" in self.headers:
            self.answer(400)
            return
        TOKENS.add(token := secrets.token_urlsafe(30))
        self.answer(200, token)

    def do_GET(self):
        if self.ordered():
            return
        if self.path.startswith("/container"):
            right = self.headers.get("Authorization") == said("authorization")
            self.keys() if right else self.answer(401)
            return
        role = said("role")
        if self.headers.get("X-aws-ec2-metadata-token") not in TOKENS:
            self.answer(401)
        elif self.path == CREDENTIALS and role:
            self.answer(200, role)
        elif role and urllib.parse.unquote(self.path) == CREDENTIALS + role:
            self.keys()
        else:
            self.answer(404)


def main():
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    path = os.path.join(DIR, "metadata")
    with open(path + ".new", "w", encoding="ascii") as file:
        file.write(f"http://127.0.0.1:{server.server_port}")
    os.rename(path + ".new", path)
    server.serve_forever()


main()
