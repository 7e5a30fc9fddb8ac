# SPDX-License-Identifier: Apache-2.0
# timeout: 600
# A whole build, with all that it starts, makes no socket but AF_UNIX; engine native makes none, and
# starts nothing.
source "$TOP/tests/lib.sh"
need strace
make_layer tiny.tar
ENGINE=guestfs FORMATS='raw, qcow2' make_profile p.yaml 'archive: tiny.tar'
# --seccomp-bpf: stops only at these calls; emulation under strace would take minutes otherwise.
expect_status 0 strace -f --seccomp-bpf -o trace -e trace=socket,socketpair,connect,bind \
    "$KILN" build p.yaml -o bundle
grep -qa 'socket(AF_UNIX' trace || fail "the trace shows not even libguestfs's own socket"
grep -aE '(socket|socketpair)\(' trace | grep -avE '\(AF_UNIX' >others || true
[ ! -s others ] || { cat others; fail "sockets other than AF_UNIX"; }

ENGINE=native FORMATS='raw, qcow2' make_profile native.yaml 'archive: tiny.tar'
expect_status 0 strace -f -o trace -e trace=%network,execve,execveat \
    "$KILN" build native.yaml -o native
grep -avE ' (\+\+\+|---)' trace >calls
[ "$(wc -l <calls)" -eq 1 ] || { cat calls; fail "engine native starts programs or makes sockets"; }
expect_text calls execve
