# SPDX-License-Identifier: Apache-2.0
# Publishing to OpenStack: real Keystone and Glance, which end well or badly in every way they can.
# timeout: 400
# shellcheck source-path=SCRIPTDIR/..
source "$TOP/tests/lib.sh"
source "$TOP/tests/lib/publish.sh"
source "$TOP/tests/lib/openstack.sh"
need qemu-img

cloud_start
echo "servers after $SECONDS s"
cloud_entry lab "$(password)" 'region_name: one'
cloud_entry credential "application_credential_id: $(fact credential id), \
application_credential_secret: $(fact credential secret)" 'auth_type: v3applicationcredential'

targets=('lab: {cloud: openstack, os_cloud: lab, tags: [web, lab], min_ram: 512MiB,'
    '  properties: {hw_disk_bus: virtio, os_type: other}, name: "Web & more"}'
    'rawdisk: {cloud: openstack, os_cloud: credential, region: two, disk_format: raw}'
    "shared: {cloud: openstack, os_cloud: lab, visibility: shared, protected: true,"
    "  share_with: [$(fact other)]}"
    'community: {cloud: openstack, os_cloud: lab, visibility: community}'
    'public: {cloud: openstack, os_cloud: lab, visibility: public}'
    'lossy: {cloud: openstack, os_cloud: lossy}')
for name in wrong unversioned named regions internal unverified user; do
    targets+=("$name: {cloud: openstack, os_cloud: $name}")
done
for name in environment; do
    targets+=("$name: {cloud: openstack}")
done
for name in expired revoked died left changed k1 k2 k3 k4 k5 k6; do
    targets+=("$name: {cloud: openstack, os_cloud: lab}")
done
targets+=('rawchanged: {cloud: openstack, os_cloud: lab, disk_format: raw}')
FORMATS=raw,qcow2 publish_profile one.yaml 1 "${targets[@]}"
expect_status 0 "$KILN" build one.yaml -o one
FORMATS=raw publish_profile large.yaml 1 'large: {cloud: openstack, os_cloud: lab, disk_format: raw}'
sed -i 's/size: 1GiB/size: 2GiB/' large.yaml
expect_status 0 "$KILN" build large.yaml -o large

# --- an image is what the bundle has -----------------------------------------------------------

uploads()
{
    grep -c 'PUT /v2/images/[^ ]*/file' "$CLOUD/glance.uwsgi.log" || true
}

echo "publish, $SECONDS s"
expect_status 0 "$KILN" publish one --target lab,rawdisk --json -v
keep_said
expect_text stdout '"account":"project demo of domain Default"' \
    'application credential ci of user publisher of domain Default, from cloud '
sent=$(uploads) # sqlite may not let two images become active at once: then one is sent again
digest=$(python3 -c 'import json; print(json.load(open("one/manifest.json"))["disk"]["digest"])')
read -r image status <<<"$(images one lab)"
[ "$status" = active ] || fail "lab is $status"
cloud download "$image" downloaded.qcow2
cmp downloaded.qcow2 one/disk.qcow2
qemu-img convert -O raw downloaded.qcow2 downloaded.raw
[ "$(disk_digest downloaded.raw)" = "$digest" ] || fail "the image has another digest"
read -r image status <<<"$(images one rawdisk)"
[ "$status" = active ] || fail "rawdisk is $status"
[ "$(disk_digest "$CLOUD/images/$image")" = "$digest" ] || fail "the raw image has another digest"
rm downloaded.*
publish 0 one lab
expect_image one lab disk.qcow2
expect_text image.json '"name": "Web & more"' '"disk_format": "qcow2"' '"min_disk": 1' \
    '"min_ram": 512' '"hw_disk_bus": "virtio"' '"os_type": "other"' '"architecture": "x86_64"' \
    '"visibility": "private"' "\"kiln_disk_digest\": \"$digest\"" '"web"' '"lab"'
expect_no_text image.json hw_firmware_type

echo "again, $SECONDS s"
expect_status 0 "$KILN" publish one --target lab,rawdisk
keep_said
[ "$(grep -c '  unchanged  ' stdout)" -eq 2 ] || fail "something was published again"
mv one/publish elsewhere
expect_status 0 "$KILN" publish one --target lab,rawdisk
keep_said
[ "$(grep -c '  unchanged  ' stdout)" -eq 2 ] || fail "without journals it was published again"
[ "$(uploads)" -eq "$sent" ] || fail "something was sent again"

cloud delete "/v2/images/$(images one rawdisk | cut -d' ' -f1)" # there is a quota

publish 0 one shared
cloud get "/v2/images/$image/members" >members.json
expect_text members.json "\"member_id\": \"$(fact other)\""
cloud get "/v2/images/$image" >image.json
expect_text image.json '"protected": true' '"visibility": "shared"'
publish 0 one shared
[ "$(result status)" = unchanged ] || fail "shared was published again"
publish 0 one community
publish 0 one community
[ "$(result status)" = unchanged ] || fail "community was published again"

# --- whoever it is, it is the same publish -----------------------------------------------------

echo "configurations, $SECONDS s"
URL=${AUTH_URL%/v3} cloud_entry unversioned "$(password)" 'region_name: one'
cloud_entry named "username: publisher, application_credential_name: ci, \
application_credential_secret: $(fact credential secret)" 'region_name: one'
cloud_entry regions "$(password)"
cloud_entry internal "$(password)" 'interface: internal'
cloud_entry unverified "$(password)" 'verify: false'
cloud_entry wrong 'username: publisher, password: PLANTED-wrong, project_name: demo'
cloud_entry user "$(password)" 'region_name: one, image_endpoint_override: "https://127.0.0.1:9/"'
for target in unversioned named; do
    publish 0 one "$target"
done
export OS_AUTH_URL=$AUTH_URL OS_USERNAME=publisher OS_PASSWORD=$USER_PASSWORD OS_PROJECT_NAME=demo \
    OS_REGION_NAME=one OS_CACERT=$CA
publish 0 one environment
expect_text stdout 'from the environment'
OS_AUTH_TYPE=v3token OS_TOKEN=$(cloud token) publish 0 one environment
[ "$(result status)" = unchanged ] || fail "with a token it is another publish"
OS_AUTH_TYPE=v3token OS_TOKEN=PLANTED-token publish 5 one environment
expect_text stderr 'did not accept the environment' 'get another one'
OS_CACERT='' publish 5 one environment
expect_text stderr 'certificate'
OS_CACERT='' OS_INSECURE=true publish 2 one environment
expect_text stderr 'asks not to verify certificates' OS_CACERT
unset OS_AUTH_URL OS_USERNAME OS_PASSWORD OS_PROJECT_NAME OS_REGION_NAME OS_CACERT
publish 2 one environment
expect_text stderr 'has several clouds' 'lab, credential, '
publish 5 one regions
expect_text stderr 'several regions, and none was chosen' 'one, two'
publish 5 one internal
expect_text stderr "no image endpoint of interface 'internal'" 'it has: public'
publish 2 one unverified
expect_text stderr 'asks not to verify certificates'
publish 5 one user --retry-for 1s
expect_text stderr '127.0.0.1:9'
publish 5 one wrong
expect_text stderr "did not accept cloud 'wrong' of" 'status 401' 'check username, password'

# --- what servers refuse -----------------------------------------------------------------------

echo "refusals, $SECONDS s"
publish 5 one public
expect_text stderr 'the image cannot be made' 'status 403' 'for administrators only'
publish 5 large large
expect_text stderr 'the data is refused' 'quota' 'status 413' 'a quota of the project'
[ "$(images large large | cut -d' ' -f2)" = queued ] || fail "images: $(images large large)"
expect_status 0 "$KILN" publish large --abort
[ -z "$(images large large)" ] || fail "left: $(images large large)"
for copy in changed copy; do
    cp -a --reflink=auto one "$copy"
    rm -r "$copy/publish"
done
python3 - <<'EOF2'
for name, place in (("changed/disk.qcow2", 5000000), ("changed/disk.raw", None)):
    with open(name, "r+b") as file:
        if place is None:  # somewhere in the data
            place = next(at for at in range(100 << 20, 1 << 30, 1 << 16)
                         if file.seek(at) is not None and any(file.read(512)))
        file.seek(place)
        byte = file.read(1)
        file.seek(place)
        file.write(bytes([byte[0] ^ 1]))
EOF2
for target in changed rawchanged; do
    publish 4 changed "$target"
    [ -z "$(images changed "$target")" ] || fail "left: $(images changed "$target")"
done
expect_text stderr 'disk.raw'

# --- tokens that end ---------------------------------------------------------------------------

echo "tokens, $SECONDS s"
slowly one revoked
tr '\0' ' ' <"/proc/$publisher/cmdline" >said/cmdline
cloud revoke
mkdir -p beside
(cd beside && expect_status 5 "$KILN" publish ../copy --target revoked &&
    expect_text stderr 'is being uploaded from elsewhere')
finish 0
expect_image one revoked disk.qcow2
cloud restart keystone token.expiration=3
slowly one expired
finish 0
cloud restart keystone
expect_image one expired disk.qcow2

# --- servers that end --------------------------------------------------------------------------

echo "servers, $SECONDS s"
slowly one died
cloud kill glance
cloud restart glance DEFAULT.hashing_algorithm=sha256
finish 0
expect_text stderr 'was left half saved'
expect_image one died disk.qcow2
expect_text image.json '"os_hash_algo": "sha256"'

slowly one left
kill -9 "$publisher"
finish 137
expect_status 0 "$KILN" publish one --abort --target left -v
keep_said
[ -z "$(images one left)" ] || fail "left: $(images one left)"
publish 0 one left
expect_image one left disk.qcow2

cloud tamper "$image"
sed -i '/phase.activate/q' one/publish/left.*.journal
publish 0 one left
expect_text stderr 'has other bytes than were sent'
expect_image one left disk.qcow2

# --- kiln that ends ----------------------------------------------------------------------------

echo "answers that are lost, $SECONDS s"
exec 9> >(exec python3 "$TOP/tests/lib/lossy.py" port "$(fact ports glance)")
for try in $(seq 100); do
    [ ! -f port ] || break
    sleep 0.05
done
cloud_entry lossy "$(password)" "region_name: one, \
image_endpoint_override: \"https://127.0.0.1:$(cat port)\""
publish 0 one lossy
expect_image one lossy disk.qcow2
expect_text stderr 'trying again'

echo "kills, $SECONDS s"
kill_rounds one 6

# --- and nothing was told ----------------------------------------------------------------------

echo "secrets, $SECONDS s"
grep -q PLANTED "$OS_CLIENT_CONFIG_FILE" || fail "the test plants nothing"
expect_no_secret cloud
! grep -rl gAAAA said one/publish || fail "a token was told" # all of Keystone's begin so
expect_harmless said/*
echo "all after $SECONDS s"
