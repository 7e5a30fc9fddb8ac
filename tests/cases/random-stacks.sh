# SPDX-License-Identifier: Apache-2.0
# timeout: 300
# parallel: yes
# tier: test
# Random stacks: the same seed gives the same bytes, kiln takes every one, all that they are for is in
# them, and what kiln's index says of them is what the definition of the fold says.
source "$TOP/tests/lib.sh"
stack="$TOP/tests/lib/random_stack.py"
fold="$TOP/tests/lib/reference_fold.py"

# Known ones, chosen so that together they have everything.
known=(1 4 38)
for seed in "${known[@]}"; do
    python3 "$stack" "$seed" "stack-$seed"
done
for seed in 1 4; do
    (umask 077 && TZ=Asia/Tokyo LC_ALL=C PYTHONHASHSEED=$seed python3 "$stack" "$seed" again)
    diff -r --no-dereference "stack-$seed" again || fail "two stacks of seed $seed"
    (cd "stack-$seed" && find . -printf '%P %y %m\n' | sort) >one
    (cd again && find . -printf '%P %y %m\n' | sort) >other
    cmp one other || fail "other modes of seed $seed"
done
rm -r again

PYTHONPATH=$TOP/tests/lib python3 - stack-* <<'X' || fail "the stacks lack something, or share it"
import collections
import sys

import reference_fold

seen, count, kinds = {}, collections.Counter(), set()
for stack in sys.argv[1:]:
    profile, _ = reference_fold.fold(f"{stack}/profile.yaml")
    assert 2 <= len(profile["layers"]) <= 8, stack
    count["partitions"] = max(count["partitions"], len(profile["disk"]["partitions"]))
    tree, large = reference_fold.Tree(), collections.Counter()
    for spec in profile["layers"]:
        kinds.add(next(iter(spec)))
        for entries, merge in reference_fold.read_layer(spec, stack):
            kinds.add(merge)
            mine = {}
            for path, e in entries:
                name = path.rpartition(b"/")[2]
                parent, _ = tree.parent(path, merge, False)
                here = parent and parent.children.get(name)
                hides = name.startswith(b".wh.")
                count["whiteout"] += hides
                count["opaque"] += name == b".wh..wh..opq"
                hidden = parent and parent.children.get(name[4:]) if hides else None
                count["whiteout of directory"] += bool(hidden) and hidden.kind == "dir"
                count["whiteout of one name of several"] += bool(hidden) and hidden.record.get("linked", False)
                if here and not hides:
                    count[f"{here.kind} to {e['kind']}"] += here.kind != e["kind"]
                    count["one name of several replaced"] += here.record.get("linked", False)
                    count["directory changed"] += e["kind"] == "dir" == here.kind
                    count["other size"] += e["kind"] == "file" == here.kind and here.record["size"] != e["size"]
                whole = tree.root if path else None
                for part in reference_fold.components(path)[:-1]:
                    whole = whole.children.get(part) if whole else None
                    count["through a symlink"] += bool(whole) and whole.kind == "link"
                if e["kind"] == "hard":
                    count["link to lower"] += e["target"].strip(b"./") not in mine
                    count["link to own"] += e["target"].strip(b"./") in mine
                mine[path.strip(b"./")] = e
                count[e["kind"]] += not hides
                count["255 bytes"] += len(name) == 255
                count["not UTF-8"] += name != name.decode("utf-8", "ignore").encode()
                count["long symlink"] += len(e.get("target", b"")) > 59 and e["kind"] == "link"
                count["32-bit id"] += e["uid"] > 0x7fffffff
                count["nanoseconds"] += bool(e["mtime"]) and e["mtime"] % reference_fold.nasty.NS != 0
                count["before 1970"] += bool(e["mtime"]) and e["mtime"] < 0
                count["large attributes"] += sum(map(len, e["xattrs"].values())) > 300
                for attribute in e["xattrs"]:
                    count[attribute.split(".")[0]] += 1
                    count["ACL"] += "posix_acl_access" in attribute
                    count["default ACL"] += "posix_acl_default" in attribute
                if e["kind"] == "file" and not hides:
                    count["empty"] += e["size"] == 0
                    count["MiB"] += e["size"] >= 1 << 20 and not e["data"]
                    count["holes"] += bool(e["data"])
                    count["nothing but a hole"] += e["data"] == "none"
                    if e["size"] >= 16 and e["data"] != "none":
                        assert seen.setdefault(e["sha256"], stack) == stack, (stack, path)
            tree.apply(entries, merge)
            names = collections.Counter(id(node.record) for node in tree.root.walk())
            for node in tree.root.walk():
                if node.kind != "dir" and names[id(node.record)] > 1:
                    node.record["linked"] = True
                large[node.path()] = max(large[node.path()], len(node.children))
            for path, most in large.items():
                now = tree.find(path)
                count["hundreds in a directory"] = max(count["hundreds in a directory"], most)
                count["directory shrunk"] += most > 60 and now is not None and 0 < len(now.children) < most / 2
wanted = """whiteout, opaque, whiteout of directory, whiteout of one name of several, one name of several replaced,
    file to dir, dir to file, dir to link, link to file, file to link, file to hard, directory changed, other size,
    through a symlink, link to lower, link to own, file, dir, link, hard, char, block, fifo, 255 bytes, not UTF-8,
    long symlink, 32-bit id, nanoseconds, before 1970, large attributes, user, security, trusted, ACL, default ACL,
    empty, MiB, holes, nothing but a hole, directory shrunk"""
missing = [what for what in " ".join(wanted.split()).split(", ") if not count[what]]
assert not missing, missing
assert kinds == {"archive", "directory", "files", True, False}, kinds
assert count["partitions"] == 3 and count["hundreds in a directory"] >= 5000, count
X

# These and six more, as kiln sees them.
first=${SEED-7000}
echo "SEED=$first"
for seed in "${known[@]}" $(seq "$first" $((first + 5))); do
    python3 "$stack" "$seed" "stack-$seed"
    expect_status 0 "$KILN" plan "stack-$seed/profile.yaml"
    expect_status 0 "$KILN" build --no-cache --engine native "stack-$seed/profile.yaml" -o bundle
    python3 "$fold" --index "stack-$seed/profile.yaml" bundle || fail "SEED=$seed: not the fold"
    rm -r bundle "stack-$seed"
done
