#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What http_send does when servers, proxies and networks go wrong: http_cases.py PROGRAM fast|slow

PROGRAM is made of lib/http.c. Servers (fakes/faulty.py) are on loopback, in this process; the cases
run beside each other, as most of their time is waiting.
"""
import concurrent.futures
import hashlib
import os
import pathlib
import queue
import random
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "fakes"))
from faulty import Faulty, Proxy  # noqa: E402

PROGRAM = sys.argv[1]
SECRET = "geheim4711"
# Of the user's environment nothing may choose a proxy or a CA here.
CLEAN = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy") and
         name not in ("CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")}
CASES = []


def case(function):
    CASES.append(function)
    return function


def slow(function):
    function.slow = True
    return case(function)


def body_sha(size):
    """Of the body that PROGRAM sends."""
    once = bytes(i * 7 % 251 for i in range(251))
    return hashlib.sha256((once * (size // 251 + 1))[:size]).hexdigest()


class Result:
    def __init__(self, text, code):
        self.text, self.code = text, code
        self.lines = [line.partition(" ")[::2] for line in text.splitlines()]

    def all(self, what):
        return [text for name, text in self.lines if name == what]

    def one(self, what):
        found = self.all(what)
        assert len(found) == 1, f"{len(found)} lines '{what}' in:\n{self.text}"
        return found[0]

    def number(self, what):
        return int(self.one(what))


def send(*arguments, env=None):
    done = subprocess.run([PROGRAM, *map(str, arguments)], env={**CLEAN, **(env or {})}, text=True,
                          capture_output=True, timeout=100, check=False)
    assert done.returncode in (0, 1), f"status {done.returncode}\n{done.stdout}{done.stderr}"
    return Result(done.stdout, done.returncode)


def check(result, **wanted):
    """check(result, status="200", retried=2, sent=1000): what is left out does not matter."""
    for name, value in wanted.items():
        found = (len(result.all("retrying")) if name == "retried" else
                 result.all(name) if isinstance(value, list) else
                 result.number(name) if isinstance(value, int) else result.one(name))
        assert found == value, f"{name} is {found}, not {value}:\n{result.text}"


def check_error(result, *texts, kind=5):
    error = result.one("error")
    assert error.startswith(f"{kind} "), result.text
    for text in texts:
        assert text in error + "\n" + "".join(result.all("hint")), f"no '{text}':\n{result.text}"


def at_once(function, values):
    """Most of the time is waiting."""
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(function, values))


# --- what arrives ---

@case
def a_body_arrives_whole(server):
    for kind in "memory", "stream":
        for size in 1, 524288, 524289, 3000000:
            path = f"/ok?{kind}{size}"
            result = send(kind, size, "PUT", server.url(path))
            check(result, status="200", body=body_sha(size), retried=0, sent=size, rewound=0)
            request, = server.asked(path)
            assert request.headers["content-length"] == str(size), request.headers
            assert "expect" not in request.headers and "transfer-encoding" not in request.headers
            assert request.headers["user-agent"].startswith("kiln/"), request.headers


@case
def a_refusal_is_heard_before_the_body_where_that_is_asked_for(server):
    for attempt in range(5):
        path = f"/early/413/0?{attempt}"
        result = send("ask-first", 1, "stream", 50000000, "tries", 1, "PUT", server.url(path))
        check(result, status="413", retried=0)
        assert server.asked(path)[0].headers["expect"] == "100-continue"
    result = send("ask-first", 1, "stream", 3000000, "PUT", server.url("/ok?asked"))
    check(result, status="200", body=body_sha(3000000), retried=0)


@case
def what_has_no_body_says_so(server):
    for method in "PUT", "POST", "GET", "DELETE":
        send(method, server.url(f"/ok?{method}"))
        request, = server.asked(f"/ok?{method}")
        length = "0" if method in ("PUT", "POST") else None
        assert request.headers.get("content-length") == length and request.method == method
    result = send("times", 2, "HEAD", server.url("/ok?head"))
    check(result, status=["200", "200"], body=["", ""], retried=0)
    assert len({request.connection for request in server.asked("/ok?head")}) == 1
    send("memory", 5, "DELETE", server.url("/ok?with"))
    assert server.asked("/ok?with")[0].headers["content-length"] == "5"


@case
def headers_arrive_as_given(server):
    send("header", "X-One: a b", "header", "X-Empty:", "changing", "X-Two: c", "token", SECRET, "GET",
         server.url("/ok?headers"))
    headers = server.asked("/ok?headers")[0].headers
    assert headers["x-one"] == "a b" and headers["x-empty"] == "" and headers["x-two"] == "c"
    assert headers["authorization"] == "Bearer " + SECRET


@case
def a_path_is_sent_as_it_was_signed(server):
    path = "/ok/a/../b//c%2Fd/./e?z=1&a=%20"
    send("GET", server.url(path))
    assert server.asked(path)


@case
def connections_are_used_again(server):
    result = send("times", 5, "memory", 1000, "PUT", server.url("/ok?again"), server.url("/ok?too"))
    check(result, sent=10000, retried=0, inherited=0)
    requests = server.asked("/ok?again") + server.asked("/ok?too")
    assert len(requests) == 10 and len({request.connection for request in requests}) == 1


@case
def many_threads_send_at_once(server):
    result = send("threads", 16, "times", 8, "quiet", 1, "stream", 100000, "PUT", server.url("/ok?many"))
    check(result, sent=16 * 8 * 100000, retried=0, error=[])
    requests = server.asked("/ok?many")
    assert len(requests) == 128 and len({request.connection for request in requests}) <= 16
    assert {request.body.hexdigest() for request in requests} == {body_sha(100000)}


@case
def interim_replies_and_trailers_are_not_the_reply(server):
    result = send("GET", server.url("/interim"))
    check(result, status="200", retried=0)
    assert "X-Interim" not in result.text, result.text
    result = send("GET", server.url("/chunked"))
    check(result, status="200", body="chunks")
    assert "X-Trailer: " not in result.text, result.text


# --- what is tried again ---

@case
def what_may_pass_is_tried_again(server):
    def once(status):
        result = send("stream", 70000, "PUT", server.url(f"/status/{status}/1"))
        check(result, status="200", body=body_sha(70000), retried=1, rewound=1, sent=70000,
              throttled=int(status == 429))
        line = result.one("retrying")
        assert re.fullmatch(rf"PUT http://127.0.0.1:\d+/status/{status}/1: {status}, trying again in 0\.[0-5] s",
                            line), line

    at_once(once, (408, 429, 500, 502, 503, 504))


@case
def what_will_not_pass_is_not(server):
    for status in 400, 403, 404, 409, 413, 501:
        check(send("PUT", server.url(f"/status/{status}/1")), status=str(status), retried=0)


@case
def tries_are_counted(server):
    check(send("tries", 2, "PUT", server.url("/status/503/9?tries")), status="503", retried=1)
    assert len(server.asked("/status/503/9?tries")) == 2


@case
def it_gives_up_when_the_time_is_over(server):
    check(send("give-up", 1, "memory", 9, "PUT", server.url("/status/503/999?")), status="503", sent=0)


@case
def a_server_says_when(server):
    result = send("PUT", server.url("/status/429/1?retry-after=1"))
    check(result, status="200", retried=1)
    assert "429, trying again in 1.0 s" in result.one("retrying"), result.text


@case
def a_server_says_when_but_not_beyond_the_end(server):
    result = send("give-up", 2, "PUT", server.url("/status/503/9?retry-after=9999"))
    check(result, status="503", retried=1)
    assert float(result.one("retrying").split()[-2]) <= 2, result.text


@case
def broken_connections_are_tried_again(server):
    def once(path):
        for kind in "memory", "stream":
            result = send(kind, 800000, "PUT", server.url(f"{path}?{kind}"))
            check(result, status="200", body=body_sha(800000), retried=1, sent=800000, error=[])

    at_once(once, ("/drop/0/1", "/drop/100000/1", "/lost/1", "/cut/1", "/torn/1", "/garbage/1"))


@case
def broken_connections_are_explained(server):
    check_error(send("tries", 1, "GET", server.url("/cut/9")), "remaining to read")
    check_error(send("tries", 1, "GET", server.url("/torn/9")), "ends amid its headers")
    check_error(send("tries", 1, "GET", server.url("/garbage/9")), "HTTP/0.9")
    check_error(send("tries", 2, "GET", "http://127.0.0.1:1/"), "gave up after 2 attempts",
                "127.0.0.1 port 1", "Connection refused")


@case
def a_kept_connection_that_closes_is_no_failure(server):
    for kind in "memory", "stream":
        result = send("times", 4, kind, 300000, "PUT", server.url(f"/closing?{kind}"))
        check(result, sent=1200000, status=["200"] * 4, body=[body_sha(300000)] * 4)


@case
def nor_is_one_that_closes_with_a_request_on_its_way(server):
    """libcurl begins again by itself, but for some cases in which it cannot send any more."""
    for kind, size in ("memory", 300000), ("stream", 300000), ("memory", 20000000), ("stream", 20000000):
        path = f"/once?{kind}{size}"
        result = send("times", 2, kind, size, "PUT", server.url(path))
        check(result, sent=2 * size, status=["200"] * 2, body=[body_sha(size)] * 2)
        assert size > 1000000 or not result.all("retrying"), result.text
        assert len(server.asked(path)) == 3


@case
def an_early_answer_is_not_lost(server):
    """Not even while the next piece is read, which takes long. In libcurl is a moment left in which it
    is, so not every time."""
    for kind in "memory", "stream":
        found = []
        for _ in range(5):
            result = send("tries", 1, "slow", 20, kind, 2000000, "PUT", server.url(f"/early/413/300000?{kind}"))
            found += result.all("status") + result.all("body")
        assert found.count("413") >= 3 and found.count("that is too much") >= 3, found


@case
def success_before_the_end_is_none(server):
    result = send("tries", 1, "stream", 20000000, "PUT", server.url("/early/200/300000"))
    check_error(result)
    check(result, status=[], sent=0)


@case
def credentials_are_renewed_once(server):
    result = send("token", SECRET, "memory", 10, "PUT", server.url(f"/denied/{SECRET}n"))
    check(result, status="200", renewed=1, retried=0, sent=10)
    result = send("token", SECRET, "PUT", server.url("/denied/never"))
    check(result, status="401", body="denied", renewed=1)
    assert len(server.asked("/denied/never")) == 2
    check(send("PUT", server.url("/denied/x")), status="401", renewed=0)
    # What renewing fails with is the error.
    check_error(send("token", "x" * 63, "PUT", server.url("/denied/y")), "no new token")


@case
def a_body_that_fails_is_the_error(server):
    result = send("stream", 2000000, "cut", 1000000, "PUT", server.url("/ok?cut"))
    check_error(result, "the stream broke", kind=4)
    check(result, retried=0, sent=0, status=[])


# --- what is refused ---

@case
def replies_have_a_limit(server):
    check(send("reply-max", 100000, "GET", server.url("/huge/100000")), status="200", body="long")
    result = send("reply-max", 100000, "GET", server.url("/huge/100001"))
    check_error(result, "larger than 97.7 KiB")
    check(result, retried=0, status=[])
    check_error(send("GET", server.url("/huge/17000000")), "larger than 16 MiB")
    result = send("GET", server.url("/headers"))
    check_error(result, "more than 256 KiB of headers")
    check(result, retried=0)


@case
def a_redirect_is_not_followed(server):
    elsewhere = Faulty()
    result = send("token", SECRET, "GET", server.url("/redirect?" + elsewhere.url("/ok")))
    check(result, status="302")
    assert not elsewhere.connections
    elsewhere.close()


@case
def nothing_can_be_smuggled_in():
    server = Faulty()
    for arguments in (["header", "A: b\r\nX-Evil: 1", "GET", server.url("/ok")],
                      ["changing", "A: b\nX-Evil: 1", "GET", server.url("/ok")],
                      ["header", "A\r\nX-Evil: 1", "GET", server.url("/ok")],
                      ["GET", server.url("/ok HTTP/1.1\r\nX-Evil: 1\r\n\r\n")],
                      ["GET", server.url("/ok\nx")],
                      ["GET", server.url("/ok#x")],
                      ["GET", f"http://name:{SECRET}@127.0.0.1:{server.port}/ok"],
                      ["GET", "file:///etc/passwd"],
                      ["GET", "gopher://127.0.0.1/x"]):
        result = send(*arguments)
        check_error(result, kind=1)
        check(result, status=[], retried=0)
        assert SECRET not in result.text, result.text
    assert not server.connections
    server.close()


@case
def a_secret_url_is_not_shown(server):
    for path in "/status/503/1", "/lost/1", "/cut/9", "/huge/1000", "/headers":
        result = send("secret", 1, "tries", 2, "reply-max", 100, "GET", server.url(f"{path}?sig={SECRET}"))
        assert SECRET not in result.text, result.text
        assert server.url(path) in "".join(result.all("retrying") + result.all("error")), result.text


# --- certificates ---

class Authority:
    """Certificates made with openssl, by a CA of the test's own."""

    def __init__(self, directory):
        self.directory = directory
        for name in "ca", "other":
            self.openssl("req", "-x509", *self.key(name), "-out", f"{name}.pem", "-days", "2", "-subj",
                         f"/CN=test {name}")

    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self.directory, check=True, capture_output=True)

    @staticmethod
    def key(name):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key"]

    def path(self, name):
        return str(self.directory / name)

    def server(self, name, names="IP:127.0.0.1", days=2):
        self.openssl("req", *self.key(name), "-out", f"{name}.csr", "-subj", f"/CN={name}", "-addext",
                     f"subjectAltName={names}")
        self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", str(days),
                     "-set_serial", str(1 + sum(name.encode())), "-copy_extensions", "copy", "-out", f"{name}.pem")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path(f"{name}.pem"), self.path(f"{name}.key"))
        return Faulty(context)


@case
def only_good_certificates_are_trusted(authority):
    ca = authority.path("ca.pem")
    good = authority.server("good")
    wrong_host = authority.server("host", "DNS:elsewhere.example")
    expired = authority.server("expired", days=-1)
    for server, arguments, texts in (
            (good, [], ["certificate", "CURL_CA_BUNDLE"]),
            (good, ["ca", authority.path("other.pem")], ["certificate", "only what a CA in"]),
            (wrong_host, ["ca", ca], ["the certificate is for another name"]),
            (expired, ["ca", ca], ["expired", "this machine's clock says 2"])):
        result = send(*arguments, "token", SECRET, "PUT", server.url("/ok"))
        check_error(result, f"PUT {server.url('/ok')}: ", *texts)
        check(result, retried=0)
        assert not server.requests
    check(send("ca", ca, "stream", 3000000, "PUT", good.url("/ok")), status="200", body=body_sha(3000000))
    for server in good, wrong_host, expired:
        server.close()


@case
def the_environment_names_the_certificates(authority):
    server = authority.server("named")
    ca, other, hashed, empty = map(authority.path, ("ca.pem", "other.pem", "hashed", "empty"))
    os.mkdir(hashed)
    os.mkdir(empty)
    pathlib.Path(hashed, "ca.pem").write_bytes(pathlib.Path(ca).read_bytes())
    authority.openssl("rehash", hashed)
    for env in ({"CURL_CA_BUNDLE": ca}, {"SSL_CERT_FILE": ca}, {"SSL_CERT_DIR": hashed},
                {"CURL_CA_BUNDLE": ca, "SSL_CERT_FILE": other}, {"SSL_CERT_FILE": other, "SSL_CERT_DIR": hashed}):
        check(send("GET", server.url("/ok"), env=env), status="200")
    check(send("ca", ca, "GET", server.url("/ok"), env={"CURL_CA_BUNDLE": other}), status="200")
    for arguments, env, name in (([], {"CURL_CA_BUNDLE": other, "SSL_CERT_FILE": ca}, "CURL_CA_BUNDLE"),
                                 ([], {"SSL_CERT_FILE": other}, "SSL_CERT_FILE"),
                                 ([], {"SSL_CERT_DIR": empty}, "SSL_CERT_DIR"),
                                 (["ca", other], {"CURL_CA_BUNDLE": ca}, "other.pem")):
        check_error(send(*arguments, "GET", server.url("/ok"), env=env), "certificate", name)
    check_error(send("GET", server.url("/ok"), env={"SSL_CERT_FILE": "/nowhere"}), "/nowhere", "SSL_CERT_FILE",
                kind=1)
    server.close()


# --- proxies ---

@case
def proxies_come_from_the_environment(server):
    proxy = Proxy(server.port)
    where = f"http://name:{SECRET}@127.0.0.1:{proxy.port}"
    result = send("stream", 1000000, "PUT", "http://cloud.example/ok?plain", env={"http_proxy": where})
    check(result, status="200", body=body_sha(1000000))
    first, headers = proxy.requests.pop()
    assert first == "PUT http://cloud.example/ok?plain HTTP/1.1" and "proxy-authorization" in headers, first
    check(send("GET", "http://cloud.example/ok", env={"all_proxy": where}), status="200")
    proxy.requests.pop()
    # Not HTTP_PROXY, which whoever asks a CGI program can set; not where no_proxy says; not when direct.
    for arguments, env in (([], {"HTTP_PROXY": where}),
                           ([], {"http_proxy": where, "no_proxy": "127.0.0.0/8,b"}),
                           (["direct", 1], {"http_proxy": where, "all_proxy": where}),
                           ([], {"https_proxy": where})):
        check(send(*arguments, "GET", server.url("/ok?past"), env=env), status="200")
    assert not proxy.requests, proxy.requests
    proxy.close()


@case
def certificates_are_checked_through_a_proxy(authority):
    server = authority.server("behind", "DNS:cloud.example")
    proxy = Proxy(server.port)
    env = {"https_proxy": f"http://name:{SECRET}@127.0.0.1:{proxy.port}", "CURL_CA_BUNDLE": authority.path("ca.pem")}
    result = send("memory", 1000000, "PUT", "https://cloud.example/ok", env=env)
    check(result, status="200", body=body_sha(1000000))
    first, headers = proxy.requests.pop()
    assert first == "CONNECT cloud.example:443 HTTP/1.1" and "proxy-authorization" in headers, first
    assert "proxy-authorization" not in server.asked("/ok")[0].headers
    assert "X-Proxy" not in result.text, result.text
    check_error(send("GET", "https://other.example/ok", env=env), "another name")
    proxy.close()
    server.close()


@case
def a_proxy_that_refuses_is_named():
    for status, retried in (407, 0), (403, 0), (503, 1):
        proxy = Proxy(None, status)
        result = send("tries", 2, "GET", "https://cloud.example/ok",
                      env={"https_proxy": f"http://name:{SECRET}@127.0.0.1:{proxy.port}"})
        check_error(result, "GET https://cloud.example/ok: ", str(status), "(https_proxy)", "no_proxy")
        check(result, retried=retried)
        assert SECRET not in result.text, result.text
        proxy.close()
    result = send("tries", 1, "GET", "http://cloud.example/", env={"http_proxy": f"http://name:{SECRET}@127.0.0.1:1"})
    check_error(result, "port 1", "Connection refused", "(http_proxy)")
    assert SECRET not in result.text, result.text


@case
def a_proxy_whose_url_is_wrong_is_not_quoted():
    for where in f"http://name:{SECRET}@host:port", f"ftp://name:{SECRET}@host", f"http://a b:{SECRET}@host":
        for scheme in "http", "https":
            result = send("GET", f"{scheme}://cloud.example/", env={f"{scheme}_proxy": where})
            check_error(result, "the proxy's URL is not one", f"({scheme}_proxy)")
            check(result, retried=0)
            assert SECRET not in result.text, result.text


# --- interrupted ---

class Running:
    """A sender that is interrupted."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([PROGRAM, *map(str, arguments)], env=CLEAN, text=True,
                                        stdout=subprocess.PIPE)
        self.said, self.text = queue.Queue(), ""
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            self.said.put(line)
        self.said.put(None)

    def wait_for(self, text):
        while text not in self.text:
            line = self.said.get(timeout=60)
            assert line is not None, self.text
            self.text += line

    def interrupt(self):
        """Fails when it does not end: the server would let it wait for a minute."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()
        while (line := self.said.get(timeout=20)) is not None:
            self.text += line
        return Result(self.text, self.process.returncode)


def wait_until(condition):
    while not condition():
        time.sleep(0.01)


@case
def an_interrupt_ends_a_pause(server):
    running = Running("PUT", server.url("/status/503/9?retry-after=100"))
    running.wait_for("again in 100.0 s")
    check(running.interrupt(), error="130 interrupted", retried=1)


@case
def an_interrupt_ends_every_transfer(server):
    running = Running("threads", 8, "memory", 20000000, "PUT", server.url("/stall/1000/99?interrupt"))
    wait_until(lambda: len(server.asked("/stall/1000/99?interrupt")) == 8)
    check(running.interrupt(), error=["130 interrupted"] * 8, retried=0, sent=0)


@case
def an_interrupt_ends_the_wait_for_an_answer(server):
    running = Running("PUT", server.url("/silent/9?interrupt"))
    wait_until(lambda: server.asked("/silent/9?interrupt"))
    check(running.interrupt(), error="130 interrupted", retried=0)


@case
def an_interrupt_ends_the_wait_for_the_rate(server):
    running = Running("memory", 1000000, "rate", 1000, "PUT", server.url("/ok?slowly"))
    wait_until(lambda: server.asked("/ok?slowly"))
    check(running.interrupt(), error="130 interrupted", retried=0, sent=0)


# --- what takes longer ---

@slow
def a_connection_that_stalls_is_given_up(server):
    for path in "/silent/1", "/stall/100000/1":
        for kind in "memory", "stream":
            # That it takes longer than the time that nothing may succeed does not matter once.
            result = send("stalled", 1, "give-up", 1, kind, 8000000, "PUT", server.url(f"{path}?{kind}"))
            check(result, status="200", body=body_sha(8000000), retried=1, sent=8000000)
            assert "stalled: no byte for" in result.one("retrying"), result.text


@slow
def a_reply_that_only_trickles_is_given_up(server):
    result = send("stalled", 1, "memory", 100, "PUT", server.url("/trickle/1"))
    check(result, status="200", body=body_sha(100), retried=1)
    assert "stalled: hardly a byte for" in result.one("retrying"), result.text


@slow
def a_wait_of_ours_is_no_stall(server):
    result = send("stalled", 1, "rate", 20000, "memory", 60000, "PUT", server.url("/ok?rate"))
    check(result, status="200", retried=0)
    result = send("stalled", 1, "slow", 1500, "stream", 200000, "PUT", server.url("/ok?slow"))
    check(result, status="200", body=body_sha(200000), retried=0)


@slow
def a_server_has_longer_for_a_larger_body(server):
    result = send("stalled", 1, "memory", 100000000, "PUT", server.url("/late/3000"))
    check(result, status="200", retried=0)


@slow
def an_attempt_has_a_time(server):
    result = send("timeout", 1, "tries", 2, "GET", server.url("/late/9000"))
    check_error(result, "gave up after 2 attempts", "not finished within 1 s")
    check(send("timeout", 9, "GET", server.url("/late/500")), status="200", retried=0)


@slow
def many_threads_share_a_rate(server):
    begun = time.monotonic()
    result = send("rate", 1000000, "threads", 8, "memory", 250000, "quiet", 1, "PUT", server.url("/ok?shared"))
    check(result, sent=2000000, error=[])
    assert time.monotonic() - begun >= 1.7, "2 MB, of which a quarter may go at once, at 1 MB/s"


@slow
def memory_is_flat(server):
    small = send("stream", 1000000, "PUT", server.url("/ok?small"))
    large = send("stream", 300000000, "PUT", server.url("/ok?large"))
    check(large, status="200", body=body_sha(300000000), sent=300000000)
    assert large.number("memory") < small.number("memory") + 8192, small.text + large.text


@slow
def a_connection_may_break_anywhere(server):
    seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
    chance = random.Random(seed)
    for i in range(25):
        size = chance.randrange(1, 3000000)
        kind = chance.choice(["memory", "stream"])
        path = f"/drop/{chance.randrange(size + 1)}/{chance.randrange(1, 3)}?{i}"
        result = send(kind, size, "PUT", server.url(path))
        assert result.one("body") == body_sha(size) and result.number("sent") == size, \
            f"SEED={seed} {kind} {size} {path}:\n{result.text}"


@slow
def many_threads_meet_many_failures(server):
    paths = ["/status/503/20?many", "/status/429/20?many", "/drop/50000/20?many", "/lost/20?many", "/cut/20?many",
             "/closing?many"]
    result = send("threads", 16, "times", 5, "stream", 100000, "quiet", 1, "PUT", *map(server.url, paths))
    check(result, error=[], throttled=20, sent=16 * 5 * len(paths) * 100000)
    for path in paths:
        whole = [request for request in server.asked(path) if request.body.hexdigest() == body_sha(100000)]
        assert len(whole) >= 80, path


@slow
def a_name_that_does_not_exist_is_said():
    check_error(send("tries", 1, "GET", "https://nowhere.invalid/"), "resolve host: nowhere.invalid", "DNS")


# --- running them ---

def run(function, server, authority):
    wants = function.__code__.co_varnames[:function.__code__.co_argcount]
    function(*[{"server": server, "authority": authority}[name] for name in wants])


def main():
    wanted = [function for function in CASES if hasattr(function, "slow") == (sys.argv[2] == "slow")]
    failed = []
    with tempfile.TemporaryDirectory() as directory, concurrent.futures.ThreadPoolExecutor(8) as pool:
        server, authority = Faulty(), Authority(pathlib.Path(directory))
        running = {pool.submit(run, function, server, authority): function for function in wanted}
        for done in concurrent.futures.as_completed(running):
            name = running[done].__name__
            if error := done.exception():
                failed.append(name)
                traceback.print_exception(error)
            print(f"{'FAILED' if error else 'ok'} {name}", flush=True)
        server.close()
    print(f"{len(wanted) - len(failed)} ok", *(["FAILED:"] + failed if failed else []))
    return 1 if failed or not wanted else 0


if __name__ == "__main__":
    sys.exit(main())
