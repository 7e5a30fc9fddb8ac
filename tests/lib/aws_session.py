#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Keys of a session, for a shell to evaluate: aws_session.py URL SECRET ROLE"""
import sys

import botocore.session

url, secret, role = sys.argv[1:]
sts = botocore.session.Session().create_client(
    "sts", region_name="eu-west-1", endpoint_url=url, aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
    aws_secret_access_key=secret)
keys = sts.assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
print(f"export AWS_ACCESS_KEY_ID={keys['AccessKeyId']} "
      f"AWS_SECRET_ACCESS_KEY={keys['SecretAccessKey']} AWS_SESSION_TOKEN={keys['SessionToken']}")
