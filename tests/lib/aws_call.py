#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A call by botocore, as anybody else could make it: aws_call.py SERVICE OPERATION [JSON]. The
keys, the region and AWS_ENDPOINT_URL are the environment's; prints the reply as JSON."""
import json
import os
import sys

import botocore.session

service, operation, *parameters = sys.argv[1:]
# Debian 12's botocore does not know the variable itself.
client = botocore.session.Session().create_client(service,
                                                  endpoint_url=os.environ["AWS_ENDPOINT_URL"])
reply = getattr(client, operation)(**json.loads(parameters[0] if parameters else "{}"))
reply.pop("ResponseMetadata")
json.dump(reply, sys.stdout, default=str)
