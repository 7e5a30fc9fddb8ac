# SPDX-License-Identifier: Apache-2.0
"""Holds the fake of AWS against botocore's client, for publish/fake-aws.sh:

    fake_aws.py DIR SECRET OTHER-SECRET WEB-TOKEN ROLE

What is right must be taken, and each wrong request be refused with the code that is named."""
import base64
import datetime
import hashlib
import json
import os
import pathlib
import socket
import sys
import urllib.error
import urllib.request

import botocore.config
import botocore.exceptions
import botocore.parsers
import botocore.session

DIR, SECRET, OTHER_SECRET, WEB_TOKEN, ROLE = sys.argv[1:]
HTTP, HTTPS = (pathlib.Path(DIR, name).read_text() for name in ("http", "https"))
BLOCK = 512 << 10
SESSION = botocore.session.Session()  # keeps the models that it read
NAMES = iter(range(10 ** 6))
WRONG = []


def client(service, region="eu-west-1", key="AKIAIOSFODNN7EXAMPLE", secret=SECRET, token=None,
           url=HTTP, change=None):
    """CHANGE(request): what happens to a request after it was signed."""
    config = botocore.config.Config(retries={"total_max_attempts": 1}, parameter_validation=False,
                                    proxies={})
    made = SESSION.create_client(service, region_name=region, endpoint_url=url, config=config,
                                 verify=str(pathlib.Path(DIR, "ca.pem")), aws_access_key_id=key,
                                 aws_secret_access_key=secret, aws_session_token=token)
    if change:
        made.meta.events.register_last("before-send", lambda request, **rest: change(request))
    return made


def control(command, order=None):
    data = None if order is None else json.dumps(order).encode()
    with urllib.request.urlopen(f"{HTTP}/_fake/{command}", data) as reply:
        return json.load(reply)


def expect(what, good):
    if not good:
        WRONG.append(what)


def refused(what, code, call, **parameters):
    """CALL(**PARAMETERS) must fail with CODE."""
    try:
        call(**parameters)
        WRONG.append(f"{what}: was taken")
    except botocore.exceptions.ClientError as problem:
        if problem.response["Error"]["Code"] != code:
            WRONG.append(f"{what}: {problem}, not {code}")
        elif not problem.response["ResponseMetadata"].get("RequestId"):
            WRONG.append(f"{what}: no request id")


def broken(what, call, **parameters):
    """CALL must end without a reply."""
    try:
        call(**parameters)
        WRONG.append(f"{what}: was answered")
    except (botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError,
            botocore.parsers.ResponseParserError):
        pass


def block(fill):
    """A block's parameters, its snapshot and index aside."""
    data = bytes([fill]) * BLOCK
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
    return {"BlockData": data, "DataLength": BLOCK, "Checksum": digest,
            "ChecksumAlgorithm": "SHA256"}


def linear(fills):
    digests = b"".join(hashlib.sha256(bytes([fill]) * BLOCK).digest() for fill in fills)
    return {"Checksum": base64.b64encode(hashlib.sha256(digests).digest()).decode(),
            "ChecksumAlgorithm": "SHA256", "ChecksumAggregationMethod": "LINEAR"}


EBS, EC2, STS = client("ebs"), client("ec2"), client("sts")


def started(**more):
    return EBS.start_snapshot(VolumeSize=1, ClientToken=f"token-{next(NAMES)}",
                              **more)["SnapshotId"]


def completed(fills, **more):
    """A completed snapshot with FILLS: {index: fill}."""
    id_ = started(**more)
    for index, fill in fills.items():
        EBS.put_snapshot_block(SnapshotId=id_, BlockIndex=index, **block(fill))
    EBS.complete_snapshot(SnapshotId=id_, ChangedBlocksCount=len(fills),
                          **linear([fills[index] for index in sorted(fills)]))
    states = [EC2.describe_snapshots(SnapshotIds=[id_])["Snapshots"][0]["State"]
              for _ in range(3)]
    expect(f"a snapshot is completed some time later: {states}",
           states[0] == "pending" and states[-1] == "completed")
    return id_


def image_of(snapshot, **more):
    wanted = {"Name": f"image-{next(NAMES)}", "Architecture": "x86_64", "RootDeviceName":
              "/dev/xvda", "VirtualizationType": "hvm", "EnaSupport": True, "ImdsSupport": "v2.0",
              "BootMode": "uefi", "BlockDeviceMappings": [
                  {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot,
                                                      "VolumeType": "gp3"}}]}
    wanted.update(more)
    return {name: value for name, value in wanted.items() if value is not None}


def available(id_, ec2=EC2):
    for _ in range(10):
        if ec2.describe_images(ImageIds=[id_])["Images"][0]["State"] == "available":
            return id_
    raise SystemExit(f"{id_} never becomes available")


# --- EBS ---------------------------------------------------------------------------------------

def snapshots():
    fills = {3: 1, 0: 2, 2047: 3}
    first = completed(fills, Tags=[{"Key": "kiln:publish-id", "Value": "x"}], Description="d",
                      Timeout=240)
    expect("the reassembled volume", reassembled(first) == fills)
    child = completed({3: 0, 5: 9}, ParentSnapshotId=first)
    expect("a child's volume", reassembled(child) == {0: 2, 5: 9, 2047: 3})
    refused("a block of a completed one", "ValidationException", EBS.put_snapshot_block,
            SnapshotId=first, BlockIndex=0, **block(1))
    refused("completion of a completed one", "ValidationException", EBS.complete_snapshot,
            SnapshotId=first, ChangedBlocksCount=3)
    return first


def reassembled(id_):
    """The volume of 1 GiB as {index: fill} of the blocks that are not zero."""
    path, found = os.path.abspath("volume"), {}
    control("reassemble", {"snapshot": id_, "file": path})
    with open(path, "rb") as file:
        expect("the volume's size", os.path.getsize(path) == 1 << 30)
        end = 0
        while True:
            try:
                begin = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError:
                break
            end = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
            for index in range(begin // BLOCK, (end + BLOCK - 1) // BLOCK):
                data = os.pread(file.fileno(), BLOCK, index * BLOCK)
                if data.count(0) != BLOCK:
                    found[index] = data[0] if data.count(data[0]) == BLOCK else None
    os.unlink(path)
    return found


def starting(parent):
    same = {"VolumeSize": 1, "ClientToken": "same", "Description": "d"}
    first, second = EBS.start_snapshot(**same), EBS.start_snapshot(**same)
    expect("the same token is the same snapshot", first["SnapshotId"] == second["SnapshotId"]
           and first["BlockSize"] == BLOCK and first["Status"] == "pending")
    wrong = {
        "other parameters with its token": ("ConflictException", dict(same, VolumeSize=2)),
        "no size": ("ValidationException", {}),
        "size 0": ("ValidationException", {"VolumeSize": 0}),
        "size 65537": ("ValidationException", {"VolumeSize": 65537}),
        "a timeout of 9": ("ValidationException", {"VolumeSize": 1, "Timeout": 9}),
        "a timeout of 4321": ("ValidationException", {"VolumeSize": 1, "Timeout": 4321}),
        "a token of 65": ("ValidationException", {"VolumeSize": 1, "ClientToken": "a" * 65}),
        "a token with a space": ("ValidationException", {"VolumeSize": 1, "ClientToken": "a b"}),
        "51 tags": ("ValidationException", {"VolumeSize": 1, "Tags": [
            {"Key": str(number), "Value": ""} for number in range(51)]}),
        "a tag twice": ("ValidationException", {"VolumeSize": 1, "Tags": [
            {"Key": "a", "Value": ""}, {"Key": "a", "Value": "b"}]}),
        "aws: in a tag": ("ValidationException", {"VolumeSize": 1, "Tags": [
            {"Key": "aws:a", "Value": ""}]}),
        "a long description": ("ValidationException", {"VolumeSize": 1, "Description": "d" * 256}),
        "encryption with a parent": ("ValidationException", {
            "VolumeSize": 1, "ParentSnapshotId": parent, "Encrypted": False}),
        "a parent that is not there": ("ResourceNotFoundException", {
            "VolumeSize": 1, "ParentSnapshotId": "snap-0123456789abcdef0"}),
        "a pending parent": ("ValidationException", {
            "VolumeSize": 1, "ParentSnapshotId": first["SnapshotId"]}),
    }
    for what, (code, parameters) in wrong.items():
        refused(f"starting: {what}", code, EBS.start_snapshot, **parameters)
    large = EBS.start_snapshot(VolumeSize=2)["SnapshotId"]
    EBS.complete_snapshot(SnapshotId=large, ChangedBlocksCount=0, **linear([]))
    for _ in range(3):
        EC2.describe_snapshots(SnapshotIds=[large])
    refused("starting: smaller than its parent", "ValidationException", EBS.start_snapshot,
            VolumeSize=1, ParentSnapshotId=large)
    other = client("ebs", key="AKIAI44QH8DHBEXAMPLE", secret=OTHER_SECRET)
    refused("starting: another account's parent", "ResourceNotFoundException",
            other.start_snapshot, VolumeSize=1, ParentSnapshotId=parent)
    refused("starting: another region's parent", "ResourceNotFoundException",
            client("ebs", "us-east-1").start_snapshot, VolumeSize=1, ParentSnapshotId=parent)


def putting():
    id_ = started()
    good = dict(block(7), SnapshotId=id_, BlockIndex=0)
    wrong = {
        "a wrong checksum": {"Checksum": block(8)["Checksum"]},
        "no checksum": {"Checksum": None},
        "another algorithm": {"ChecksumAlgorithm": "SHA1"},
        "a length of 512": {"DataLength": 512},
        "data of 512 bytes": {"BlockData": b"x" * 512},
        "a block beyond the end": {"BlockIndex": 2048},
        "a negative block": {"BlockIndex": -1},
        "progress of 101": {"Progress": 101},
        "an id that is none": {"SnapshotId": "vol-1"},
    }
    for what, change in wrong.items():
        refused(f"putting: {what}", "ValidationException", EBS.put_snapshot_block,
                **{name: value for name, value in {**good, **change}.items() if value is not None})
    refused("putting: no such snapshot", "ResourceNotFoundException", EBS.put_snapshot_block,
            **dict(good, SnapshotId="snap-0123456789abcdef0"))
    EBS.put_snapshot_block(**good)
    EBS.put_snapshot_block(**dict(good, **block(9)))
    complete = dict(linear([9]), SnapshotId=id_, ChangedBlocksCount=1)
    wrong = {
        "two blocks, when one was put twice": {"ChangedBlocksCount": 2},
        "a checksum of others": linear([7]),
        "a checksum without its algorithm": {"ChecksumAlgorithm": None},
        "another aggregation": {"ChecksumAggregationMethod": "TREE"},
        "no count": {"ChangedBlocksCount": None},
    }
    for what, change in wrong.items():
        refused(f"completing: {what}", "ValidationException", EBS.complete_snapshot, **{
            name: value for name, value in {**complete, **change}.items() if value is not None})
    expect("completing", EBS.complete_snapshot(**complete)["Status"] == "pending")
    expect("completing again", EBS.complete_snapshot(**complete)["Status"] == "pending")
    refused("putting: it is being completed", "ValidationException", EBS.put_snapshot_block,
            **good)


def timing_out():
    id_ = started(Timeout=10)
    control("clock", {"advance": 590})
    EBS.put_snapshot_block(SnapshotId=id_, BlockIndex=0, **block(1))
    control("clock", {"advance": 590})
    EBS.put_snapshot_block(SnapshotId=id_, BlockIndex=0, **block(1))
    control("clock", {"advance": 610})
    expect("a timeout", EC2.describe_snapshots(SnapshotIds=[id_])["Snapshots"][0]["State"]
           == "error")
    refused("putting: after the timeout", "ValidationException", EBS.put_snapshot_block,
            SnapshotId=id_, BlockIndex=0, **block(1))


# --- EC2 ---------------------------------------------------------------------------------------

def registering(snapshot):
    id_ = EC2.register_image(**image_of(snapshot, Name="web (1.0)", Description="d"))["ImageId"]
    view = EC2.describe_images(Owners=["self"], Filters=[
        {"Name": "name", "Values": ["web*"]}, {"Name": "architecture", "Values": ["x86_64"]},
        {"Name": "block-device-mapping.snapshot-id", "Values": [snapshot]}])["Images"]
    expect(f"the description of an image: {view}", len(view) == 1 and view[0]["ImageId"] == id_
           and view[0]["State"] == "pending" and view[0]["BootMode"] == "uefi"
           and view[0]["BlockDeviceMappings"][0]["Ebs"]["VolumeType"] == "gp3"
           and view[0]["ImdsSupport"] == "v2.0" and view[0]["EnaSupport"] is True)
    plain = EC2.register_image(**image_of(snapshot, Architecture=None, VirtualizationType=None,
                                          EnaSupport=None, BootMode=None))["ImageId"]
    expect("without an architecture it is i386",
           EC2.describe_images(ImageIds=[plain])["Images"][0]["Architecture"] == "i386")
    pending = started()

    def mapped(**ebs):
        return {"BlockDeviceMappings": [{"DeviceName": "/dev/xvda",
                                         "Ebs": {"SnapshotId": snapshot, **ebs}}]}

    wrong = {
        "its name again": ("InvalidAMIName.Duplicate", {"Name": "web (1.0)"}),
        "a short name": ("InvalidAMIName.Malformed", {"Name": "ab"}),
        "a name with a colon": ("InvalidAMIName.Malformed", {"Name": "web:1"}),
        "no name": ("MissingParameter", {"Name": None}),
        "no root device": ("MissingParameter", {"RootDeviceName": None}),
        "another root device": ("InvalidBlockDeviceMapping", {"RootDeviceName": "/dev/sda1"}),
        "a device that is none": ("InvalidBlockDeviceMapping", {"BlockDeviceMappings": [
            {"DeviceName": "xvda", "Ebs": {"SnapshotId": snapshot}}]}),
        "a pending snapshot": ("IncorrectState", mapped(SnapshotId=pending)),
        "no such snapshot": ("InvalidSnapshot.NotFound",
                             mapped(SnapshotId="snap-0123456789abcdef0")),
        "a volume of 0 GiB": ("InvalidBlockDeviceMapping", mapped(VolumeSize=0)),
        "encryption": ("InvalidParameterCombination", mapped(Encrypted=True)),
        "an unknown volume type": ("InvalidParameterValue", mapped(VolumeType="gp4")),
        "throughput of gp2": ("InvalidParameterCombination",
                              mapped(VolumeType="gp2", Throughput=125)),
        "ENA without hvm": ("InvalidParameterCombination", {"VirtualizationType": None}),
        "an unknown architecture": ("InvalidParameterValue", {"Architecture": "amd64"}),
        "arm64 with BIOS": ("InvalidParameterCombination", {"Architecture": "arm64",
                                                            "BootMode": "legacy-bios"}),
        "a TPM with uefi-preferred": ("InvalidParameterCombination", {
            "BootMode": "uefi-preferred", "TpmSupport": "v2.0"}),
        "a TPM of 1.2": ("InvalidParameterValue", {"TpmSupport": "v1.2"}),
        "an unknown boot mode": ("InvalidParameterValue", {"BootMode": "bios"}),
        "a long description": ("InvalidParameterValue", {"Description": "d" * 256}),
        "a dry run": ("DryRunOperation", {"DryRun": True}),
    }
    for what, (code, change) in wrong.items():
        refused(f"registering: {what}", code, EC2.register_image, **image_of(snapshot, **change))
    for what, change in {"a TPM": {"TpmSupport": "v2.0"},
                         "uefi-preferred": {"BootMode": "uefi-preferred"},
                         "arm64": {"Architecture": "arm64"}}.items():
        try:
            EC2.register_image(**image_of(snapshot, **change))
        except botocore.exceptions.ClientError as problem:
            WRONG.append(f"registering with {what}: {problem}")
    refused("registering: forbidden", "UnauthorizedOperation",
            client("ec2", key="AKIANARROW7NEXAMPLE0").register_image, **image_of(snapshot))
    return available(id_)


def raw_form(body, code, what):
    """A form of our own, signed as it is."""
    made = client("ec2")

    def replace(request, **rest):
        request.data = body

    made.meta.events.register("before-sign", replace)
    refused(f"a form: {what}", code, made.describe_images)


def forms(snapshot):
    head = "Action=DescribeImages&Version=2016-11-15"
    raw_form(f"{head}&Owner.1=self&Foo=1", "UnknownParameter", "a parameter that is none")
    raw_form(f"{head}&Owner.2=self", "InvalidParameterValue", "a list that begins with 2")
    raw_form(f"{head}&Owner=self", "InvalidParameterValue", "a list that is a value")
    raw_form(f"{head}&Owner.1=self&Owner.1=self", "InvalidParameterValue", "a parameter twice")
    raw_form(f"{head}&DryRun=yes", "InvalidParameterValue", "a boolean that is none")
    raw_form("Action=DescribeImages&Version=2014-09-01", "InvalidParameterValue", "a version")
    raw_form("Action=DescribeAll&Version=2016-11-15", "UnknownParameter", "an action")
    # Tags with the registration came after Debian's model.
    tags = ("&TagSpecification.1.ResourceType={}&TagSpecification.1.Tag.1.Key=a"
            "&TagSpecification.1.Tag.1.Value=b%26c")
    register = (f"Action=RegisterImage&Version=2016-11-15&Name=tagged&Architecture=x86_64"
                f"&RootDeviceName=%2Fdev%2Fxvda&VirtualizationType=hvm&BlockDeviceMapping.1."
                f"DeviceName=%2Fdev%2Fxvda&BlockDeviceMapping.1.Ebs.SnapshotId={snapshot}")
    raw_form(register + tags.format("snapshot"), "InvalidParameterValue", "another thing's tags")
    made = client("ec2")
    made.meta.events.register("before-sign", lambda request, **rest: setattr(
        request, "data", register + tags.format("image")))
    made.describe_images()
    found = EC2.describe_images(Filters=[{"Name": "tag:a", "Values": ["b&c"]}])["Images"]
    expect(f"tags with the registration: {found}", [one["Name"] for one in found] == ["tagged"])


def changing(image, snapshot):
    tags = [{"Key": "kiln:publish-id", "Value": "ü"}]
    EC2.create_tags(Resources=[image, snapshot], Tags=tags)
    for found in (EC2.describe_images(Filters=[{"Name": "tag:kiln:publish-id",
                                                "Values": ["ü"]}])["Images"],
                  EC2.describe_snapshots(Filters=[{"Name": "tag:kiln:publish-id",
                                                   "Values": ["ü"]}])["Snapshots"]):
        expect(f"found by its tag: {found}", len(found) == 1 and found[0]["Tags"] == tags)
    share = {"Add": [{"UserId": "111122223333"}]}
    EC2.modify_image_attribute(ImageId=image, LaunchPermission=share)
    EC2.modify_snapshot_attribute(SnapshotId=snapshot, CreateVolumePermission=share)
    EC2.modify_image_attribute(ImageId=image, Attribute="launchPermission", OperationType="add",
                               UserIds=["444455556666"])
    seen = EC2.describe_image_attribute(ImageId=image, Attribute="launchPermission")
    expect(f"shared with: {seen}", seen["LaunchPermissions"] == [
        {"UserId": "111122223333"}, {"UserId": "444455556666"}])
    other = client("ec2", key="AKIAI44QH8DHBEXAMPLE", secret=OTHER_SECRET)
    expect("the other account sees it", len(other.describe_images(ImageIds=[image])["Images"]) == 1)
    stranger = EC2.register_image(**image_of(snapshot))["ImageId"]
    refused("an image of somebody else", "InvalidAMIID.NotFound", other.describe_images,
            ImageIds=[stranger])
    refused("changing: somebody else's", "AuthFailure", other.create_tags, Resources=[image],
            Tags=tags)
    now = datetime.datetime.utcnow()
    wrong = {
        "an account of 11 digits": ("InvalidAMIAttributeItemValue", EC2.modify_image_attribute, {
            "ImageId": image, "LaunchPermission": {"Add": [{"UserId": "12345678901"}]}}),
        "nothing": ("InvalidParameterCombination", EC2.modify_image_attribute, {
            "ImageId": image}),
        "nobody": ("MissingParameter", EC2.modify_image_attribute, {
            "ImageId": image, "Attribute": "launchPermission", "OperationType": "add"}),
        "two attributes": ("InvalidParameterCombination", EC2.modify_image_attribute, {
            "ImageId": image, "LaunchPermission": share, "Description": {"Value": "d"}}),
        "no image": ("InvalidAMIID.NotFound", EC2.modify_image_attribute, {
            "ImageId": "ami-0123456789abcdef0", "LaunchPermission": share}),
        "add and remove": ("InvalidParameterCombination", EC2.modify_snapshot_attribute, {
            "SnapshotId": snapshot, "CreateVolumePermission": {"Remove": share["Add"], **share}}),
        "aws: in a tag": ("InvalidParameterValue", EC2.create_tags, {
            "Resources": [image], "Tags": [{"Key": "aws:a", "Value": "b"}]}),
        "tags of nothing": ("InvalidAMIID.NotFound", EC2.create_tags, {
            "Resources": ["ami-0123456789abcdef0"], "Tags": tags}),
        "deprecated in the past": ("InvalidParameterValue", EC2.enable_image_deprecation, {
            "ImageId": image, "DeprecateAt": now - datetime.timedelta(days=1)}),
        "deprecated in 11 years": ("InvalidParameterValue", EC2.enable_image_deprecation, {
            "ImageId": image, "DeprecateAt": now + datetime.timedelta(days=4020)}),
        "an unknown filter": ("InvalidParameterValue", EC2.describe_images, {
            "Filters": [{"Name": "color", "Values": ["red"]}]}),
        "pages of ids": ("InvalidParameterCombination", EC2.describe_snapshots, {
            "SnapshotIds": [snapshot], "MaxResults": 5}),
        "a snapshot in use": ("InvalidSnapshot.InUse", EC2.delete_snapshot, {
            "SnapshotId": snapshot}),
        "what the fake lacks": ("FakeLacks", EC2.describe_instances, {}),
    }
    for what, (code, call, parameters) in wrong.items():
        refused(f"changing: {what}", code, call, **parameters)
    EC2.enable_image_deprecation(ImageId=image, DeprecateAt=now + datetime.timedelta(days=3))
    control("clock", {"advance": 4 * 86400})
    expect("deprecated: hidden from others", not other.describe_images()["Images"])
    expect("deprecated: shown where asked for",
           len(other.describe_images(IncludeDeprecated=True)["Images"]) == 1
           and len(EC2.describe_images(ImageIds=[image])["Images"]) == 1)


def paging():
    for _ in range(12):
        started(Tags=[{"Key": "page", "Value": "1"}])
    pages = list(EC2.get_paginator("describe_snapshots").paginate(
        Filters=[{"Name": "tag:page", "Values": ["1"]}], PaginationConfig={"PageSize": 5}))
    ids = [one["SnapshotId"] for page in pages for one in page["Snapshots"]]
    expect("pages", [len(page["Snapshots"]) for page in pages] == [5, 5, 2]
           and len(set(ids)) == 12)


def copying(image):
    there = client("ec2", "us-east-1")
    wanted = {"Name": "copy", "SourceImageId": image, "SourceRegion": "eu-west-1",
              "ClientToken": "copy"}
    copy = there.copy_image(**wanted)["ImageId"]
    expect("the same token is the same copy", there.copy_image(**wanted)["ImageId"] == copy)
    refused("copying: its token with another name", "IdempotentParameterMismatch",
            there.copy_image, **dict(wanted, Name="copies"))
    refused("copying: from another region", "InvalidAMIID.NotFound", there.copy_image,
            **dict(wanted, SourceRegion="us-west-2", ClientToken="2"))
    refused("copying: the copy is not there yet", "InvalidRequest", EC2.copy_image,
            **dict(wanted, SourceImageId=copy, SourceRegion="us-east-1", ClientToken="3"))
    expect("a copy is pending at first",
           there.describe_images(ImageIds=[copy])["Images"][0]["State"] == "pending")
    available(copy, there)
    view = there.describe_images(ImageIds=[copy])["Images"][0]
    expect(f"a copy: {view}", view["Tags"] == [] and view["Architecture"] == "x86_64"
           and view["BootMode"] == "uefi")
    tagged = there.copy_image(**dict(wanted, ClientToken="4", CopyImageTags=True))["ImageId"]
    expect("tags of a copy", there.describe_images(ImageIds=[tagged])["Images"][0]["Tags"] != [])
    EC2.deregister_image(ImageId=image)
    refused("copying: what is gone", "InvalidAMIID.NotFound", there.copy_image,
            **dict(wanted, ClientToken="5"))


def removing():
    snapshot = completed({0: 1})
    image = EC2.register_image(**image_of(snapshot))["ImageId"]
    EC2.deregister_image(ImageId=image)
    refused("removing: an image twice", "InvalidAMIID.Unavailable", EC2.deregister_image,
            ImageId=image)
    EC2.delete_snapshot(SnapshotId=snapshot)
    refused("removing: a snapshot twice", "InvalidSnapshot.NotFound", EC2.delete_snapshot,
            SnapshotId=snapshot)
    expect("removed: nothing is described", not EC2.describe_snapshots(
        Filters=[{"Name": "snapshot-id", "Values": [snapshot]}])["Snapshots"])
    pending = started()
    EC2.delete_snapshot(SnapshotId=pending)
    refused("removing: and then putting", "ResourceNotFoundException", EBS.put_snapshot_block,
            SnapshotId=pending, BlockIndex=0, **block(1))


# --- keys and signatures -----------------------------------------------------------------------

def header(name, value):
    def change(request):
        request.headers[name] = value
    return change


def drop_header(name):
    def change(request):
        del request.headers[name]
    return change


def signatures():
    codes = {"ebs": ("UnrecognizedClientException", "InvalidSignatureException",
                     lambda made: made.start_snapshot(VolumeSize=1)),
             "ec2": ("AuthFailure", "SignatureDoesNotMatch",
                     lambda made: made.describe_images(Owners=["self"])),
             "sts": ("InvalidClientTokenId", "SignatureDoesNotMatch",
                     lambda made: made.get_caller_identity())}
    for service, (unknown, mismatch, call) in codes.items():
        def refuse(what, code, **more):
            refused(f"{service}: {what}", code, lambda: call(client(service, **more)))
        refuse("an unknown key", unknown, key="AKIAUNKNOWN7EXAMPLE0")
        refuse("a wrong secret", mismatch, secret="wrong")
        refuse("a token that is not wanted", unknown, token="token")
        refuse("another date", mismatch, change=header("X-Amz-Date", "20200101T000000Z"))
        refuse("an unsigned header", mismatch, change=header("X-Amz-Extra", "1"))
        refuse("no signature", "MissingAuthenticationTokenException" if service == "ebs"
               else "MissingAuthenticationToken", change=drop_header("Authorization"))
        refuse("an Authorization that is none", mismatch, change=header("Authorization", "AWS4"))
        call(client(service, url=HTTPS))
        control("clock", {"skew": 16 * 60})
        refuse("a clock that is wrong", "RequestExpired" if service == "ec2" else mismatch)
        control("clock", {"skew": 14 * 60})
        call(client(service))
        control("clock", {"skew": 0})

    def tamper(request):
        request.body = request.body.replace(b"1", b"2")
    refused("ebs: a body that was changed", "InvalidSignatureException",
            client("ebs", change=tamper).start_snapshot, VolumeSize=1)
    id_ = started()

    def spoil(request):
        request.body = bytes(BLOCK)
    # botocore leaves a block out of the signature: the checksum tells then.
    refused("a block that was changed on its way", "ValidationException",
            client("ebs", change=spoil).put_snapshot_block, SnapshotId=id_, BlockIndex=0,
            **block(1))
    made = client("ebs", change=spoil)
    made.meta.events.register("before-sign", lambda request, **rest: request.context.update(
        payload_signing_enabled=True))
    refused("a signed block that was changed on its way", "InvalidSignatureException",
            made.put_snapshot_block, SnapshotId=id_, BlockIndex=0, **block(1))
    client("ebs", url=HTTPS).put_snapshot_block(SnapshotId=id_, BlockIndex=0, **block(1))
    made = client("ebs")
    made.meta.events.register("before-sign", lambda request, **rest: request.headers.add_header(
        "x-amz-Nonsense", "1"))
    refused("ebs: a header that is none of its own", "ValidationException", made.start_snapshot,
            VolumeSize=1)


def sessions():
    caller = STS.get_caller_identity()
    expect(f"the caller: {caller}", caller["Account"] == "123456789012"
           and caller["Arn"].endswith(":user/ci"))
    role = {"RoleArn": ROLE, "RoleSessionName": "kiln"}
    got = STS.assume_role(DurationSeconds=900, **role)["Credentials"]
    keys = {"key": got["AccessKeyId"], "secret": got["SecretAccessKey"],
            "token": got["SessionToken"]}
    expect("a role's caller", client("sts", **keys).get_caller_identity()["Arn"]
           == "arn:aws:sts::123456789012:assumed-role/publisher/kiln")
    client("ebs", **keys).start_snapshot(VolumeSize=1)
    refused("a session without its token", "UnrecognizedClientException",
            client("ebs", **dict(keys, token=None)).start_snapshot, VolumeSize=1)
    refused("a session with another token", "AuthFailure",
            client("ec2", **dict(keys, token="other")).describe_images)
    control("clock", {"advance": 901})
    for service, code, call in (
            ("ebs", "ExpiredTokenException", lambda made: made.start_snapshot(VolumeSize=1)),
            ("ec2", "ExpiredToken", lambda made: made.describe_images()),
            ("sts", "ExpiredToken", lambda made: made.get_caller_identity())):
        refused(f"{service}: an expired session", code, call, made=client(service, **keys))
    web = client("sts").assume_role_with_web_identity(WebIdentityToken=WEB_TOKEN, **role)
    expect("web identity", web["Credentials"]["SessionToken"])
    refused("a wrong web token", "AccessDenied", STS.assume_role_with_web_identity,
            WebIdentityToken="eyJ.other", **role)
    refused("a role for others", "AccessDenied",
            client("sts", key="AKIAI44QH8DHBEXAMPLE", secret=OTHER_SECRET).assume_role, **role)
    refused("a role with an external id", "AccessDenied", STS.assume_role, ExternalId="xyz", **role)
    refused("a session of a minute", "ValidationError", STS.assume_role, DurationSeconds=60,
            **role)


# --- faults ------------------------------------------------------------------------------------

def faults():
    def order(**fault):
        control("clear", {"seed": 1})
        control("faults", [fault])
    id_ = started()
    put = dict(block(1), SnapshotId=id_)
    order(operation="PutSnapshotBlock", kind="drop", bytes=1000)
    broken("drop", EBS.put_snapshot_block, BlockIndex=0, **put)
    EBS.put_snapshot_block(BlockIndex=0, **put)
    order(operation="PutSnapshotBlock", kind="lose-reply")
    broken("lose-reply", EBS.put_snapshot_block, BlockIndex=1, **put)
    expect("lose-reply: it was done", blocks_of(id_) == 2)
    order(operation="DescribeImages", kind="cut-reply", bytes=30)
    broken("cut-reply", EC2.describe_images)
    order(operation="PutSnapshotBlock", kind="stall", bytes=10, seconds=0.2)
    broken("stall", EBS.put_snapshot_block, BlockIndex=2, **put)
    order(operation="PutSnapshotBlock", kind="error", code="RequestThrottledException", count=2,
          reason="ACCOUNT_THROTTLED", after=1)
    EBS.put_snapshot_block(BlockIndex=3, **put)
    for _ in range(2):
        refused("throttled", "RequestThrottledException", EBS.put_snapshot_block, BlockIndex=4,
                **put)
    EBS.put_snapshot_block(BlockIndex=4, **put)
    order(operation="*", region="us-east-1", kind="error", code="RequestLimitExceeded", status=503,
          count=None)
    refused("throttled in one region", "RequestLimitExceeded",
            client("ec2", "us-east-1").describe_images)
    EC2.describe_images()
    order(operation="PutSnapshotBlock", kind="error", code="InternalServerException", status=500,
          count=None, probability=0.5)
    outcomes = [taken(EBS.put_snapshot_block, BlockIndex=5, **put) for _ in range(40)]
    expect(f"half of them fail: {outcomes}", 8 < sum(outcomes) < 32)
    snapshot = completed_again({0: 1})
    order(operation="DescribeImages", kind="stale", count=2)
    image = EC2.register_image(**image_of(snapshot))["ImageId"]
    for _ in range(2):
        refused("stale", "InvalidAMIID.NotFound", EC2.describe_images, ImageIds=[image])
    available(image)
    order(operation="PutSnapshotBlock", kind="cancel")
    refused("cancelled", "ValidationException", EBS.put_snapshot_block, BlockIndex=6, **put)
    got = STS.assume_role(RoleArn=ROLE, RoleSessionName="kiln")["Credentials"]
    made = client("ebs", key=got["AccessKeyId"], secret=got["SecretAccessKey"],
                  token=got["SessionToken"])
    order(operation="StartSnapshot", kind="expire")
    for _ in range(2):
        refused("expired by order", "ExpiredTokenException", made.start_snapshot, VolumeSize=1)
    control("clear", {})


def completed_again(fills):
    control("clear", {})
    return completed(fills)


def taken(call, **parameters):
    try:
        call(**parameters)
        return True
    except botocore.exceptions.ClientError:
        return False


def blocks_of(id_):
    return next(one["blocks"] for one in control("state")["snapshots"] if one["id"] == id_)


def not_http():
    """What no client of AWS's would send."""
    for what, request in {
            "chunks": b"POST /snapshots HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "a header twice": b"POST / HTTP/1.1\r\nHost: a\r\nDate: 1\r\ndate: 1\r\n\r\n",
            "no host": b"POST / HTTP/1.1\r\n\r\n",
            "HTTP/1.0": b"POST / HTTP/1.0\r\nHost: a\r\n\r\n",
    }.items():
        host, port = HTTP[len("http://"):].split(":")
        with socket.create_connection((host, int(port))) as sock:
            sock.sendall(request)
            expect(what, sock.recv(1000).startswith(b"HTTP/1.1 400 "))


def main():
    first = snapshots()
    starting(first)
    putting()
    image = registering(first)
    forms(first)
    changing(image, first)
    paging()
    copying(image)
    removing()
    timing_out()
    signatures()
    sessions()
    faults()
    not_http()
    for problem in WRONG:
        print(problem)
    return 1 if WRONG else 0


if __name__ == "__main__":
    sys.exit(main())
