# SPDX-License-Identifier: Apache-2.0
"""EBS direct: snapshots and their blocks. A snapshot's blocks are a sparse file of its own in
'blocks'; what it lacks is its parent's."""
import base64
import hashlib
import itertools
import os
import secrets
import threading

BLOCK = 512 << 10
ZERO = hashlib.sha256(bytes(BLOCK)).digest()
PENDING_MAX = 100  # snapshots of an account at once, by the default quota


class Refused(Exception):
    """An error as the service gives it."""

    def __init__(self, code, message, status=400, reason=None):
        super().__init__(message)
        self.code, self.status, self.reason = code, status, reason


def invalid(reason, message):
    return Refused("ValidationException", message, 400, reason)


class Snapshot:
    def __init__(self, id_, caller, size, now):
        self.id, self.account, self.region, self.size = id_, caller.account, caller.region, size
        self.description, self.tags = "", {}
        self.state, self.message = "pending", ""
        self.sealed = False  # completion was asked for
        self.polls = 0       # so many descriptions show it pending then
        self.parent = None   # Snapshot
        self.timeout, self.touched, self.started = 60, now, now
        self.born = 0
        self.digests = {}    # of the blocks that were written
        self.writing = set()
        self.puts = 0
        self.file = None
        self.deleted = False
        self.users, self.public = set(), False
        self.checksum = None  # what completion said

    def blocks(self):
        return self.size << 11

    def layers(self):
        """It and its ancestors, the oldest first."""
        chain, layer = [], self
        while layer:
            chain.insert(0, layer)
            layer = layer.parent
        return chain


class Snapshots:
    """All of all accounts and regions. 'lock' also guards the images."""

    def __init__(self, directory, clock):
        self.directory, self.clock = directory, clock
        self.lock = threading.RLock()
        self.all = {}
        self.tokens = {}
        self.moment = itertools.count(1)
        self.polls = 2
        os.makedirs(directory, exist_ok=True)

    def make(self, caller, size):
        snapshot = Snapshot(f"snap-0{secrets.token_hex(8)}", caller, size, self.clock.now())
        snapshot.born = next(self.moment)
        snapshot.file = os.open(os.path.join(self.directory, snapshot.id + ".blocks"),
                                os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self.all[snapshot.id] = snapshot
        return snapshot

    def tick(self, snapshot):
        """Cancels one that nobody has written to for too long."""
        idle = self.clock.now() - snapshot.touched
        if snapshot.state == "pending" and not snapshot.sealed and idle > snapshot.timeout * 60:
            snapshot.state, snapshot.message = "error", "The snapshot timed out"

    def find(self, caller, id_):
        """The caller's own, or None."""
        snapshot = self.all.get(id_)
        if snapshot is None or snapshot.deleted or snapshot.account != caller.account \
                or snapshot.region != caller.region:
            return None
        self.tick(snapshot)
        return snapshot

    def own(self, caller, id_):
        snapshot = self.find(caller, id_)
        if snapshot is None:
            raise Refused("ResourceNotFoundException", f"The snapshot '{id_}' does not exist.", 404,
                          "SNAPSHOT_NOT_FOUND")
        return snapshot

    def writable(self, caller, id_):
        snapshot = self.own(caller, id_)
        if snapshot.state != "pending" or snapshot.sealed:
            raise invalid("INVALID_SNAPSHOT_ID", f"The snapshot '{id_}' is not pending.")
        return snapshot

    # --- operations ----------------------------------------------------------------------------

    def start(self, caller, wanted):
        with self.lock:
            place = (caller.account, caller.region, wanted.get("ClientToken"))
            before = self.tokens.get(place) if place[2] else None
            if before:
                if before[0] != wanted:
                    raise Refused("ConflictException", "The request uses the same client token as "
                                  "a previous, but non-identical request.", 409)
                return before[1]
            result = self.start_new(caller, wanted)
            if place[2]:
                self.tokens[place] = (dict(wanted), result)
            return result

    def start_new(self, caller, wanted):
        parent = self.parent_of(caller, wanted)
        if wanted.get("KmsKeyArn") and not wanted.get("Encrypted"):
            raise invalid("INVALID_PARAMETER_VALUE", "KmsKeyArn without Encrypted")
        pending = [one for one in self.all.values() if one.account == caller.account
                   and one.region == caller.region and not one.deleted and one.state == "pending"]
        if len(pending) >= PENDING_MAX:
            raise Refused("ConcurrentLimitExceededException", "Too many pending snapshots.")
        tags = tag_map(wanted.get("Tags", []))
        snapshot = self.make(caller, wanted["VolumeSize"])
        snapshot.parent, snapshot.tags = parent, tags
        snapshot.description = wanted.get("Description", "")
        snapshot.timeout = wanted.get("Timeout", 60)
        result = {"SnapshotId": snapshot.id, "OwnerId": snapshot.account, "Status": "pending",
                  "StartTime": snapshot.started, "VolumeSize": snapshot.size, "BlockSize": BLOCK}
        for name in ("Description", "Tags", "ParentSnapshotId", "KmsKeyArn"):
            if name in wanted:
                result[name] = wanted[name]
        return result

    def parent_of(self, caller, wanted):
        if "ParentSnapshotId" not in wanted:
            return None
        if "Encrypted" in wanted:
            raise invalid("INVALID_PARAMETER_VALUE", "Encrypted together with ParentSnapshotId")
        parent = self.own(caller, wanted["ParentSnapshotId"])
        if parent.state != "completed":
            raise invalid("INVALID_SNAPSHOT_ID", "The parent snapshot is not completed.")
        if wanted["VolumeSize"] < parent.size:
            raise invalid("INVALID_VOLUME_SIZE", "The volume is smaller than the parent's.")
        return parent

    def put(self, caller, wanted, view, digest):
        """VIEW: the block's bytes, DIGEST: their SHA-256."""
        index, claimed = wanted["BlockIndex"], base64.b64encode(digest).decode()
        with self.lock:
            snapshot = self.writable(caller, wanted["SnapshotId"])
            snapshot.touched = self.clock.now()
            if index >= snapshot.blocks():
                raise invalid("INVALID_BLOCK", f"Block {index} is beyond the volume's end.")
            if wanted["Checksum"] != claimed:
                raise invalid("INVALID_BLOCK", "The checksum is not that of the data.")
            if index in snapshot.writing:
                raise invalid("CONFLICTING_BLOCK_UPDATE", f"Block {index} is being written.")
            snapshot.writing.add(index)
        try:
            os.pwrite(snapshot.file, view, index * BLOCK)
        finally:
            with self.lock:
                snapshot.writing.discard(index)
        with self.lock:
            self.writable(caller, wanted["SnapshotId"])
            snapshot.digests[index] = digest
            snapshot.puts += 1
        return {"Checksum": claimed, "ChecksumAlgorithm": "SHA256"}

    def complete(self, caller, wanted):
        with self.lock:
            snapshot = self.own(caller, wanted["SnapshotId"])
            given = [name for name in ("Checksum", "ChecksumAlgorithm",
                                       "ChecksumAggregationMethod") if name in wanted]
            if len(given) not in (0, 3):
                raise invalid("INVALID_PARAMETER_VALUE",
                              "Checksum, its algorithm and its aggregation go together.")
            if snapshot.state != "pending":
                raise invalid("INVALID_SNAPSHOT_ID", "The snapshot is not pending.")
            if wanted["ChangedBlocksCount"] != len(snapshot.digests):
                raise invalid("INVALID_PARAMETER_VALUE", f"{len(snapshot.digests)} blocks were "
                              f"written, not {wanted['ChangedBlocksCount']}.")
            linear = hashlib.sha256(b"".join(snapshot.digests[index]
                                             for index in sorted(snapshot.digests))).digest()
            if given and wanted["Checksum"] != base64.b64encode(linear).decode():
                raise invalid("INVALID_PARAMETER_VALUE", "The checksum is not that of the blocks.")
            if not snapshot.sealed:
                snapshot.sealed, snapshot.polls = True, self.polls
                snapshot.checksum = wanted.get("Checksum")
                self.settle(snapshot)
            return {"Status": snapshot.state}

    @staticmethod
    def settle(snapshot):
        if snapshot.sealed and snapshot.polls <= 0 and snapshot.state == "pending":
            snapshot.state = "completed"

    def polled(self, snapshot):
        """Called when it was described."""
        self.tick(snapshot)
        if snapshot.sealed and snapshot.state == "pending":
            snapshot.polls -= 1
            self.settle(snapshot)

    # --- for tests -----------------------------------------------------------------------------

    def cancel(self, id_):
        with self.lock:
            if id_ in self.all and self.all[id_].state == "pending":
                self.all[id_].state, self.all[id_].message = "error", "cancelled by the test"

    def forget(self):
        with self.lock:
            for snapshot in self.all.values():
                os.close(snapshot.file)
                os.unlink(os.path.join(self.directory, snapshot.id + ".blocks"))
            self.all, self.tokens = {}, {}

    @staticmethod
    def source(snapshot):
        """Which layer has a block: {index: snapshot}."""
        source = {}
        for layer in snapshot.layers():
            source.update(dict.fromkeys(layer.digests, layer))
        return source

    def disk_digest(self, snapshot):
        """The volume's, as kiln has it: SHA-256 over those of all blocks."""
        digests = [ZERO] * snapshot.blocks()
        for index, layer in self.source(snapshot).items():
            digests[index] = layer.digests[index]
        return hashlib.sha256(b"".join(digests)).hexdigest()

    def reassemble(self, id_, path):
        """The volume of a snapshot, its ancestors' blocks included, as a sparse file."""
        snapshot = self.all[id_]
        source = self.source(snapshot)
        with open(path, "wb") as out:
            out.truncate(snapshot.size << 30)
            for index, layer in source.items():
                if layer.digests[index] == ZERO:
                    continue
                data = os.pread(layer.file, BLOCK, index * BLOCK)
                if hashlib.sha256(data).digest() != layer.digests[index]:
                    raise ValueError(f"block {index} of {layer.id} is not what was put")
                os.pwrite(out.fileno(), data, index * BLOCK)

    def show(self):
        with self.lock:
            return [self.show_one(one) for one in self.all.values() if not one.deleted]

    def show_one(self, one):
        self.tick(one)
        return {"id": one.id, "account": one.account, "region": one.region, "size": one.size,
                "state": one.state, "sealed": one.sealed, "description": one.description,
                "tags": one.tags, "parent": one.parent.id if one.parent else None,
                "blocks": len(one.digests), "puts": one.puts, "timeout": one.timeout,
                "zeros": sum(digest == ZERO for digest in one.digests.values()),
                "checksum": one.checksum, "disk_digest": self.disk_digest(one), "users": sorted(one.users), "public": one.public}


def tag_map(tags):
    """{key: value}, as both services want their tags."""
    values = {tag.get("Key"): tag.get("Value", "") for tag in tags}
    if len(values) != len(tags):
        raise invalid("INVALID_TAG", "A key of a tag twice.")
    for key in values:
        if not key or key.startswith("aws:"):
            raise invalid("INVALID_TAG", f"Tag keys starting with 'aws:' are reserved: {key!r}")
    return values
