#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Keystone and Glance of one's own that are up to something: openstack.py DIR CERTIFICATE KEY

Listens on loopback with TLS (DIR/port), without (DIR/plain), and where nobody should ever call
(DIR/other); who calls is in DIR/asked, with what came with it. What the real ones do is tested with
the real ones. What these do is in DIR/mode, words that are read at each request:

    catalog=URL    where the image service is
    found=JSON     an image that a list has, whatever is asked for; ID and DIGEST are those of kiln
    taken=OWNER    the image that is asked for is there already, and somebody's
    to=URL         redirects: of tokens with auth-redirect, of images with image-redirect
    echo           an image cannot be made, for reasons that repeat the token
    echo-password  no token is given, for reasons that repeat the password
    control        a token with a control character
    deep           JSON in JSON in JSON
    wrong-hash     the image has other bytes
    no-hash        or nothing says what it has
"""
import hashlib
import http.server
import json
import pathlib
import re
import ssl
import sys
import threading
import urllib.parse

DIR = pathlib.Path(sys.argv[1])
TOKEN = "PLANTED-issued-token"
PROJECT = "4711"
IMAGES = {}
LOCK = threading.Lock()


def mode():
    words = (DIR / "mode").read_text().split()
    return {name: value for name, _, value in (word.partition("=") for word in words)}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, value=None, **headers):
        body = value if isinstance(value, bytes) else b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_one(self):
        size = int(self.headers.get("Content-Length", 0))
        digest, text = hashlib.sha512(), b""
        for left in range(size, 0, -(1 << 20)):
            piece = self.rfile.read(min(left, 1 << 20))
            digest.update(piece)
            text = piece if size <= 1 << 20 else b""
        self.kiln = mode()
        with LOCK, open(DIR / "asked", "a", encoding="ascii") as asked:
            where = self.server.name
            token = " with-token" if self.headers.get("X-Auth-Token") else ""
            print(f"{where} {self.command} {self.path}{token}", file=asked)
        if self.server.name == "other":
            return self.answer(200, {})
        path = urllib.parse.urlsplit(self.path).path
        if path.startswith("/v2/images"):
            return self.image(path.split("/")[3:], size, digest.hexdigest(), text)
        if path == "/v3/auth/tokens":
            return self.token(text)
        other = f"https://127.0.0.1:{(DIR / 'other').read_text()}"
        return self.answer(300, {"versions": {"values": [
            {"id": "v3.14", "links": [{"rel": "self", "href": f"{other}/v3/"}]}]}})

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one

    def token(self, text):
        if "auth-redirect" in self.kiln:
            return self.answer(307, Location=self.kiln["to"])
        if "echo-password" in self.kiln:
            password = json.loads(text)["auth"]["identity"]["password"]["user"]["password"]
            return self.answer(400, {"error": {"message": f"{password!r} is not of type 'number'"}})
        if "deep" in self.kiln:
            return self.answer(201, b"[" * 5000000, X_Subject_Token=TOKEN)
        url = self.kiln.get("catalog", f"https://127.0.0.1:{(DIR / 'port').read_text()}")
        return self.answer(201, {"token": {
            "issued_at": "2026-11-25T00:00:00.0Z", "expires_at": "2026-11-25T09:00:00.0Z",
            "project": {"id": PROJECT, "name": "demo", "domain": {"name": "Default"}},
            "user": {"name": "ci", "domain": {"name": "Default"}},
            "catalog": [{"type": "image", "endpoints": [
                {"interface": "public", "region_id": "one", "url": url}]}]}},
            X_Subject_Token=TOKEN + ("\x01x" if "control" in self.kiln else ""))

    def image(self, rest, size, digest, text):
        if "image-redirect" in self.kiln:
            return self.answer(302, Location=self.kiln["to"])
        if not rest and self.command == "GET":
            wanted = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
            found = re.sub("ID", wanted["kiln_publish_id"], self.kiln.get("found", ""))
            return self.answer(200, {"images": [json.loads(found)] if found else list(IMAGES.values())})
        if not rest:
            if "echo" in self.kiln:
                return self.answer(400, {"message": f"no good: {self.headers['X-Auth-Token']}"})
            image = json.loads(text)
            IMAGES[image["id"]] = {**image, "owner": PROJECT, "status": "queued"}
            return self.answer(201, IMAGES[image["id"]])
        if "taken" in self.kiln:
            return self.answer(200, {"id": rest[0], "owner": self.kiln["taken"], "status": "active"})
        image = IMAGES.get(rest[0])
        if not image:
            return self.answer(404, {"message": "no such image"})
        if self.command == "DELETE":
            del IMAGES[rest[0]]
            return self.answer(204)
        if rest[1:] == ["file"]:
            image.update(status="active", size=size)
            if "no-hash" not in self.kiln:
                image.update(os_hash_algo="sha512",
                             os_hash_value="0" * 128 if "wrong-hash" in self.kiln else digest)
            return self.answer(204)
        if self.command == "PATCH":
            for change in json.loads(text):
                image[change["path"].strip("/")] = change["value"]
        return self.answer(200, image)


def serve(name, context=None):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.name = name
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = DIR / (name + ".new")
    port.write_text(str(server.server_address[1]))
    port.rename(DIR / name)


tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(sys.argv[2], sys.argv[3])
serve("other", tls)
serve("plain")
serve("port", tls)
threading.Event().wait()
