# shellcheck shell=bash
# shellcheck disable=SC2034
# What a Debian 12 machine must have, by purpose, and how to get it. Sourced by tools/check and
# tools/demo; the README's build section names the same packages.

packages_build=(
    gcc libc6-dev meson ninja-build pkg-config
    libfuse3-dev fuse3 libssl-dev libtss2-dev libcurl4-openssl-dev libcbor-dev
    libjansson-dev libexpat1-dev libseccomp-dev libmicrohttpd-dev libcmocka-dev scdoc
)
# Optional (-Dipsec_mb), and Debian has it for this architecture only.
if [ "$(dpkg --print-architecture)" = amd64 ]; then
    packages_build+=(libipsec-mb-dev)
fi
# From Debian 13 on it has another name.
case $(cat /etc/debian_version) in
12* | bookworm*) tcti_swtpm=libtss2-tcti-swtpm0 ;;
*) tcti_swtpm=libtss2-tcti-swtpm0t64 ;;
esac
# The emulators, the TPM they stand on, and the client that reads the mount.
packages_demo=(
    python3 python3-cbor2 python3-cryptography swtpm swtpm-tools tpm2-tools "$tcti_swtpm"
    procps curl ca-certificates debian-archive-keyring
)
packages_check=(
    clang-format clang-tidy cppcheck shellcheck fsverity attr git nginx-light openssl
    util-linux xz-utils zsh fish
    radosgw ceph-mon ceph-osd ceph-common python3-boto3 python3-jwt
    debootstrap groff-base reuse
    chromium chromium-driver python3-selenium
)
# Debian 12 does not have it.
case $(cat /etc/debian_version) in
12* | bookworm*) ;;
*) packages_check+=(python3-safetensors python3-numpy) ;;
esac
packages_bench=(
    gocryptfs rclone nginx-light curl openssl linux-perf
)

# The Debian mirror that this machine's apt uses.
package_mirror() {
    local uri
    uri=$(awk '/^URIs:/ {print $2; exit}' /etc/apt/sources.list.d/*.sources 2>/dev/null || true)
    [ -n "$uri" ] ||
        uri=$(awk '$1 == "deb" {for (i = 2; i < NF; i++) if ($i ~ /:\/\//) {print $i; exit}}' \
            /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null || true)
    [ -n "$uri" ] || { echo "no package mirror in /etc/apt" >&2; return 1; }
    printf '%s\n' "$uri"
}

# install_packages NAME…: installs what is missing, quietly, and says so.
install_packages() {
    local missing=() name
    for name in "$@"; do
        dpkg-query -W -f '${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed ||
            missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        echo "missing packages: ${missing[*]}; run as root, or install them first" >&2
        return 1
    fi
    echo "installing ${#missing[@]} packages: ${missing[*]}"
    local log
    log=$(mktemp)
    # A mirror that hiccups, or another apt-get that has the lock, is no reason to give up.
    local apt=(apt-get -qq -o Acquire::Retries=5 -o DPkg::Lock::Timeout=600)
    if ! { "${apt[@]}" update && DEBIAN_FRONTEND=noninteractive "${apt[@]}" -y \
        --no-install-recommends install "${missing[@]}"
    } >"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        echo "could not install packages; is the package mirror reachable?" >&2
        return 1
    fi
    rm -f "$log"
}
