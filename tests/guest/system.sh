#!/usr/bin/env bash
#
# Builds a whole Debian system, as a raw disk that boots to a login prompt on its
# serial port: what the benchmarks start.
#
#   system.sh OUT.raw       writes the disk (4 GiB, sparse)
#   system.sh --requires    lists the host's packages it needs
#
# It needs Debian or Ubuntu on amd64 with the configured apt, and root. What is
# there is not built again while this script stays the same.
#
# The disk (MBR):
#   1 MiB    FAT16 "BOOT", 128 MiB: syslinux, the distribution's kernel and its
#            initial RAM disk
#   129 MiB  ext4 "system": minbase, the kernel's modules, systemd, udev
# Blocks not in use are zero.

set -euo pipefail
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin" DEBIAN_FRONTEND=noninteractive
umask 022

readonly requires=(coreutils debootstrap dosfstools e2fsprogs fdisk mtools syslinux syslinux-common)
readonly disk_mib=4096 boot_mib=128 root_start_mib=129
readonly mbr=/usr/lib/syslinux/mbr/mbr.bin

say() { printf 'system: %s\n' "$*" >&2; }
die() { printf 'system: error: %s\n' "$*" >&2; exit 1; }

# The archive that this computer's own packages come from.
archive() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1
}

kernel() {
    if apt-cache show linux-image-amd64 >/dev/null 2>&1; then echo linux-image-amd64; else echo linux-image-generic; fi
}

make_tree() { # TREE
    local suite uri
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
    uri=$(archive)
    [[ $suite && $uri ]] || die "apt names no archive; run apt-get update"
    say "installing $suite into a folder"
    debootstrap --variant=minbase \
        --include="$(kernel),systemd-sysv,udev,dbus,iproute2,procps,login,zstd" "$suite" "$1" "$uri" >"$work/debootstrap.log" 2>&1 ||
        die "debootstrap failed: $(tail -n 3 "$work/debootstrap.log")"
    echo system >"$1/etc/hostname"
    echo 'LABEL=system / ext4 errors=remount-ro 0 1' >"$1/etc/fstab"
    rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/* "$1"/etc/machine-id
    : >"$1/etc/machine-id"
}

make_disk() { # TREE DISK
    say "making the disk"
    truncate -s "${boot_mib}M" "$work/boot.img"
    mkfs.vfat -F 16 -h 2048 -n BOOT "$work/boot.img" >/dev/null
    cp "$1"/boot/vmlinuz-* "$work/vmlinuz"
    cp "$1"/boot/initrd.img-* "$work/initrd.img"
    cat >"$work/syslinux.cfg" <<CONFIG
DEFAULT linux
LABEL linux
  KERNEL vmlinuz
  INITRD initrd.img
  APPEND root=LABEL=system ro console=ttyS0 quiet
CONFIG
    syslinux --install "$work/boot.img"
    mcopy -i "$work/boot.img" "$work/vmlinuz" "$work/initrd.img" "$work/syslinux.cfg" ::
    truncate -s "${disk_mib}M" "$2"
    sfdisk -q "$2" <<LAYOUT
label: dos
start=1MiB, size=${boot_mib}MiB, type=e, bootable
start=${root_start_mib}MiB, size=$((disk_mib - root_start_mib))MiB, type=83
LAYOUT
    dd if="$mbr" of="$2" bs=440 count=1 conv=notrunc status=none
    dd if="$work/boot.img" of="$2" bs=1M seek=1 conv=notrunc,sparse status=none
    mke2fs -q -F -t ext4 -L system -d "$1" \
        -E "offset=$((root_start_mib << 20)),lazy_itable_init=0,lazy_journal_init=0" \
        "$2" "$((disk_mib - root_start_mib))M"
}

main() {
    if [[ ${1:-} == --requires ]]; then
        printf '%s\n' "${requires[@]}"
        exit
    fi
    (($# == 1)) || die "which file is to be written?"
    ((EUID == 0)) || die "debootstrap takes root"
    local key
    key=$(sha256sum "${BASH_SOURCE[0]}" | cut -c1-32)
    [[ $(cat "$1.key" 2>/dev/null) != "$key" || ! -e $1 ]] || exit 0
    mkdir -p "$(dirname "$1")"
    work=$(mktemp -d "$(dirname "$1")/system.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    make_tree "$work/tree"
    make_disk "$work/tree" "$work/disk.raw"
    mv "$work/disk.raw" "$1"
    echo "$key" >"$1.key"
    say "ready: $1"
}

main "$@"
