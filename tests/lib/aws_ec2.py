#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What somebody else does to an account meanwhile: aws_ec2.py URL SECRET [METHOD JSON]...

Calls botocore's client of EC2, METHOD being one of its own, in eu-west-1."""
import json
import sys

import botocore.config
import botocore.session

url, secret, *calls = sys.argv[1:]
ec2 = botocore.session.Session().create_client(
    "ec2", region_name="eu-west-1", endpoint_url=url, aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
    aws_secret_access_key=secret, config=botocore.config.Config(proxies={}))
for method, parameters in zip(calls[::2], calls[1::2]):
    reply = getattr(ec2, method)(**json.loads(parameters))
    reply.pop("ResponseMetadata", None)
    print(json.dumps(reply, default=str))
