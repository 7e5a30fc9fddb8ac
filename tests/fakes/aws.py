#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A strict fake of AWS: EBS direct, EC2 as far as images go, and STS.

    aws.py DIR KEYS [CERTIFICATE KEY]

It listens on ports of the loopback's that are free, writes its URLs to DIR/http and, with a
certificate, DIR/https, and ends with SIGTERM. KEYS is a file, see aws_identity.Identities. Requests
must be as botocore's models have them and be signed; what AWS documents is enforced, and what it
leaves open is decided against the client. Region and service are those of the signature.

DIR/journal has a JSON line for every request: n, service, operation, account, region, parameters,
status, code, fault. No key, token or data is in it. DIR/blocks has what was put.

Under /_fake/, without signature:
    GET  state                     snapshots, images, faults, connections, requests
    POST faults [FAULT...]         see faults.KINDS
    POST clear {"seed"}            no more faults
    POST clock {"advance", "skew"} seconds: for what expires; for what signatures are compared with
    POST settings {"snapshot_polls", "image_polls", "copy_polls"}
                                   how many descriptions show it pending
    POST cancel {"snapshot"}
    POST forget                    no snapshots and images any more
    POST reassemble {"snapshot", "file"}   writes the volume, ancestors included, to a sparse file
    PUT  sink                      takes a body as PutSnapshotBlock does, without looking into it
"""
import argparse
import hashlib
import itertools
import json
import os
import re
import signal
import ssl
import sys
import threading
import time

import aws_models
import wire
from aws_ebs import BLOCK, Refused, Snapshots
from aws_ec2 import OPERATIONS, Images
from aws_identity import Clock, Denied, Identities
from faults import Faults

ROUTES = [("POST", re.compile(r"/snapshots"), "StartSnapshot"),
          ("POST", re.compile(r"/snapshots/completion/(?P<snapshotId>[^/]+)"), "CompleteSnapshot"),
          ("PUT", re.compile(r"/snapshots/(?P<snapshotId>[^/]+)/blocks/(?P<blockIndex>[^/]+)"),
           "PutSnapshotBlock")]
BODY_MAX = 1 << 20
SECRET = {"WebIdentityToken", "SerialNumber", "TokenCode", "BlockData", "UefiData"}
COMMON = {"x-amz-date", "x-amz-security-token", "x-amz-content-sha256", "x-amzn-trace-id"}

# Code and status of what is wrong with the keys or the signature.
DENIALS = {
    "ebs": {"unsigned": ("MissingAuthenticationTokenException", 403),
            "unknown": ("UnrecognizedClientException", 403),
            "signature": ("InvalidSignatureException", 403),
            "skew": ("InvalidSignatureException", 403),
            "expired": ("ExpiredTokenException", 403),
            "forbidden": ("AccessDeniedException", 403)},
    "ec2": {"unsigned": ("MissingAuthenticationToken", 403), "unknown": ("AuthFailure", 401),
            "signature": ("SignatureDoesNotMatch", 403), "skew": ("RequestExpired", 400),
            "expired": ("ExpiredToken", 400), "forbidden": ("UnauthorizedOperation", 403)},
    "sts": {"unsigned": ("MissingAuthenticationToken", 403),
            "unknown": ("InvalidClientTokenId", 403), "signature": ("SignatureDoesNotMatch", 403),
            "skew": ("SignatureDoesNotMatch", 403), "expired": ("ExpiredToken", 403),
            "forbidden": ("AccessDenied", 403)},
}
INVALID = {"unknown": "UnknownParameter", "missing": "MissingParameter",
           "value": "InvalidParameterValue"}


class Call:
    """A request on its way, and what the journal will say of it."""

    def __init__(self, request, service, scope, account):
        self.request, self.service, self.scope = request, service, scope
        self.operation, self.path, self.body = "-", {}, b""
        self.where = {"account": account, "region": scope["region"] if scope else None}
        self.caller = self.parameters = self.fault = None
        self.status, self.code, self.notes = None, None, {}


class Fake:
    def __init__(self, directory, keys):
        self.directory = directory
        self.clock = Clock()
        self.identities = Identities(keys, self.clock)
        self.snapshots = Snapshots(os.path.join(directory, "blocks"), self.clock)
        self.images = Images(self.snapshots)
        self.models = aws_models.load()
        self.ebs_headers = aws_models.header_names(self.models["ebs"]) | COMMON
        self.faults = Faults()
        self.buffers = threading.local()
        self.numbers = itertools.count(1)
        self.requests = self.connections = 0
        self.counting = threading.Lock()
        self.journal = os.open(os.path.join(directory, "journal"),
                               os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def accepted(self, count=1):
        with self.counting:
            self.connections += count

    def buffer(self):
        """The thread's own, of a block's size."""
        if not hasattr(self.buffers, "view"):
            self.buffers.view = memoryview(bytearray(BLOCK))
        return self.buffers.view

    # --- one request ---------------------------------------------------------------------------

    def handle(self, connection):
        try:
            request = connection.head()
            if request.path.startswith("/_fake/"):
                if not connection.used:
                    self.accepted(-1)
                connection.used = True
                self.control(connection, request)
                return
            connection.used = True
            self.answer(connection, request)
        except wire.Malformed as problem:
            self.note({"service": "-", "operation": "-", "status": 400, "code": str(problem)})
            connection.reply(400, [("Connection", "close")], f"{problem}\n".encode())
            raise wire.Closed from None

    def answer(self, connection, request):
        call = self.begin(request)
        try:
            self.meet_fault(connection, call)
            digest = self.read_body(connection, call)
            if call.service != "ebs":  # only the body says which operation it is
                self.meet_fault(connection, call)
            status, headers, body = self.perform(call, digest)
            self.spoil_reply(call)
        except (wire.Closed, OSError):
            self.log(call)
            raise
        call.status = status
        self.log(call)
        connection.reply(status, headers, body, call.fault.get("bytes", 20)
                         if call.fault and call.fault.kind == "cut-reply" else None)
        if call.fault and call.fault.is_kill("later"):
            time.sleep(call.fault.get("seconds", 0))
            call.fault.kill()

    def meet_fault(self, connection, call):
        """Takes the fault that is for this request, and lets those happen that need its body."""
        if call.operation == "-":
            return
        call.fault = fault = self.faults.take(call.operation, call.where)
        if fault and (fault.kind in ("drop", "stall") or fault.is_kill("body")):
            self.break_off(connection, call)

    @staticmethod
    def spoil_reply(call):
        fault = call.fault
        if fault and fault.kind == "delay":
            time.sleep(fault.get("seconds", 1))
        if fault and fault.is_kill("after"):
            fault.kill()
            raise wire.Closed
        if fault and fault.kind == "lose-reply":
            raise wire.Closed

    def begin(self, request):
        """Which service and, as far as the head says, operation."""
        service, scope = None, None
        try:
            scope = self.identities.scope(request)
            service = scope["service"] if scope else None
        except Denied:
            pass
        if request.path.startswith("/snapshots"):
            service = "ebs"
        call = Call(request, service if service in self.models else "sts", scope,
                    self.identities.account(scope))
        if call.service == "ebs":
            for method, pattern, operation in ROUTES:
                match = pattern.fullmatch(request.path)
                if match and method == request.method:
                    call.operation, call.path = operation, match.groupdict()
        return call

    def break_off(self, connection, call):
        view = self.buffer()
        left = min(call.fault.get("bytes", 0), call.request.left)
        while left > 0:
            part = view[:min(left, len(view))]
            connection.read_into(call.request, part)
            left -= len(part)
        if call.fault.kind == "kill":
            call.fault.kill()
        if call.fault.kind == "stall":
            time.sleep(call.fault.get("seconds", 3600))
        connection.reset()

    def read_body(self, connection, call):
        """The body's SHA-256; that of a block stays in the buffer."""
        request = call.request
        if call.operation == "PutSnapshotBlock" and request.length == BLOCK:
            view = self.buffer()
            connection.read_into(request, view)
            return hashlib.sha256(view).digest()
        if request.length > BODY_MAX:
            raise wire.Malformed("a body that is too long")
        call.body = connection.body(request)
        if call.service != "ebs" and (match := re.search(rb"(?:^|&)Action=(\w+)", call.body)):
            call.operation = match[1].decode()
        return hashlib.sha256(call.body).digest()

    def perform(self, call, digest):
        """Status, headers and body of the reply."""
        id_ = f"{time.time_ns() & (1 << 48) - 1:012x}"
        request_id = f"00000000-0000-4000-8000-{id_}"
        try:
            result = self.checked(call, digest)
        except Denied as problem:
            call.code, status = DENIALS[call.service][problem.cause]
            reason = "UNAUTHORIZED_ACCOUNT" if problem.cause == "forbidden" else None
            return self.error(call, status, str(problem), reason, request_id)
        except aws_models.Invalid as problem:
            call.code = INVALID[problem.kind]
            if call.service == "ebs":
                call.code = "ValidationException"
            elif call.service == "sts" and problem.kind == "value":
                call.code = "ValidationError"
            call.notes["problem"] = str(problem)
            return self.error(call, 400, str(problem), "INVALID_PARAMETER_VALUE", request_id)
        except Refused as problem:
            call.code = problem.code
            call.notes["problem"] = str(problem)
            return self.error(call, problem.status, str(problem), problem.reason, request_id)
        if call.service == "ebs":
            return self.ebs_reply(call, result, request_id)
        operation = self.models[call.service].operation_model(call.operation)
        body = aws_models.write_xml(self.models[call.service], operation, result, request_id)
        return 200, [("x-amzn-RequestId", request_id),
                     ("Content-Type", "text/xml;charset=UTF-8")], body

    def checked(self, call, digest):
        """Whatever is wrong with a request is found before a fault that is ordered has its turn."""
        self.authenticate(call, digest)
        parameters = self.parse(call)
        call.parameters = {name: "…" if name in SECRET else value
                           for name, value in parameters.items()}
        if call.caller and f"{call.service}:{call.operation}" in call.caller.key.deny:
            raise Denied("forbidden", "You are not authorized to perform this operation. User: "
                         f"{call.caller.key.arn} is not authorized to perform: "
                         f"{call.service}:{call.operation}")
        fault, before = call.fault, sys.maxsize
        if fault and fault.kind == "expire" and call.caller:
            self.identities.expire(call.caller.key)
            raise Denied("expired", "The security token included in the request is expired")
        if fault and fault.kind == "error":
            raise Refused(fault.get("code"), fault.get("message", "as the test ordered"),
                          fault.get("status", 400), fault.get("reason"))
        if fault and fault.kind == "cancel":
            self.snapshots.cancel(parameters.get("SnapshotId"))
        if fault and fault.kind == "stale":
            before = fault.moment
        if fault and fault.is_kill("before"):
            fault.kill()
            raise wire.Closed
        return self.act(call, parameters, digest, before)

    def authenticate(self, call, digest):
        if call.scope is None:
            self.identities.scope(call.request)  # says so when it is there and malformed
            if call.operation == "AssumeRoleWithWebIdentity":
                return
            raise Denied("unsigned", "Missing Authentication Token")
        wanted = "ebs" if call.request.path != "/" else ("ec2", "sts")
        if call.scope["service"] not in wanted:
            raise Denied("signature", f"Credential should be scoped to correct service: {wanted}")
        call.caller = self.identities.verify(call.request, call.scope, digest.hex(),
                                             call.operation == "PutSnapshotBlock")

    def parse(self, call):
        request = call.request
        if request.query:
            raise aws_models.Invalid("unknown", "query", "nothing is wanted there")
        if call.service == "ebs":
            return self.parse_ebs(call)
        kind = request.headers.get("content-type", "")
        if request.method != "POST" or not re.fullmatch(
                r"application/x-www-form-urlencoded(; ?charset=utf-8)?", kind, re.I):
            raise aws_models.Invalid("value", "request", "no POST of a form")
        operation, parameters = aws_models.parse_query(self.models[call.service],
                                                       aws_models.form(call.body))
        call.operation = operation.name
        return parameters

    def parse_ebs(self, call):
        if call.operation == "-":
            raise Refused("UnknownOperationException",
                          f"{call.request.method} {call.request.path}", 404)
        headers = call.request.headers
        for name in headers:
            if name.startswith("x-amz-") and name not in self.ebs_headers:
                raise aws_models.Invalid("unknown", name, "is no header of this service")
        operation = self.models["ebs"].operation_model(call.operation)
        kind = headers.get("content-type")
        allowed = {"StartSnapshot": ("application/json", "application/x-amz-json-1.1"),
                   "PutSnapshotBlock": (None, "application/octet-stream"),
                   "CompleteSnapshot": (None, "application/json")}[call.operation]
        if kind not in allowed:
            raise aws_models.Invalid("value", "Content-Type", f"{kind} is none of {allowed}")
        if call.operation == "PutSnapshotBlock" and call.request.length != BLOCK:
            raise aws_models.Invalid("value", "BlockData", f"has {call.request.length} bytes")
        if call.operation == "CompleteSnapshot" and call.body not in (b"", b"{}"):
            raise aws_models.Invalid("unknown", "body", "nothing is wanted there")
        return aws_models.parse_rest(operation, call.path, headers, call.body)

    def act(self, call, parameters, digest, before):
        if call.operation == "StartSnapshot":
            return self.snapshots.start(call.caller, parameters)
        if call.operation == "PutSnapshotBlock":
            return self.snapshots.put(call.caller, parameters, self.buffer(), digest)
        if call.operation == "CompleteSnapshot":
            return self.snapshots.complete(call.caller, parameters)
        if call.operation == "GetCallerIdentity":
            return self.identities.caller_identity(call.caller)
        if call.operation == "AssumeRole":
            return self.identities.assume_role(call.caller, parameters)
        if call.operation == "AssumeRoleWithWebIdentity":
            return self.identities.assume_role_with_web_identity(parameters)
        if call.operation not in OPERATIONS:
            raise Refused("FakeLacks", f"{call.operation} is not in this fake")
        if parameters.get("DryRun") and call.operation != "RegisterImage":
            raise self.images.permitted()
        with self.images.lock:
            return getattr(self.images, call.operation)(call.caller, parameters, before) or {}

    # --- replies -------------------------------------------------------------------------------

    def ebs_reply(self, call, result, request_id):
        operation = self.models["ebs"].operation_model(call.operation)
        headers, body = [("x-amzn-RequestId", request_id)], {}
        for member, value in result.items():
            place = operation.output_shape.members[member].serialization
            if place.get("location") == "header":
                headers.append((place["name"], str(value)))
            else:
                body[member] = value
        if call.operation != "PutSnapshotBlock":
            headers.append(("Content-Type", "application/json"))
        return operation.http["responseCode"], headers, json.dumps(body).encode() if body else b""

    @staticmethod
    def error(call, status, message, reason, request_id):
        fault = call.fault
        headers = [("x-amzn-RequestId", request_id)]
        if fault and fault.kind == "error":
            headers += [tuple(header) for header in fault.get("headers", [])]
        if call.service == "ebs":
            # What follows the colon is for a client to cut off.
            headers += [("x-amzn-ErrorType", f"{call.code}:http://internal.amazon.com/coral/"
                         "com.amazonaws.ebs/"), ("Content-Type", "application/json")]
            body = {"Message": message[:256], **({"Reason": reason} if reason else {})}
            return status, headers, json.dumps(body).encode()
        headers.append(("Content-Type", "text/xml;charset=UTF-8"))
        return status, headers, aws_models.write_xml_error(call.service, call.code, message,
                                                           request_id)

    def note(self, line):
        with self.counting:
            self.requests += 1
        line = {"n": next(self.numbers), **line}
        os.write(self.journal, (json.dumps(line, default=str) + "\n").encode())

    def log(self, call):
        self.note({"service": call.service, "operation": call.operation, **call.where,
                   "key": call.scope["key"] if call.scope else None,
                   "bytes": call.request.length, "parameters": call.parameters,
                   "status": call.status, "code": call.code,
                   "fault": call.fault.kind if call.fault else None, **call.notes})

    # --- for tests -----------------------------------------------------------------------------

    def control(self, connection, request):
        what = request.path[len("/_fake/"):]
        if what == "sink":
            result = self.sink(connection, request)
        else:
            body = connection.body(request)
            try:
                result = self.command(what, json.loads(body) if body else {})
            except (ValueError, KeyError, OSError) as problem:
                connection.reply(400, [], f"{type(problem).__name__}: {problem}\n".encode())
                return
        connection.reply(200, [("Content-Type", "application/json")],
                         json.dumps(result, default=str).encode() + b"\n")

    def command(self, what, order):
        if what == "state":
            with self.snapshots.lock:
                return {"snapshots": self.snapshots.show(), "images": self.images.show(),
                        "faults": self.faults.hits(), "connections": self.connections,
                        "requests": self.requests}
        if what == "faults":
            self.faults.order(order, next(self.snapshots.moment))
        elif what == "clear":
            self.faults.clear(order.get("seed", 1))
        elif what == "clock":
            self.clock.offset += order.get("advance", 0)
            self.clock.skew = order.get("skew", self.clock.skew)
        elif what == "settings":
            self.snapshots.polls = order.get("snapshot_polls", self.snapshots.polls)
            self.images.polls = order.get("image_polls", self.images.polls)
            self.images.copy_polls = order.get("copy_polls", self.images.copy_polls)
        elif what == "cancel":
            self.snapshots.cancel(order["snapshot"])
        elif what == "forget":
            self.images.forget()
            self.snapshots.forget()
        elif what == "reassemble":
            self.snapshots.reassemble(order["snapshot"], order["file"])
        else:
            raise KeyError(what)
        return {}

    def sink(self, connection, request):
        """The yardstick of throughput: receives, hashes and stores as a put does."""
        view, offset, size = self.buffer(), 0, request.length
        digest = hashlib.sha256()
        file = os.open(os.path.join(self.directory, "sink"), os.O_RDWR | os.O_CREAT | os.O_TRUNC
                       | os.O_CLOEXEC)
        try:
            while offset < size:
                part = view[:min(size - offset, len(view))]
                connection.read_into(request, part)
                digest.update(part)
                os.pwrite(file, part, offset)
                offset += len(part)
        finally:
            os.close(file)
        return {"sha256": digest.hexdigest(), "bytes": size}


def say(path, text):
    """Whole or not at all: a test waits for it."""
    with open(path + ".new", "w", encoding="ascii") as file:
        file.write(text)
    os.rename(path + ".new", path)


def main():
    parser = argparse.ArgumentParser(description="a strict fake of AWS")
    parser.add_argument("directory")
    parser.add_argument("keys")
    parser.add_argument("certificate", nargs="?")
    parser.add_argument("key", nargs="?")
    options = parser.parse_args()
    # A thread that comes back from the network or the disk waits this long for the interpreter.
    sys.setswitchinterval(0.0002)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    os.makedirs(options.directory, exist_ok=True)
    with open(options.keys, encoding="utf-8") as file:
        fake = Fake(options.directory, json.load(file))
    if options.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certificate, options.key)
        listener = wire.listen()
        wire.serve(listener, context, fake.handle, fake.accepted)
        say(os.path.join(options.directory, "https"),
            f"https://localhost:{listener.getsockname()[1]}")
    listener = wire.listen()
    wire.serve(listener, None, fake.handle, fake.accepted)
    say(os.path.join(options.directory, "http"), f"http://127.0.0.1:{listener.getsockname()[1]}")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    os._exit(0)


if __name__ == "__main__":
    main()
