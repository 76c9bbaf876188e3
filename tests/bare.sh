#!/bin/sh
# Runs the two commands of the README in a bare Debian that has git and nothing
# else besides its base: bare.sh SUITE [COMMAND ...]
#
#   SUITE     bookworm, trixie, or what else debootstrap knows and the mirror has
#   COMMAND   run in the clean clone in place of the README's commands
#
# The script must run as root. Environment:
#
#   MIRROR=URL     Debian mirror; the one that this machine's apt uses if not set
#   BARE=FOLDER    make the system there and keep it; a kept one is used again,
#                  with a new clone. Without BARE, a temporary folder, removed at the end
#
# Steps: debootstrap a minimal system; copy in what this machine's network
# needs (name resolution, CA certificates, apt's and npm's settings); clone the
# committed tree; enter the system in namespaces of its own for mounts and
# processes, so that every process and mount ends with the script; run.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
suite=${1:?usage: bare.sh SUITE [COMMAND ...]}
shift

if ! command -v debootstrap >/dev/null; then
    apt-get update -q
    apt-get install -y -q --no-install-recommends debootstrap
fi
# The mirror of the machine's own main archive; an archive of security updates cannot be bootstrapped.
# shellcheck disable=SC2016 # apt-get expands it
: "${MIRROR:=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' |
    grep -v security | sort -u | head -n 1)}"
: "${MIRROR:?apt has no package lists: run apt-get update, or set MIRROR}"

root=${BARE:-$(mktemp -d "${TMPDIR:-/tmp}/sluice-bare.XXXXXX")}
mkdir -p "$root" && chmod 755 "$root" # it is / in there, for every user
[ -n "${BARE:-}" ] || trap 'rm -rf --one-file-system "$root"' EXIT
trap 'exit 130' INT TERM

if [ ! -e "$root/usr/bin/git" ]; then
    debootstrap --variant=minbase --include=git "$suite" "$root" "$MIRROR"
fi

# ---- what the machine's network needs ----

copy() {
    for path; do
        [ ! -e "$path" ] || { mkdir -p "$root${path%/*}" && cp -rL "$path" "$root${path%/*}/"; }
    done
}
copy /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt \
    /usr/local/share/ca-certificates
apt-config dump | grep -E '^Acquire::(https?(::|[ ;])|Check-Valid-Until|Check-Date|Retries)' \
    >"$root/etc/apt/apt.conf.d/99machine" || :
echo "deb $MIRROR $suite main" >"$root/etc/apt/sources.list"
if command -v npm >/dev/null; then
    registry=$(npm config get registry)
fi

# ---- the clone, and the commands in it ----

rm -rf "$root/sluice"
git clone --quiet --no-hardlinks "$here" "$root/sluice"
cat >"$root/run.sh" <<'SCRIPT'
set -eu
cd /sluice
if [ $# -gt 0 ]; then
    exec "$@"
fi
timeout 1800 ./bootstrap demo </dev/null
timeout 5400 ./bootstrap check
SCRIPT

# The mounts are made in a namespace that ends with the script.
export root registry
# shellcheck disable=SC2016 # the inner shell expands it
exec_inside='
    set -eu
    mount --make-rprivate /
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount -t tmpfs -o mode=755 dev "$root/dev"
    mkdir "$root/dev/pts" "$root/dev/shm"
    for node in null zero full random urandom tty; do
        : >"$root/dev/$node"
        mount --bind "/dev/$node" "$root/dev/$node"
    done
    mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts "$root/dev/pts"
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    for number in 0:stdin 1:stdout 2:stderr; do
        ln -s "/proc/self/fd/${number%:*}" "$root/dev/${number#*:}"
    done
    mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
    exec chroot "$root" /usr/bin/env -i \
        PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
        SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
        NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt \
        ${registry:+npm_config_registry="$registry"} \
        ${CI:+CI="$CI"} \
        sh /run.sh "$@"
'
unshare --mount --pid --fork --kill-child sh -c "$exec_inside" bare "$@"
