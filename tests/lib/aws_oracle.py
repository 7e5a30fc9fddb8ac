#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Compares kiln's client for AWS with botocore, Amazon's own: aws_oracle.py PROGRAM COUNT SEED

PROGRAM is out/awsclient. COUNT random requests are signed by both, COUNT random configuration files
and command lines read by both; the host names of all regions are compared once. The first
difference is shown, and ends it with status 1.
"""
import datetime
import hashlib
import json
import os
import random
import re
import shlex
import subprocess
import sys
import tempfile

import botocore.auth
import botocore.awsrequest
import botocore.configloader
import botocore.credentials
import botocore.endpoint_provider
import botocore.exceptions
import botocore.loaders

PLAIN = "abcXYZ019-._~"
ODD = "!$&'()*+,;=:@"


def ask(program, what, cases):
    """The program's answers to JSON values, one a line."""
    text = "".join(json.dumps(case) + "\n" for case in cases)
    result = subprocess.run([program, what], input=text, stdout=subprocess.PIPE, check=True,
                            encoding="utf-8")
    return [json.loads(line) for line in result.stdout.splitlines()]


def compare(what, cases, ours, theirs):
    if len(ours) != len(theirs):
        sys.exit(f"{what}: {len(ours)} answers to {len(theirs)} questions")
    for case, own, other in zip(cases, ours, theirs):
        if own != other:
            sys.exit(f"{what}: {json.dumps(case)}\n  kiln:     {json.dumps(own)}\n"
                     f"  botocore: {json.dumps(other)}")
    print(f"{what}: {len(cases)} alike")


# --- signatures ----------------------------------------------------------------------------------

def text(chance, alphabet, most):
    return "".join(chance.choice(alphabet) for _ in range(chance.randint(0, most)))


def escapes(chance, most):
    """Characters of a URL, some percent-encoded."""
    parts = [chance.choice(list(PLAIN + ODD) + ["%20", "%2F", "%25", "%C3%A9", "%e6%97%a5", "%2B"])
             for _ in range(chance.randint(0, most))]
    return "".join(parts)


def random_url(chance):
    host = chance.choice(["ebs.eu-west-1.amazonaws.com", "EC2.us-east-1.AMAZONAWS.com", "localhost",
                          "127.0.0.1", "[fd00:ec2::254]"])
    port = chance.choice(["", "", ":80", ":443", ":8080", ":4566"])
    segments = [chance.choice(["", ".", "..", "snapshots", escapes(chance, 8), escapes(chance, 8)])
                for _ in range(chance.randint(0, 6))]
    path = "/" + "/".join(segments) if segments or chance.random() < .5 else ""
    pairs = []
    for _ in range(chance.choice([0, 0, 1, 2, 3, 6])):
        name = chance.choice(["", "a", "a", "A", "a-b", "Action", escapes(chance, 4)])
        name = name.replace("=", "%3D").replace("&", "%26")
        value = escapes(chance, 6).replace("&", "%26")
        pairs.append(name if chance.random() < .2 else f"{name}={value}")
    query = "?" + "&".join(pairs) if pairs else chance.choice(["", "", "?"])
    return chance.choice(["http", "https"]) + "://" + host + port + path + query


def random_headers(chance):
    names = ["Content-Type", "x-amz-Checksum", "X-Amz-Data-Length", "x-amz-progress", "Accept",
             "x-amz", "X-AMZ-", "a", "Zeta", "content-type"]
    headers = []
    for _ in range(chance.randint(0, 6)):
        value = "".join(chance.choice(["a", "B", "/", "=", ",", ":", " ", "  ", "\t", " \t ", "é"])
                        for _ in range(chance.randint(0, 10)))
        headers.append(f"{chance.choice(names)}:{chance.choice(['', ' ', '  '])}{value}")
    return headers


def random_request(chance):
    return {
        "method": chance.choice(["GET", "PUT", "POST", "DELETE", "HEAD"]),
        "url": random_url(chance), "headers": random_headers(chance),
        "sha256": hashlib.sha256(text(chance, PLAIN, 20).encode()).hexdigest(),
        "service": chance.choice(["ebs", "ec2", "sts"]),
        "region": chance.choice(["eu-west-1", "us-gov-west-1", "cn-north-1"]),
        "time": chance.randint(0, 4102444799),
        "access": "AKIA" + text(chance, "ABCDEFGHIJKLMNOP", 16),
        "secret": text(chance, PLAIN + "+/=", 60),
        "token": text(chance, PLAIN + "+/=", 600) or None,
    }


def signed(case):
    """The lines that botocore adds, and Host, which it leaves to its HTTP client."""
    stamp = datetime.datetime.utcfromtimestamp(case["time"]).strftime("%Y%m%dT%H%M%SZ")
    request = botocore.awsrequest.AWSRequest(case["method"], case["url"])
    host = botocore.auth._host_from_url(case["url"])
    lines = [f"Host: {host}", f"X-Amz-Date: {stamp}", f"X-Amz-Content-SHA256: {case['sha256']}"]
    if case["token"]:
        lines.append(f"X-Amz-Security-Token: {case['token']}")
    for line in lines[1:] + case["headers"]:
        name, _, value = line.partition(":")
        request.headers[name] = value.strip(" \t")
    request.context["timestamp"] = stamp
    signer = botocore.auth.SigV4Auth(
        botocore.credentials.Credentials(case["access"], case["secret"], case["token"]),
        case["service"], case["region"])
    signature = signer.signature(
        signer.string_to_sign(request, signer.canonical_request(request)), request)
    signer._inject_signature_to_request(request, signature)
    return lines + [f"Authorization: {request.headers['Authorization']}"]


def signatures(program, count, chance):
    cases = [random_request(chance) for _ in range(count)]
    compare("signatures", cases, ask(program, "sign", cases), [signed(case) for case in cases])


# --- host names ----------------------------------------------------------------------------------

def hosts(program):
    loader = botocore.loaders.Loader()
    partitions = loader.load_data("partitions")
    regions = sorted(region for partition in partitions["partitions"]
                     for region in partition["regions"] if not region.endswith("-global"))
    cases, theirs = [], []
    for service in ("ebs", "ec2", "sts"):
        rules = loader.load_service_model(service, "endpoint-rule-set-1")
        provider = botocore.endpoint_provider.EndpointProvider(rules, partitions)
        extra = {"UseGlobalEndpoint": False} if service == "sts" else {}
        for region in regions:
            for fips in (False, True):
                for dualstack in (False, True):
                    try:
                        found = provider.resolve_endpoint(Region=region, UseFIPS=fips,
                                                          UseDualStack=dualstack, **extra)
                    except botocore.exceptions.EndpointResolutionError:
                        continue  # an old one does not know them all
                    cases.append([service, region, fips, dualstack])
                    theirs.append(found.url)
    for partition in loader.load_data("endpoints")["partitions"]:
        for service in ("ebs", "ec2", "sts"):
            known = partition["services"].get(service, {}).get("endpoints", {})
            for region in partition["regions"]:
                if region in known:
                    host = known[region].get("hostname", "{service}.{region}.{dnsSuffix}")
                    cases.append([service, region, False, False])
                    theirs.append("https://" + host.format(service=service, region=region,
                                                           dnsSuffix=partition["dnsSuffix"]))
    compare("host names", cases, ask(program, "endpoint", cases), theirs)


# --- files ---------------------------------------------------------------------------------------

def random_file(chance):
    """What both read alike: no comment behind a value, no section or key twice."""
    lines = []
    for number in range(chance.randint(0, 5)):
        name = chance.choice([f"profile p{number}", f"p{number}", f"services s{number}",
                              f"sso-session x{number}"])
        lines.append(f"[{name}]" + chance.choice(["", " ", "  # comment", " ;"]))
        indent = chance.choice(["", "", "  ", "\t"])
        for key in chance.sample(["region", "Role_Arn", "aws_access_key_id", "credential_process",
                                  "output", "x"], chance.randint(0, 4)):
            equals = chance.choice(["=", " = ", "  =\t"])
            value = re.sub(r" +[#;]+", "", text(chance, "ab/=:+[]#; \"'", 12)).strip(" #;")
            if chance.random() < .2:
                lines.append(f"{indent}{key}{equals}{chance.choice(['', ' '])}")
                for below in chance.sample(["endpoint_url", "Other", "third"], chance.randint(0, 3)):
                    lines.append(f"{indent}{chance.choice([' ', '    '])}{below} = v{value}v")
            else:
                lines.append(f"{indent}{key}{equals}{value}")
                for _ in range(chance.choice([0, 0, 0, 1, 2]) if value else 0):
                    lines.append(f"{indent}   more{text(chance, 'a=b', 3)}")
            lines += chance.choice([[], [], [""], ["# comment = here"], ["   ; [and] here"]])
    return chance.choice(["\n", "\r\n"]).join(lines) + chance.choice(["", "\n"])


def flat(parsed):
    """Sections as kiln keeps them: nested keys beside the one that they are below."""
    result = {}
    for name, section in parsed.items():
        result[name] = {}
        for key, value in section.items():
            if isinstance(value, dict):
                result[name][key] = ""
                result[name].update({f"{key}.{below.lower()}": text for below, text in value.items()})
            else:
                # Empty lines within a value are kept by one of the two.
                result[name][key] = "\n".join(part for part in value.split("\n") if part)
    return result


def files(program, count, chance):
    cases = [random_file(chance) for _ in range(count)]
    theirs = []
    with tempfile.TemporaryDirectory() as directory:
        paths = [os.path.join(directory, str(number)) for number in range(count)]
        for path, case in zip(paths, cases):
            with open(path, "w", encoding="utf-8", newline="") as file:
                file.write(case)
            try:
                theirs.append(flat(botocore.configloader.raw_config_parse(path)))
            except botocore.exceptions.ConfigParseError as problem:
                theirs.append(str(problem))
        result = subprocess.run([program, "ini", *paths], stdout=subprocess.PIPE, check=True,
                                encoding="utf-8")
    compare("files", cases, [json.loads(line) for line in result.stdout.splitlines()], theirs)


# --- command lines -------------------------------------------------------------------------------

def split(case):
    try:
        return shlex.split(case)
    except ValueError:
        return None


def command_lines(program, count, chance):
    cases = [text(chance, "ab-=/ \t\n\"'\\#$é", 20) for _ in range(count)]
    compare("command lines", cases, ask(program, "words", cases), [split(case) for case in cases])


def main():
    program, count, seed = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    print(f"SEED={seed}")
    chance = random.Random(seed)
    signatures(program, count, chance)
    command_lines(program, count, chance)
    files(program, count // 5, chance)
    hosts(program)


main()
