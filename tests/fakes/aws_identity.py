# SPDX-License-Identifier: Apache-2.0
"""Who sent a request: keys, sessions and roles, signatures (version 4) and STS."""
import datetime
import functools
import hashlib
import hmac
import re
import secrets
import threading
import time
import types

import botocore.auth
import botocore.credentials

SKEW = 15 * 60
UNSIGNED = "UNSIGNED-PAYLOAD"
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>\w{16,128})/(?P<day>\d{8})/(?P<region>[a-z0-9-]+)/"
    r"(?P<service>[a-z0-9]+)/aws4_request, ?SignedHeaders=(?P<headers>[a-z0-9;_-]+), ?"
    r"Signature=(?P<signature>[0-9a-f]{64})")


class Denied(Exception):
    """CAUSE: unsigned, unknown, signature, skew, expired or forbidden; each service has a code and
    a status of its own for it."""

    def __init__(self, cause, message):
        super().__init__(message)
        self.cause = cause


class SignedHeaders(dict):
    """What botocore's signer wants to know of headers, which here come once each."""

    def get_all(self, name):
        return [self[name]]


@functools.lru_cache(256)
def signing_key(secret, *scope):
    key = ("AWS4" + secret).encode()
    for part in (*scope, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


class Signature(botocore.auth.SigV4Auth):
    """botocore's signer over exactly the headers that the request says it signed."""

    def __init__(self, key, scope, payload_hash):
        credentials = botocore.credentials.Credentials(key.id, key.secret)
        super().__init__(credentials, scope["service"], scope["region"])
        self.names, self.payload_hash = scope["headers"].split(";"), payload_hash

    def headers_to_sign(self, request):
        return SignedHeaders((name, request.headers[name]) for name in self.names)

    def payload(self, request):
        return self.payload_hash

    def signature(self, string_to_sign, request):
        key = signing_key(self.credentials.secret_key, request.context["timestamp"][:8],
                          self._region_name, self._service_name)
        return hmac.digest(key, string_to_sign.encode(), "sha256").hex()

    def of(self, request, stamp):
        """The signature as it should be."""
        signed = types.SimpleNamespace(
            method=request.method, url=f"http://{request.headers['host']}{request.target}",
            headers=request.headers, params=None, context={"timestamp": stamp})
        return self.signature(self.string_to_sign(signed, self.canonical_request(signed)), signed)


@functools.lru_cache(256)
def seconds_of(stamp):
    """Seconds since 1970 of an X-Amz-Date."""
    return datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(
        tzinfo=datetime.timezone.utc).timestamp()


class Key:
    def __init__(self, id_, secret, account, arn, token=None, expires=None, deny=()):
        self.id, self.secret, self.account, self.arn = id_, secret, account, arn
        self.token, self.expires, self.deny = token, expires, list(deny)


class Caller:
    def __init__(self, key, region):
        self.key, self.region, self.account = key, region, key.account


class Clock:
    """Time that a test can move on. Signatures are compared with the real one, plus 'skew'."""

    def __init__(self):
        self.offset = self.skew = 0

    def now(self):
        return time.time() + self.offset

    def utc(self):
        return datetime.datetime.fromtimestamp(self.now(), datetime.timezone.utc)

    def for_signatures(self):
        return time.time() + self.skew


class Identities:
    """CONFIG: {"keys": {id: {"secret", "account", "arn", "deny"}}, "roles": {arn: {"trust": [arn],
    "external_id", "web_tokens": [token], "deny"}}}; a deny is like "ec2:RegisterImage"."""

    def __init__(self, config, clock):
        self.clock, self.roles = clock, config.get("roles", {})
        self.keys = {id_: Key(id_, **key) for id_, key in config["keys"].items()}
        self.lock = threading.Lock()

    def scope(self, request):
        """The parts of Authorization; None when there is none."""
        header = request.headers.get("authorization")
        if header is None:
            return None
        match = AUTHORIZATION.fullmatch(header)
        if not match:
            raise Denied("signature", "Authorization is not as version 4 wants it")
        return match.groupdict()

    def account(self, scope):
        key = self.keys.get(scope["key"]) if scope else None
        return key.account if key else None

    def verify(self, request, scope, body_hash, may_leave_open):
        """The caller. BODY_HASH: hexadecimal; MAY_LEAVE_OPEN: the body need not be signed."""
        stamp = self.stamp(request, scope)
        key = self.keys.get(scope["key"])
        if key is None:
            raise Denied("unknown", "The security token included in the request is invalid.")
        self.signed_names(request, scope["headers"].split(";"))
        claimed = request.headers.get("x-amz-content-sha256", body_hash)
        if claimed != body_hash and not (may_leave_open and claimed == UNSIGNED):
            raise Denied("signature", "x-amz-content-sha256 is not the body's")
        expected = Signature(key, scope, claimed).of(request, stamp)
        if not hmac.compare_digest(expected, scope["signature"]):
            raise Denied("signature", "The request signature we calculated does not match the "
                         "signature you provided. Check your AWS Secret Access Key and signing "
                         "method.")
        if request.headers.get("x-amz-security-token") != key.token:
            raise Denied("unknown", "The security token included in the request is invalid.")
        if key.expires is not None and key.expires <= self.clock.now():
            raise Denied("expired", "The security token included in the request is expired")
        return Caller(key, scope["region"])

    def stamp(self, request, scope):
        stamp = request.headers.get("x-amz-date", "")
        try:
            when = seconds_of(stamp)
        except ValueError:
            raise Denied("signature", "X-Amz-Date is missing or no time") from None
        if stamp[:8] != scope["day"]:
            raise Denied("signature", "Date in Credential scope does not match YYYYMMDD from "
                         "ISO-8601 version of date from HTTP")
        now = self.clock.for_signatures()
        if abs(when - now) > SKEW:
            raise Denied("skew", f"Signature expired: {stamp} is now more than 15 min away")
        return stamp

    @staticmethod
    def signed_names(request, names):
        wanted = {name for name in request.headers if name.startswith("x-amz-")} | {"host"}
        if names != sorted(set(names)) or not wanted <= set(names) <= set(request.headers):
            raise Denied("signature", "'Host' and every 'x-amz-' header must be a 'SignedHeader', "
                         "in their order")

    def expire(self, key):
        key.expires = 0

    # --- STS -----------------------------------------------------------------------------------

    def session(self, role_arn, name, seconds):
        """Keys of a role. PLANTED is what tests look for where no secret may be."""
        account, role = role_arn.split(":")[4], role_arn.rpartition("/")[2]
        role_id = "AROA" + hashlib.sha256(role_arn.encode()).hexdigest()[:16].upper()
        key = Key("ASIA" + "".join(secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
                                   for _ in range(16)),
                  "PLANTED/" + secrets.token_hex(16), account,
                  f"arn:aws:sts::{account}:assumed-role/{role}/{name}",
                  "IQoJb3JpPLANTED/+" + secrets.token_hex(150) + "==", self.clock.now() + seconds,
                  self.roles[role_arn].get("deny", ()))
        with self.lock:
            self.keys[key.id] = key
        expires = datetime.datetime.fromtimestamp(int(key.expires), datetime.timezone.utc)
        return {
            "Credentials": {"AccessKeyId": key.id, "SecretAccessKey": key.secret,
                            "SessionToken": key.token, "Expiration": expires},
            "AssumedRoleUser": {"AssumedRoleId": f"{role_id}:{name}", "Arn": key.arn},
        }

    def assume_role(self, caller, wanted):
        role = self.roles.get(wanted["RoleArn"])
        if not role or caller.key.arn not in role.get("trust", ()) \
                or wanted.get("ExternalId") != role.get("external_id"):
            raise Denied("forbidden", f"User: {caller.key.arn} is not authorized to perform: "
                         f"sts:AssumeRole on resource: {wanted['RoleArn']}")
        return self.session(wanted["RoleArn"], wanted["RoleSessionName"],
                            wanted.get("DurationSeconds", 3600))

    def assume_role_with_web_identity(self, wanted):
        role = self.roles.get(wanted["RoleArn"])
        if not role or wanted["WebIdentityToken"] not in role.get("web_tokens", ()):
            raise Denied("forbidden", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
        result = self.session(wanted["RoleArn"], wanted["RoleSessionName"],
                              wanted.get("DurationSeconds", 3600))
        return dict(result, SubjectFromWebIdentityToken="subject", Audience="sts.amazonaws.com",
                    Provider="issuer.example")

    @staticmethod
    def caller_identity(caller):
        return {"UserId": "AIDA" + caller.key.id[4:], "Account": caller.account,
                "Arn": caller.key.arn}
