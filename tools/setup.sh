#!/bin/bash
# Installs what the project needs on Debian 12, and does nothing when that is there already.
#
#   tools/setup.sh run     a virtual environment .venv with sofs in it (editable)
#   tools/setup.sh test    that, the tests' Python packages, the system packages of interop/, and .venv-smbprotocol
#   tools/setup.sh vm      the above, and the kernel that interop/vm boots and smbtorture 4.22, fetched now rather than at
#                          their first test
#
# A stamp in build/stamps/ holds the hash of everything a step depends on, so a second run takes a fraction of a
# second. System packages come through apt-get from the machine's own sources (as root, or by sudo).
set -eu
cd "$(dirname "$0")/.."
what=${1:-run}
stamps=build/stamps
mkdir -p "$stamps"

say() { printf 'setup: %s\n' "$*" >&2; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

RUN_PACKAGES="python3 python3-venv"
TEST_PACKAGES="git smbclient samba samba-vfs-modules samba-testsuite cifs-utils rclone iproute2 iptables qemu-system-x86 gcc make libc6-dev libssl-dev"

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else die "root is needed for: $*   (no sudo here; run that once as root)"
    fi
}

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# apt_install PACKAGE...: those that are missing; no service of theirs is started.
apt_install() {
    local missing=() package policy=/usr/sbin/policy-rc.d
    for package in "$@"; do installed "$package" || missing+=("$package"); done
    [ ${#missing[@]} = 0 ] && return 0
    command -v apt-get >/dev/null || die "no apt-get here; install the equivalents of: ${missing[*]}"
    say "apt-get install ${missing[*]}"
    local made_policy=
    if [ ! -e $policy ]; then       # invoke-rc.d asks it: 101 means "start nothing"
        made_policy=1
        printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
        as_root chmod 755 $policy
    fi
    local status=0
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 update </dev/null >&2 || status=$?
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 \
        install --no-install-recommends "${missing[@]}" </dev/null >&2 || status=$?
    [ -z "$made_policy" ] || as_root rm -f $policy
    [ $status = 0 ] || die "apt-get failed with status $status (see above)"
}

# Debian's own interpreter is preferred to one that happens to be first in PATH.
find_python() {
    local candidate
    for candidate in /usr/bin/python3.11 /usr/bin/python3 python3.13 python3.12 python3.11 python3; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

# stamped NAME HASH: whether step NAME was done with this hash.
stamped() { [ "$(cat "$stamps/$1" 2>/dev/null)" = "$2" ]; }
stamp() { printf '%s\n' "$2" > "$stamps/$1"; }
digest() { cat "$@" | sha256sum | cut -d' ' -f1; }

# make_venv FOLDER: an environment with a working pip.
make_venv() {
    "$1/bin/python" -m pip --version >/dev/null 2>&1 && return 0
    say "creating $1"
    "$python" -m venv --clear "$1"
}

pip_install() { "$1/bin/python" -m pip install --quiet --disable-pip-version-check "${@:2}" </dev/null >&2; }

# An editable install puts this folder on the path, so a package that is new tomorrow is found without another install.
install_project() {     # install_project STAMP REQUIREMENT
    local key
    key=$(digest pyproject.toml tools/setup.sh)-$(pwd)
    stamped "$1" "$key" && [ -x .venv/bin/sofs ] && return 0
    make_venv .venv
    say "installing $2 into .venv"
    pip_install .venv --config-settings editable_mode=compat --editable "$2"
    stamp "$1" "$key"
}

install_smbprotocol() {     # a package of its own called smbclient is in it, hence the second environment
    local key
    key=$(digest tools/setup.sh)
    stamped smbprotocol "$key" && [ -x .venv-smbprotocol/bin/python ] && return 0
    make_venv .venv-smbprotocol
    say "installing smbprotocol into .venv-smbprotocol"
    pip_install .venv-smbprotocol smbprotocol
    stamp smbprotocol "$key"
}

case $what in run|test|vm) ;; *) die "usage: tools/setup.sh run|test|vm" ;; esac
if ! python=$(find_python); then
    # shellcheck disable=SC2086
    apt_install $RUN_PACKAGES
    python=$(find_python) || die "Python 3.11 or newer with venv is needed; found none"
fi
if [ "$what" = run ]; then
    [ -e "$stamps/test" ] || install_project run .
    [ ! -e "$stamps/test" ] || install_project test ".[test]"
    exit 0
fi
# shellcheck disable=SC2086
apt_install $TEST_PACKAGES
install_project test ".[test]"
install_smbprotocol
if [ "$what" = vm ]; then
    .venv/bin/python -m interop.vm fetch
    .venv/bin/python -m interop.torture --version 4.22 --list >/dev/null || say "no smbtorture 4.22: its tests will be skipped"
fi
