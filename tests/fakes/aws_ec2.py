# SPDX-License-Identifier: Apache-2.0
"""The part of EC2 that images need: registering, describing, tagging, sharing, copying, removing.
An operation is a method named like it; it takes the caller, the parameters and how much it may see
('before': nothing made after that moment)."""
import datetime
import fnmatch
import re
import secrets
import threading

from aws_ebs import Refused, tag_map

NAME = re.compile(r"[A-Za-z0-9()\[\] ./'@_-]{3,128}")
TAGS_MAX = 50
DEVICE = re.compile(r"/dev/(sd[a-z]|xvd[a-z]{1,2})[1-9]?")


def paired(parameters):
    return Refused("InvalidParameterCombination", parameters)


def bad_value(message):
    return Refused("InvalidParameterValue", message)


def image_missing(id_):
    return Refused("InvalidAMIID.NotFound", f"The image id '[{id_}]' does not exist")


def snapshot_missing(id_):
    return Refused("InvalidSnapshot.NotFound", f"The snapshot '{id_}' does not exist.")


class Image:
    def __init__(self, caller, name, born, now):
        self.id = f"ami-0{secrets.token_hex(8)}"
        self.account, self.region, self.name = caller.account, caller.region, name
        self.description, self.architecture = "", "i386"
        self.virtualization, self.root, self.mappings = "paravirtual", None, []
        self.ena, self.sriov, self.boot_mode, self.tpm, self.imds = False, None, None, None, None
        self.tags, self.users, self.groups, self.organizations = {}, set(), set(), set()
        self.deprecate_at = None
        self.polls, self.born, self.created = 0, born, now
        self.deregistered = False
        self.source = None  # the image that it is a copy of
        self.deletes_snapshots = False

    def state(self):
        return "pending" if self.polls > 0 else "available"

    def snapshots(self):
        return [mapping["Ebs"]["SnapshotId"] for mapping in self.mappings
                if mapping.get("Ebs", {}).get("SnapshotId")]


class Images:
    def __init__(self, snapshots):
        self.snapshots, self.clock = snapshots, snapshots.clock
        self.lock: threading.RLock = snapshots.lock
        self.all, self.tokens, self.pages = {}, {}, {}
        self.polls = 1
        self.copy_polls = 3

    # --- what there is -------------------------------------------------------------------------

    def image(self, caller, id_, before):
        if not re.fullmatch(r"ami-[0-9a-f]{8,17}", id_):
            raise Refused("InvalidAMIID.Malformed", f"Invalid id: \"{id_}\"")
        image = self.all.get(id_)
        if image is None or image.region != caller.region or image.born > before \
                or not self.may_see(caller, image):
            raise image_missing(id_)
        if image.deregistered:
            raise Refused("InvalidAMIID.Unavailable", f"The image ID '{id_}' is no longer "
                          "available")
        return image

    def own_image(self, caller, id_, before):
        image = self.image(caller, id_, before)
        if image.account != caller.account:
            raise Refused("AuthFailure", "Not authorized for images:[" + id_ + "]", 401)
        return image

    @staticmethod
    def may_see(caller, image):
        return image.account == caller.account or "all" in image.groups \
            or caller.account in image.users

    def snapshot(self, caller, id_, before):
        if not re.fullmatch(r"snap-[0-9a-f]{8,17}", id_):
            raise Refused("InvalidParameterValue", f"Value ({id_}) for parameter snapshotId is "
                          "invalid.")
        snapshot = self.snapshots.find(caller, id_)
        if snapshot is None or snapshot.born > before:
            raise snapshot_missing(id_)
        return snapshot

    # --- RegisterImage -------------------------------------------------------------------------

    def RegisterImage(self, caller, wanted, before):
        name, specifications = wanted["Name"], wanted.get("TagSpecifications", [])
        if not NAME.fullmatch(name):
            raise Refused("InvalidAMIName.Malformed", f"AMI name is invalid: {name!r}")
        if len(wanted.get("Description", "")) > 255:
            raise bad_value("Description is longer than 255 characters")
        for id_, other in self.all.items():
            if other.name == name and not other.deregistered and other.region == caller.region \
                    and other.account == caller.account:
                raise Refused("InvalidAMIName.Duplicate",
                              f"AMI name {name} is already in use by AMI {id_}")
        image = Image(caller, name, next(self.snapshots.moment), self.clock.utc())
        image.description = wanted.get("Description", "")
        self.set_platform(image, wanted)
        image.root = wanted["RootDeviceName"]
        image.mappings = [self.mapping(caller, one, before)
                          for one in wanted.get("BlockDeviceMappings", [])]
        devices = [mapping["DeviceName"] for mapping in image.mappings]
        if len(set(devices)) != len(devices):
            raise Refused("InvalidBlockDeviceMapping", "A device twice")
        if not any(mapping["DeviceName"] == image.root and mapping.get("Ebs")
                   for mapping in image.mappings):
            raise Refused("InvalidBlockDeviceMapping", "The root device has no snapshot")
        image.tags = self.specified(specifications, ("image",))["image"]
        image.polls = self.polls
        if wanted.get("DryRun"):
            raise self.permitted()
        self.all[image.id] = image
        return {"ImageId": image.id}

    @staticmethod
    def set_platform(image, wanted):
        image.architecture = wanted.get("Architecture", "i386")
        image.virtualization = wanted.get("VirtualizationType", "paravirtual")
        image.ena, image.sriov = wanted.get("EnaSupport", False), wanted.get("SriovNetSupport")
        image.boot_mode, image.tpm = wanted.get("BootMode"), wanted.get("TpmSupport")
        image.imds = wanted.get("ImdsSupport")
        if image.virtualization not in ("hvm", "paravirtual"):
            raise bad_value(f"VirtualizationType {image.virtualization}")
        if image.sriov not in (None, "simple"):
            raise bad_value(f"SriovNetSupport {image.sriov}")
        if image.virtualization != "hvm" and (image.ena or image.sriov or image.boot_mode):
            raise paired("EnaSupport, SriovNetSupport and BootMode are for VirtualizationType hvm")
        if image.tpm and image.boot_mode != "uefi":
            raise paired("TpmSupport needs BootMode uefi")
        if image.architecture == "arm64" and (image.boot_mode or "uefi") != "uefi":
            raise paired("Architecture arm64 supports BootMode uefi only")
        if image.architecture == "i386" and (image.boot_mode or "legacy-bios") != "legacy-bios":
            raise paired("Architecture i386 supports BootMode legacy-bios only")
        if image.architecture not in ("i386", "x86_64") and image.virtualization != "hvm":
            raise paired(f"Architecture {image.architecture} needs VirtualizationType hvm")

    def mapping(self, caller, one, before):
        device, ebs = one.get("DeviceName", ""), one.get("Ebs")
        if not DEVICE.fullmatch(device):
            raise Refused("InvalidBlockDeviceMapping", f"Invalid device name {device!r}")
        if ebs is None:
            if not re.fullmatch(r"ephemeral\d+", one.get("VirtualName", "")):
                raise Refused("InvalidBlockDeviceMapping", "Neither Ebs nor VirtualName")
            return dict(one)
        if "Encrypted" in ebs or "KmsKeyId" in ebs:
            raise paired("The encryption of a snapshot cannot be set here")
        if "SnapshotId" not in ebs:
            raise Refused("MissingParameter", "The request must contain the parameter "
                          "BlockDeviceMapping.Ebs.SnapshotId")
        snapshot = self.snapshot(caller, ebs["SnapshotId"], before)
        if snapshot.state != "completed":
            raise Refused("IncorrectState", f"Snapshot ({snapshot.id}) is not completed, but "
                          f"{snapshot.state}")
        size = ebs.get("VolumeSize", snapshot.size)
        if size < snapshot.size:
            raise Refused("InvalidBlockDeviceMapping", f"Volume of size {size}GB is smaller than "
                          f"snapshot '{snapshot.id}', expect size >= {snapshot.size}GB")
        kind = ebs.get("VolumeType", "standard")
        if ("Throughput" in ebs and kind != "gp3") or ("Iops" in ebs
                                                       and kind not in ("gp3", "io1", "io2")):
            raise paired(f"Throughput or Iops with volume type {kind}")
        return {"DeviceName": device, "Ebs": {
            "DeleteOnTermination": ebs.get("DeleteOnTermination", True),
            "SnapshotId": snapshot.id, "VolumeSize": size, "VolumeType": kind, "Encrypted": False}}

    @staticmethod
    def specified(specifications, kinds):
        """{resource type: tags} of TagSpecification.N."""
        tags = {kind: {} for kind in kinds}
        seen = set()
        for one in specifications:
            kind = one.get("ResourceType")
            if kind not in kinds or kind in seen:
                raise bad_value(f"'{kind}' is not a valid taggable resource type for this "
                                "operation, or is there twice")
            seen.add(kind)
            tags[kind] = ec2_tags(one.get("Tags", []))
        return tags

    @staticmethod
    def permitted():
        return Refused("DryRunOperation",
                       "Request would have succeeded, but DryRun flag is set.", 412)

    # --- DescribeImages, DescribeSnapshots -----------------------------------------------------

    def DescribeImages(self, caller, wanted, before):
        ids, owners = wanted.get("ImageIds", []), wanted.get("Owners", [])
        images = [self.image(caller, id_, before) for id_ in ids]
        if not ids:
            images = [image for image in self.all.values() if image.region == caller.region
                      and not image.deregistered and image.born <= before
                      and self.may_see(caller, image)]
        owners = [caller.account if owner == "self" else owner for owner in owners]
        executable = wanted.get("ExecutableUsers", [])
        if executable:
            raise Refused("FakeLacks", "ExecutableBy is not in this fake")
        now = self.clock.utc()
        images = [image for image in images if (not owners or image.account in owners)
                  and (image.account == caller.account or wanted.get("IncludeDeprecated")
                       or not image.deprecate_at or image.deprecate_at > now)]
        shown = [(image, self.show_image(image)) for image in images]
        shown = [(image, view) for image, view in shown
                 if matches(wanted.get("Filters", []), IMAGE_FILTERS, image, view)]
        page, token = self.page(caller, wanted, ids, shown)
        for image, _ in page:
            self.polled(image)
        return {"Images": [view for _, view in page], "NextToken": token}

    def polled(self, image):
        """Called when it was described: what is being copied is there after some of these."""
        image.polls -= image.polls > 0
        if image.source and image.polls == 0:
            for id_ in image.snapshots():
                self.snapshots.all[id_].state = "completed"

    @staticmethod
    def show_image(image):
        now = image.created.strftime("%Y-%m-%dT%H:%M:%S.000Z")
        deprecate = image.deprecate_at
        return {
            "Architecture": image.architecture, "CreationDate": now, "ImageId": image.id,
            "ImageLocation": f"{image.account}/{image.name}", "ImageType": "machine",
            "Public": "all" in image.groups, "OwnerId": image.account,
            "PlatformDetails": "Linux/UNIX", "UsageOperation": "RunInstances",
            "State": image.state(), "BlockDeviceMappings": image.mappings,
            "Description": image.description or None, "EnaSupport": image.ena,
            "Hypervisor": "xen", "Name": image.name, "RootDeviceName": image.root,
            "RootDeviceType": "ebs", "SriovNetSupport": image.sriov,
            "Tags": tag_list(image.tags), "VirtualizationType": image.virtualization,
            "BootMode": image.boot_mode, "TpmSupport": image.tpm, "ImdsSupport": image.imds,
            "DeprecationTime": deprecate and deprecate.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        }

    def DescribeSnapshots(self, caller, wanted, before):
        ids, owners = wanted.get("SnapshotIds", []), wanted.get("OwnerIds", [])
        if wanted.get("RestorableByUserIds"):
            raise Refused("FakeLacks", "RestorableBy is not in this fake")
        snapshots = [self.snapshot(caller, id_, before) for id_ in ids]
        if not ids:
            snapshots = [one for one in self.snapshots.all.values()
                         if self.snapshots.find(caller, one.id) and one.born <= before]
        owners = [caller.account if owner == "self" else owner for owner in owners]
        snapshots = [one for one in snapshots if not owners or one.account in owners]
        for one in snapshots:
            self.snapshots.polled(one)
        shown = [(one, self.show_snapshot(one)) for one in snapshots]
        shown = [(one, view) for one, view in shown
                 if matches(wanted.get("Filters", []), SNAPSHOT_FILTERS, one, view)]
        page, token = self.page(caller, wanted, ids, shown)
        return {"Snapshots": [view for _, view in page], "NextToken": token}

    @staticmethod
    def show_snapshot(one):
        started = datetime.datetime.fromtimestamp(int(one.started), datetime.timezone.utc)
        return {
            "Description": one.description, "Encrypted": False, "OwnerId": one.account,
            "Progress": "100%" if one.state == "completed" else "0%", "SnapshotId": one.id,
            "StartTime": started, "State": one.state, "StateMessage": one.message or None,
            "VolumeId": "vol-ffffffff", "VolumeSize": one.size, "Tags": tag_list(one.tags),
            "StorageTier": "standard",
        }

    def page(self, caller, wanted, ids, shown):
        """One page and the token of the next one."""
        most, token = wanted.get("MaxResults"), wanted.get("NextToken")
        if ids and (most is not None or token):
            raise paired("The parameters MaxResults and NextToken cannot be used with ids")
        if most is None and not token:
            return shown, None
        if most is not None and most < 5:
            raise bad_value(f"Value ( {most} ) for parameter maxResults is invalid. Expecting a "
                            "value greater than 5.")
        after = 0
        if token:
            if token not in self.pages or self.pages[token][0] != caller.account:
                raise Refused("InvalidNextToken", "The token is not valid")
            after = self.pages[token][1]
        rest = [one for one in shown if one[0].born > after]
        page = rest[:min(most or 1000, 1000)]
        if len(page) == len(rest):
            return page, None
        token = secrets.token_urlsafe(24) + "=="
        self.pages[token] = (caller.account, page[-1][0].born)
        return page, token

    # --- changes -------------------------------------------------------------------------------

    def CreateTags(self, caller, wanted, before):
        tags = ec2_tags(wanted["Tags"])
        resources = []
        for id_ in wanted["Resources"]:
            if id_.startswith("ami-"):
                resources.append(self.own_image(caller, id_, before))
            elif id_.startswith("snap-"):
                resources.append(self.snapshot(caller, id_, before))
            else:
                raise Refused("InvalidID", f"The ID '{id_}' is not valid")
        if any(len({**resource.tags, **tags}) > TAGS_MAX for resource in resources):
            raise Refused("TagLimitExceeded", "More than 50 tags")
        for resource in resources:
            resource.tags.update(tags)

    def ModifyImageAttribute(self, caller, wanted, before):
        image = self.own_image(caller, wanted["ImageId"], before)
        kinds = [name for name in ("Attribute", "Description", "LaunchPermission")
                 if name in wanted]
        if len(kinds) != 1:
            raise paired("One attribute at a time")
        if "Description" in wanted or wanted.get("Attribute") == "description":
            image.description = wanted.get("Description", {}).get("Value", wanted.get("Value", ""))
            return
        if wanted.get("Attribute", "launchPermission") != "launchPermission":
            raise bad_value(f"Attribute {wanted['Attribute']}")
        add, remove = self.changes(wanted, wanted.get("LaunchPermission"), "UserGroups")
        for one in add + remove:
            self.checked_permission(one, "InvalidAMIAttributeItemValue")
        if not image.state() == "available":
            raise Refused("IncorrectState", f"The image '{image.id}' is not available")
        for one in add:
            self.permissions(image, one).add(next(iter(one.values())))
        for one in remove:
            self.permissions(image, one).discard(next(iter(one.values())))

    @staticmethod
    def changes(wanted, change, groups):
        """(added, removed) of both ways to say it: a structure, or attribute and operation."""
        if change is None:
            listed = [{"UserId": id_} for id_ in wanted.get("UserIds", [])] \
                + [{"Group": group} for group in wanted.get(groups, [])] \
                + [{"OrganizationArn": arn} for arn in wanted.get("OrganizationArns", [])]
            if "OperationType" not in wanted or not listed:
                raise Refused("MissingParameter", "OperationType and whom it is about")
            return (listed, []) if wanted["OperationType"] == "add" else ([], listed)
        if "OperationType" in wanted:
            raise paired("OperationType is for Attribute")
        add, remove = change.get("Add", []), change.get("Remove", [])
        if not add and not remove:
            raise Refused("MissingParameter", "Neither Add nor Remove")
        return add, remove

    @staticmethod
    def checked_permission(one, code):
        if len(one) != 1:
            raise paired("One of UserId, Group and OrganizationArn each")
        if "UserId" in one and not re.fullmatch(r"\d{12}", one["UserId"]):
            raise Refused(code, f"Invalid attribute item value \"{one['UserId']}\" for userId item "
                          "type.")
        if "Group" in one and one["Group"] != "all":
            raise Refused(code, f"Invalid group {one['Group']}")

    @staticmethod
    def permissions(image, one):
        return {"UserId": image.users, "Group": image.groups}.get(next(iter(one)),
                                                                 image.organizations)

    def ModifySnapshotAttribute(self, caller, wanted, before):
        snapshot = self.snapshot(caller, wanted["SnapshotId"], before)
        if wanted.get("Attribute", "createVolumePermission") != "createVolumePermission":
            raise bad_value("Only volume creation permissions can be modified")
        if ("Attribute" in wanted) == ("CreateVolumePermission" in wanted):
            raise paired("One attribute at a time")
        add, remove = self.changes(wanted, wanted.get("CreateVolumePermission"), "GroupNames")
        if add and remove:
            raise paired("Add and remove in one request")
        for one in add + remove:
            self.checked_permission(one, "InvalidParameterValue")
        if snapshot.state != "completed":
            raise Refused("IncorrectState", f"Snapshot {snapshot.id} is not completed")
        for one in add + remove:
            if "Group" in one:
                snapshot.public = bool(add)
            elif add:
                snapshot.users.add(one["UserId"])
            else:
                snapshot.users.discard(one["UserId"])

    def CopyImage(self, caller, wanted, before):
        place = (caller.account, caller.region, wanted.get("ClientToken"))
        asked = {name: value for name, value in wanted.items() if name != "DryRun"}
        earlier = self.tokens.get(place) if place[2] else None
        if earlier:
            if earlier[0] != asked:
                raise Refused("IdempotentParameterMismatch", "The client token was used with "
                              "other parameters")
            return {"ImageId": earlier[1]}
        source = self.all.get(wanted["SourceImageId"])
        if source is None or source.deregistered or source.region != wanted["SourceRegion"] \
                or not self.may_see(caller, source) or source.born > before:
            raise image_missing(wanted["SourceImageId"])
        if source.state() != "available":
            raise Refused("InvalidRequest", f"Image {source.id} is not available")
        if not NAME.fullmatch(wanted["Name"]) or len(place[2] or "") > 64:
            raise bad_value("Name or ClientToken")
        tags = self.specified(wanted.get("TagSpecifications", []), ("image", "snapshot"))
        image = self.copy_of(caller, source, wanted, tags)
        if place[2]:
            self.tokens[place] = (asked, image.id)
        return {"ImageId": image.id}

    def copy_of(self, caller, source, wanted, tags):
        """Its name need not be its own, unlike a registered one's."""
        image = Image(caller, wanted["Name"], next(self.snapshots.moment), self.clock.utc())
        for name in ("architecture", "virtualization", "root", "ena", "sriov", "boot_mode", "tpm",
                     "imds"):
            setattr(image, name, getattr(source, name))
        image.description = wanted.get("Description", source.description)
        image.source, image.polls = source.id, self.copy_polls
        image.tags = {**(source.tags if wanted.get("CopyImageTags") else {}), **tags["image"]}
        for mapping in source.mappings:
            if mapping.get("Ebs"):
                snapshot = self.copy_snapshot(caller, mapping["Ebs"]["SnapshotId"], image, source)
                snapshot.tags = dict(tags["snapshot"])
                mapping = {**mapping, "Ebs": {**mapping["Ebs"], "SnapshotId": snapshot.id}}
            image.mappings.append(mapping)
        self.all[image.id] = image
        return image

    def copy_snapshot(self, caller, id_, image, source):
        original = self.snapshots.all[id_]
        copy = self.snapshots.make(caller, original.size)
        copy.parent, copy.sealed, copy.polls = original, True, 1 << 30
        copy.description = f"Copied for DestinationAmi {image.id} from SourceAmi {source.id}."
        return copy

    def EnableImageDeprecation(self, caller, wanted, before):
        image = self.own_image(caller, wanted["ImageId"], before)
        when, now = wanted["DeprecateAt"], self.clock.utc()
        years = 2 if "all" in image.groups else 10
        if not now <= when <= now + datetime.timedelta(days=366 * years):
            raise bad_value("DeprecateAt is in the past or too far away")
        image.deprecate_at = when.replace(second=0) \
            + datetime.timedelta(minutes=int(when.second >= 30))
        return {"Return": True}

    def DeregisterImage(self, caller, wanted, before):
        self.own_image(caller, wanted["ImageId"], before).deregistered = True

    def DeleteSnapshot(self, caller, wanted, before):
        snapshot = self.snapshot(caller, wanted["SnapshotId"], before)
        for image in self.all.values():
            if not image.deregistered and snapshot.id in image.snapshots():
                raise Refused("InvalidSnapshot.InUse", f"The snapshot {snapshot.id} is currently "
                              f"in use by {image.id}")
        snapshot.deleted = True

    def DescribeImageAttribute(self, caller, wanted, before):
        image = self.own_image(caller, wanted["ImageId"], before)
        if wanted["Attribute"] != "launchPermission":
            raise Refused("FakeLacks", f"{wanted['Attribute']} is not in this fake")
        users = [{"UserId": user} for user in sorted(image.users)]
        return {"ImageId": image.id, "LaunchPermissions":
                users + [{"Group": group} for group in sorted(image.groups)]}

    def DescribeSnapshotAttribute(self, caller, wanted, before):
        snapshot = self.snapshot(caller, wanted["SnapshotId"], before)
        if wanted["Attribute"] != "createVolumePermission":
            raise Refused("FakeLacks", f"{wanted['Attribute']} is not in this fake")
        users = [{"UserId": user} for user in sorted(snapshot.users)]
        return {"SnapshotId": snapshot.id, "CreateVolumePermissions":
                users + ([{"Group": "all"}] if snapshot.public else [])}

    # --- for tests -----------------------------------------------------------------------------

    def forget(self):
        with self.lock:
            self.all, self.tokens = {}, {}

    def show(self):
        with self.lock:
            return [{"id": image.id, "account": image.account, "region": image.region,
                     "name": image.name, "description": image.description,
                     "architecture": image.architecture, "virtualization": image.virtualization,
                     "root": image.root, "mappings": image.mappings, "ena": image.ena,
                     "sriov": image.sriov, "boot_mode": image.boot_mode, "tpm": image.tpm,
                     "imds": image.imds, "tags": image.tags, "users": sorted(image.users),
                     "groups": sorted(image.groups), "state": image.state(),
                     "deprecate_at": image.deprecate_at and image.deprecate_at.isoformat(),
                     "source": image.source, "snapshots": image.snapshots()}
                    for image in self.all.values() if not image.deregistered]


OPERATIONS = [name for name in vars(Images) if name[0].isupper()]


def ec2_tags(tags):
    for tag in tags:
        if len(tag.get("Key", "")) > 127 or len(tag.get("Value", "")) > 255:
            raise bad_value("A tag that is too long")
    try:
        return tag_map(tags)
    except Refused as problem:
        raise bad_value(str(problem)) from None


def tag_list(tags):
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def of_mapping(name):
    return lambda image, view: [mapping["Ebs"][name] for mapping in view["BlockDeviceMappings"]
                                if mapping.get("Ebs")]


def field(name):
    return lambda one, view: [view[name]]


IMAGE_FILTERS = {
    "architecture": field("Architecture"), "creation-date": field("CreationDate"),
    "description": field("Description"), "ena-support": field("EnaSupport"),
    "image-id": field("ImageId"), "image-type": field("ImageType"), "is-public": field("Public"),
    "name": field("Name"), "owner-id": field("OwnerId"), "root-device-name":
    field("RootDeviceName"), "root-device-type": field("RootDeviceType"), "state": field("State"),
    "virtualization-type": field("VirtualizationType"),
    "block-device-mapping.snapshot-id": of_mapping("SnapshotId"),
    "block-device-mapping.volume-type": of_mapping("VolumeType"),
    "block-device-mapping.volume-size": of_mapping("VolumeSize"),
    "tag-key": lambda image, view: list(image.tags),
}
SNAPSHOT_FILTERS = {
    "description": field("Description"), "encrypted": field("Encrypted"),
    "owner-id": field("OwnerId"), "progress": field("Progress"),
    "snapshot-id": field("SnapshotId"), "status": field("State"),
    "storage-tier": field("StorageTier"), "volume-id": field("VolumeId"),
    "volume-size": field("VolumeSize"), "tag-key": lambda one, view: list(one.tags),
}


def text(value):
    return str(value).lower() if isinstance(value, bool) else str(value)


def like(value, pattern):
    """'*' and '?' are wildcards, '\\' makes them letters."""
    pattern = re.sub(r"\\(.)|\[", lambda found: f"[{found[1] or '['}]", pattern)
    return fnmatch.fnmatchcase(text(value), pattern)


def matches(filters, known, one, view):
    """Each filter must match, by any of its values."""
    for condition in filters:
        name, wanted = condition.get("Name", ""), condition.get("Values", [])
        if not wanted:
            raise Refused("MissingParameter", f"The filter '{name}' has no value")
        if name.startswith("tag:"):
            values = [one.tags[name[4:]]] if name[4:] in one.tags else []
        elif name in known:
            values = known[name](one, view)
        else:
            raise bad_value(f"The filter '{name}' is invalid")
        if not any(like(value, pattern) for value in values if value is not None
                   for pattern in wanted):
            return False
    return True
