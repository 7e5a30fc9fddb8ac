#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""aws_requests.py FILE: compares requests that kiln's unit test wrote with what botocore makes of
the same parameters. A line of FILE is a case's name, a tab, and the request's body."""
import base64
import hashlib
import json
import pathlib
import sys
import urllib.parse

import botocore.serialize
import botocore.validate

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "fakes"))
import aws_models  # noqa: E402

TAGS = [{"Key": "team", "Value": "web & co"}, {"Key": "ümlaut", "Value": ""}]
DISK = {"DeviceName": "/dev/xvda",
        "Ebs": {"SnapshotId": "snap-0123", "VolumeType": "gp3", "DeleteOnTermination": True}}
PLAIN = {"Name": "web-1.4.0", "Description": "a+b c=d", "VirtualizationType": "hvm",
         "EnaSupport": True, "SriovNetSupport": "simple", "RootDeviceName": "/dev/xvda",
         "BlockDeviceMappings": [DISK]}


def describe(name, value, **more):
    return {"Filters": [{"Name": name, "Values": [value]}], **more}


EC2 = {
    "images": ("DescribeImages", describe("tag:kiln:publish-id", "00ff", Owners=["self"],
                                          IncludeDeprecated=True)),
    "images-next": ("DescribeImages", describe("name", "(a) [b]/c", Owners=["self"],
                                               IncludeDeprecated=True, NextToken="a/b+c==")),
    "snapshots": ("DescribeSnapshots", describe("snapshot-id", "snap-0123", OwnerIds=["self"])),
    "register": ("RegisterImage", {**PLAIN, "Architecture": "x86_64"}),
    "register-all": ("RegisterImage", {
        **PLAIN, "Architecture": "arm64", "BootMode": "uefi", "TpmSupport": "v2.0",
        "ImdsSupport": "v2.0", "TagSpecifications": [{"ResourceType": "image", "Tags": TAGS}]}),
    "copy": ("CopyImage", {"Name": "web-1.4.0", "Description": "a+b c=d", "ClientToken": "00ff",
                           "SourceRegion": "eu-west-1", "SourceImageId": "ami-0123",
                           "CopyImageTags": True}),
    "share-image": ("ModifyImageAttribute", {"ImageId": "ami-0123", "LaunchPermission": {
        "Add": [{"UserId": "111111111111"}, {"UserId": "222222222222"}]}}),
    "share-image-all": ("ModifyImageAttribute", {"ImageId": "ami-0123", "LaunchPermission": {
        "Add": [{"Group": "all"}]}}),
    "share-snapshot": ("ModifySnapshotAttribute", {
        "SnapshotId": "snap-0123",
        "CreateVolumePermission": {"Add": [{"UserId": "111111111111"}]}}),
    "shared-image": ("DescribeImageAttribute", {"ImageId": "ami-0123",
                                                "Attribute": "launchPermission"}),
    "shared-snapshot": ("DescribeSnapshotAttribute", {"SnapshotId": "snap-0123",
                                                      "Attribute": "createVolumePermission"}),
    "tag": ("CreateTags", {"Resources": ["ami-0123"], "Tags": TAGS}),
    "deprecate": ("EnableImageDeprecation", {"ImageId": "ami-0123",
                                             "DeprecateAt": "2027-11-01T00:00:00Z"}),
    "remove-image": ("DeregisterImage", {"ImageId": "ami-0123"}),
    "remove-snapshot": ("DeleteSnapshot", {"SnapshotId": "snap-0123"}),
}
START = {"VolumeSize": 65536, "Description": "a+b \"c\"", "ClientToken": "00ff", "Timeout": 1440,
         "Tags": TAGS}
EBS = {"start": START, "start-parent": {**START, "ParentSnapshotId": "snap-0123"}}


def serialized(model, protocol, operation, parameters):
    operation = model.operation_model(operation)
    report = botocore.validate.ParamValidator().validate(parameters, operation.input_shape)
    if report.has_errors():
        sys.exit(f"{operation.name}: {report.generate_report()}")
    return botocore.serialize.create_serializer(protocol).serialize_to_request(
        parameters, operation)["body"]


def wanted(models):
    for name, (operation, parameters) in EC2.items():
        body = serialized(models["ec2"], "ec2", operation, parameters)
        yield name, {key: str(value) for key, value in body.items()}
    for name, parameters in EBS.items():
        yield name, json.loads(serialized(models["ebs"], "rest-json", "StartSnapshot", parameters))
    # As EBS says that a snapshot's checksum is made: here of three written blocks, 1, 2 and 5.
    blocks = [hashlib.sha256(bytes([number]) * 32).digest() for number in (1, 2, 5)]
    yield "linear", base64.b64encode(hashlib.sha256(b"".join(blocks)).digest()).decode()


def read(name, text):
    if name == "linear":
        return base64.b64encode(bytes.fromhex(text)).decode()
    return json.loads(text) if text.startswith("{") else aws_models.form(text.encode())


def main():
    lines = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    ours = {name: read(name, text) for name, text in (line.split("\t") for line in lines)}
    theirs = dict(wanted(aws_models.load()))
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            sys.exit(f"{name}:\n  kiln's     {ours.get(name)}\n  botocore's {theirs.get(name)}")


if __name__ == "__main__":
    main()
