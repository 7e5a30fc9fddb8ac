#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Debian's own Keystone and Glance on the loopback, over TLS, with a private configuration.

    openstack.py start DIR                        makes all of it in DIR and starts both
    openstack.py restart DIR NAME [SECTION.KEY=VALUE]...   also after kill; NAME: keystone or glance
    openstack.py kill DIR NAME                    as a crash would: SIGKILL
    openstack.py stop DIR                         ends both
    openstack.py get DIR PATH                     what Glance answers to the administrator, as JSON
    openstack.py delete DIR PATH
    openstack.py download DIR IMAGE FILE
    openstack.py tamper DIR IMAGE                 has Glance say other bytes, and not published
    openstack.py revoke DIR                       makes every token of the user worthless
    openstack.py token DIR                        prints one of the user's

Both keep their state in DIR, so a restarted one goes on from there. There are two regions, "one" and
"two" (whose endpoint ends in /v2), the user "publisher" of the projects "demo" and "other", and an
application credential of his for "demo". DIR/facts.json says what and
where; what is secret has PLANTED in it, so that a test can look for it everywhere.
"""
import json
import os
import pathlib
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request

PLANTED = "PLANTED"
PASSWORD = f"{PLANTED}-password-0815"
ADMIN = "admin-of-the-test"
QUOTA = "1536MB"  # of all images of a project together
WAIT_S = 60

PASTE = """
[pipeline:glance-api-keystone]
pipeline = versionnegotiation authtoken context rootapp
[composite:rootapp]
paste.composite_factory = glance.api:root_app_factory
/: apiversions
/v2: apiv2app
[app:apiversions]
paste.app_factory = glance.api.versions:create_resource
[app:apiv2app]
paste.app_factory = glance.api.v2.router:API.factory
[filter:versionnegotiation]
paste.filter_factory = glance.api.middleware.version_negotiation:VersionNegotiationFilter.factory
[filter:context]
paste.filter_factory = glance.api.middleware.context:ContextMiddleware.factory
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
delay_auth_decision = true
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(argv, **more):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **more)
    if done.returncode != 0:
        sys.exit(f"{argv[0]} failed:\n{done.stdout.decode(errors='replace')}")


class Server:
    """One of the two, under uwsgi as Debian runs them, but with threads instead of processes: so
    that it is one process, which ends whole when it is killed."""

    def __init__(self, directory, name, script, environment):
        self.directory, self.name, self.script = directory, name, script
        self.environment = environment
        self.pid_file = directory / f"{name}.pid"

    def start(self, port):
        log = open(self.directory / f"{self.name}.uwsgi.log", "ab")
        process = subprocess.Popen(
            ["uwsgi", "--plugins", "python3", "--need-app", "--die-on-term", "--buffer-size", "65535",
             "--enable-threads", "--threads", "4", "--socket-timeout", "60",
             "--https-socket", f"127.0.0.1:{port},{self.directory}/server.crt,{self.directory}/server.key",
             "--wsgi-file", self.script],
            env=dict(os.environ, **self.environment), stdin=subprocess.DEVNULL, stdout=log,
            stderr=log, cwd=self.directory)
        self.pid_file.write_text(str(process.pid))
        return process

    def kill(self):
        """Returns when it is gone. It was started by another run of this program, so no wait()."""
        if not self.pid_file.exists():
            return
        pid = int(self.pid_file.read_text())
        self.pid_file.unlink()
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
                # The first thread is dead before the others let go of the port.
                if state == "Z" and len(os.listdir(f"/proc/{pid}/task")) == 1:
                    return
            except OSError:
                return
            time.sleep(0.01)
        sys.exit(f"{self.name} ({pid}) does not end")


class Cloud:
    def __init__(self, directory):
        self.directory = pathlib.Path(directory).absolute()
        self.facts = {}
        self.keystone = Server(self.directory, "keystone", "/usr/bin/keystone-wsgi-public",
                               {"OS_KEYSTONE_CONFIG_FILES": str(self.directory / "keystone.conf")})
        self.glance = Server(self.directory, "glance", str(self.directory / "glance.wsgi"),
                             {"OS_GLANCE_CONFIG_DIR": str(self.directory)})
        if (self.directory / "facts.json").exists():
            self.facts = json.loads((self.directory / "facts.json").read_text())

    def server(self, name):
        return {"keystone": self.keystone, "glance": self.glance}[name]

    # --- configuration ---

    def configuration(self, name):
        directory, facts = self.directory, self.facts
        if name == "keystone":
            return {
                "DEFAULT": {"log_file": directory / "keystone.log", "use_stderr": "false"},
                "database": {"connection": f"sqlite:///{directory}/keystone.db"},
                "fernet_tokens": {"key_repository": directory / "fernet"},
                "credential": {"key_repository": directory / "credential"},
                # One process: what it remembers, it also forgets when a token is revoked.
                "cache": {"enabled": "true", "backend": "oslo_cache.dict"},
                "identity": {"password_hash_rounds": "4"}}
        return {
            "DEFAULT": {"log_file": directory / "glance.log", "use_stderr": "false",
                        "user_storage_quota": QUOTA,
                        "node_staging_uri": f"file://{directory}/staging"},
            "database": {"connection": f"sqlite:///{directory}/glance.db"},
            "glance_store": {"stores": "file", "default_store": "file",
                             "filesystem_store_datadir": directory / "images"},
            "paste_deploy": {"flavor": "keystone"},
            # Else a token that was revoked would be good for five minutes.
            "keystone_authtoken": {
                "auth_url": facts["auth_url"], "www_authenticate_uri": facts["auth_url"],
                "cafile": facts["ca"], "auth_type": "password", "username": "admin",
                "password": ADMIN, "user_domain_id": "default", "project_name": "admin",
                "project_domain_id": "default", "token_cache_time": "-1"}}

    def configure(self, name, changes=()):
        sections = self.configuration(name)
        for change in changes:
            key, _, value = change.partition("=")
            section, _, option = key.partition(".")
            sections.setdefault(section, {})[option] = value
        file = self.directory / {"keystone": "keystone.conf", "glance": "glance-api.conf"}[name]
        file.write_text("".join(
            f"[{section}]\n" + "".join(f"{key} = {value}\n" for key, value in options.items())
            for section, options in sections.items()))
        return str(file)

    def certificates(self):
        here = self.directory
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        run(["openssl", "req", "-x509", *key, "-subj", "/CN=kiln test CA", "-out", here / "ca.crt",
             "-keyout", here / "ca.key", "-addext", "basicConstraints=critical,CA:TRUE"])
        run(["openssl", "req", "-x509", *key, "-subj", "/CN=127.0.0.1", "-out", here / "server.crt",
             "-keyout", here / "server.key", "-CA", here / "ca.crt", "-CAkey", here / "ca.key",
             "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
             "-addext", "basicConstraints=critical,CA:FALSE"])

    # --- requests ---

    def call(self, url, method="GET", body=None, token=None, file=None):
        """The reply's headers, and its body as JSON or, into FILE, as it is."""
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["X-Auth-Token"] = token
        data = None if body is None else json.dumps(body).encode()
        context = ssl.create_default_context(cafile=self.facts["ca"])
        request = urllib.request.Request(url, data, headers, method=method)
        with urllib.request.urlopen(request, context=context, timeout=WAIT_S) as reply:
            if file is not None:
                while piece := reply.read(1 << 20):
                    file.write(piece)
                return reply.headers, None
            text = reply.read()
            return reply.headers, json.loads(text) if text else None

    def token(self, user, password, project):
        domain = {"id": "default"}
        headers, body = self.call(f"{self.facts['auth_url']}/auth/tokens", "POST", {"auth": {
            "identity": {"methods": ["password"], "password": {
                "user": {"name": user, "domain": domain, "password": password}}},
            "scope": {"project": {"name": project, "domain": domain}}}})
        return headers["X-Subject-Token"], body["token"]

    def admin(self, method, path, body=None):
        """A call to Keystone's or, when PATH begins with /v2, to Glance's administration."""
        token, _ = self.token("admin", ADMIN, "admin")
        base = self.facts["glance" if path.startswith("/v2") else "auth_url"]
        return self.call(base + path, method, body, token)[1]

    def wait(self, server, process, url):
        end = time.monotonic() + WAIT_S
        while True:
            try:
                self.call(url)
                return
            except urllib.error.HTTPError:  # Glance's root says "300 Multiple Choices"
                return
            except OSError as problem:
                if process.poll() is not None or time.monotonic() > end:
                    log = self.directory / f"{server.name}.uwsgi.log"
                    sys.exit(f"{server.name} does not start ({problem}):\n{log.read_text()[-4000:]}")
                time.sleep(0.05)

    # --- what can be asked of this program ---

    def start(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        for name in ("fernet", "credential", "images", "staging"):
            (self.directory / name).mkdir(mode=0o700)
        ports = {"keystone": free_port(), "glance": free_port()}
        self.facts = {"ca": str(self.directory / "ca.crt"), "ports": ports,
                      "auth_url": f"https://127.0.0.1:{ports['keystone']}/v3",
                      "glance": f"https://127.0.0.1:{ports['glance']}",
                      "planted": PLANTED, "user": "publisher", "password": PASSWORD}
        (self.directory / "glance-api-paste.ini").write_text(PASTE)
        (self.directory / "glance.wsgi").write_text(
            "from glance.common.wsgi_app import init_app\napplication = init_app()\n")
        keystone, glance = self.configure("keystone"), self.configure("glance")
        owner = ["--keystone-user", "root", "--keystone-group", "root"] if os.geteuid() == 0 else []
        manage = ["keystone-manage", "--config-file", keystone]
        self.certificates()
        aside = [subprocess.Popen([*manage, "fernet_setup", *owner], stderr=subprocess.DEVNULL),
                 subprocess.Popen(["/usr/bin/python3", "-c", "from glance.cmd.manage import main; main()",
                                   "--config-file", glance, "db", "sync"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)]
        run([*manage, "db_sync"])
        run([*manage, "bootstrap", "--bootstrap-password", ADMIN, "--bootstrap-region-id", "one",
             "--bootstrap-public-url", self.facts["auth_url"],
             "--bootstrap-internal-url", self.facts["auth_url"]])
        for process in aside:
            if process.wait() != 0:
                sys.exit(f"failed: {process.args}")
        # One thread's open reading would lock the others out for good else.
        for name in ("keystone", "glance"):
            with sqlite3.connect(self.directory / f"{name}.db") as database:
                database.execute("PRAGMA journal_mode=WAL")
        self.restart("keystone")
        self.populate()
        self.restart("glance")

    def populate(self):
        make = self.admin_calls()
        service = make("/services", "service", {"type": "image", "name": "glance"})
        make("/regions", "region", {"id": "two"})
        for region, url in ("one", self.facts["glance"]), ("two", self.facts["glance"] + "/v2"):
            make("/endpoints", "endpoint", {"service_id": service, "interface": "public",
                                            "region_id": region, "url": url})
        user = make("/users", "user", {"name": "publisher", "domain_id": "default",
                                       "password": PASSWORD})
        roles = {role["name"]: role["id"] for role in make.get("/roles")["roles"]}
        for name in ("demo", "other"):
            project = make("/projects", "project", {"name": name, "domain_id": "default"})
            make.put(f"/projects/{project}/users/{user}/roles/{roles['member']}")
            self.facts[name] = project
        self.facts["user_id"] = user
        token, _ = self.token("publisher", PASSWORD, "demo")
        _, body = self.call(
            f"{self.facts['auth_url']}/users/{user}/application_credentials", "POST",
            {"application_credential": {"name": "ci", "secret": f"{PLANTED}-secret-4711"}}, token)
        credential = body["application_credential"]
        self.facts["credential"] = {"id": credential["id"], "name": "ci",
                                    "secret": credential["secret"]}
        (self.directory / "facts.json").write_text(json.dumps(self.facts, indent=1))

    def admin_calls(self):
        token, _ = self.token("admin", ADMIN, "admin")

        def make(path, noun, value):
            made = self.call(self.facts["auth_url"] + path, "POST", {noun: value}, token)[1][noun]
            return made["id"] if isinstance(made, dict) else None

        make.get = lambda path: self.call(self.facts["auth_url"] + path, "GET", None, token)[1]
        make.put = lambda path: self.call(self.facts["auth_url"] + path, "PUT", None, token)
        return make

    def restart(self, name, changes=()):
        server = self.server(name)
        server.kill()
        self.configure(name, changes)
        process = server.start(self.facts["ports"][name])
        self.wait(server, process, self.facts["auth_url" if name == "keystone" else "glance"])

    def stop(self):
        for server in (self.keystone, self.glance):
            server.kill()

    def revoke(self):
        """Tokens of a user who was disabled are not good any more, even when he is enabled again."""
        for enabled in (False, True):
            self.admin("PATCH", f"/users/{self.facts['user_id']}", {"user": {"enabled": enabled}})
        time.sleep(1.1)  # those of the same second are revoked, too

    def tamper(self, image):
        with sqlite3.connect(self.directory / "glance.db") as database:
            database.execute("UPDATE images SET os_hash_value = ? WHERE id = ?", ("0" * 128, image))
            database.execute("DELETE FROM image_properties WHERE image_id = ? AND name = ?",
                             (image, "kiln_published"))


def main():
    command, directory, *more = sys.argv[1:]
    cloud = Cloud(directory)
    if command == "restart":
        cloud.restart(more[0], more[1:])
    elif command == "kill":
        cloud.server(more[0]).kill()
    elif command == "get":
        print(json.dumps(cloud.admin("GET", more[0]), indent=1))
    elif command == "delete":
        cloud.admin("DELETE", more[0])
    elif command == "download":
        token, _ = cloud.token("admin", ADMIN, "admin")
        with open(more[1], "wb") as file:
            cloud.call(f"{cloud.facts['glance']}/v2/images/{more[0]}/file", token=token, file=file)
    elif command == "tamper":
        cloud.tamper(more[0])
    elif command == "token":
        print(cloud.token("publisher", PASSWORD, "demo")[0])
    else:
        {"start": cloud.start, "stop": cloud.stop, "revoke": cloud.revoke}[command]()


if __name__ == "__main__":
    main()
