# SPDX-License-Identifier: Apache-2.0
# parallel: yes
# 'layer show' of a directory: a config tree, whatever its files are called, unless it is an image.
source "$TOP/tests/lib.sh"
make_tree tree
# shows TEXT NAME=CONTENT...: a copy of the tree with these files more.
shows()
{
    local text=$1 word

    shift
    rm -rf copy
    cp -r tree copy
    for word; do
        printf '%s' "${word#*=}" >"copy/${word%%=*}"
    done
    expect_status 0 "$KILN" layer show copy
    expect_text stdout ' etc/motd' "$text"
}
shows ' manifest.json' 'manifest.json={"name": "an app"}'
shows ' manifest.json' 'manifest.json=[{"Config": 1}]'
shows ' manifest.json' 'manifest.json=no JSON'
shows ' oci-layout' 'oci-layout={"imageLayoutVersion": "1.0.0"}'
shows ' index.json' 'index.json=[]' 'manifest.json=[]'
mkdir tree/manifest.json
shows ' manifest.json'
rmdir tree/manifest.json

# What says it is an image is read as one, and these are none that can be read.
mkdir image
printf '[{"Config": "c.json", "RepoTags": null, "Layers": ["l.tar"]}]' >image/manifest.json
expect_status 1 "$KILN" layer show image
expect_text stderr l.tar
rm image/manifest.json
echo '{"imageLayoutVersion": "1.0.0"}' >image/oci-layout
echo '{"schemaVersion": 2, "manifests": []}' >image/index.json
run "$KILN" layer show image
[ "$status" -ne 0 ] || { cat stdout; fail "an image without content was shown"; }
