#!/usr/bin/env bash
#
# Builds the sample guest: two releases of a small Linux machine, as raw disks.
#
#   build.sh [--cache DIR] OUTDIR    writes guest-1.raw, guest-2.raw and a
#                                    .json beside each, which names its label
#                                    and files to ask it for
#   build.sh --requires              lists the host's packages it needs
#
# It needs Debian on amd64 with the configured apt, but no root, no loop device
# and no mount. Packages and finished disks are kept in the cache (default
# $XDG_CACHE_HOME/livepc/guest); nothing is rebuilt while these scripts and the
# versions of the packages stay the same. The same inputs give the same bytes.
#
# The disk (512 MiB, sparse, MBR):
#   1 MiB    FAT16 "LIVEPC", 32 MiB: syslinux, the Debian kernel (repacked, see
#            quick-kernel.sh), an initial RAM disk (early-init, busybox, the
#            drivers of the usual machines)
#   33 MiB   ext4 "livepc-root": busybox, init, and the content of the packages
#            below. Blocks not in use are zero.
#
# Release 2 is release 1 upgraded in place: the translations of one compiler
# release replaced by those of the next, one package added, one removed.

set -euo pipefail
export LC_ALL=C TZ=UTC PATH="$PATH:/usr/sbin:/sbin"
umask 022

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
sources=(build.sh quick-kernel.sh quick-kernel.s early-init init dhcp-lease syslinux.cfg)

export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-1700000000}
export E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH E2FSCK_TIME=$SOURCE_DATE_EPOCH

readonly requires=(binutils coreutils cpio dosfstools dpkg e2fsprogs fdisk findutils jq
    kmod lz4 mtools qemu-system-x86 syslinux syslinux-common tar util-linux xz-utils zstd)
readonly tools=(apt-get as cpio debugfs depmod dpkg-deb e2fsck find flock jq ld lz4
    mcopy mke2fs mkfs.vfat modinfo objcopy sfdisk sha256sum syslinux tar xz zstd)
readonly mbr=/usr/lib/syslinux/mbr/mbr.bin

# Sizes in MiB; the partitions' identities are fixed.
readonly disk_mib=512 fat_start_mib=1 fat_mib=32 root_start_mib=33 root_mib=478
readonly root_uuid=4c697665-5043-4775-8573-740000000001
readonly least_content_mib=150 large_bytes=$((4 << 20))

# What each release is made of, as the pattern of a package's name: the newest
# match is taken, so that a newer Debian works too. Code and text shrink to a
# quarter when compressed; the fonts and pictures hardly do, so that, as on a
# desktop computer, most of what is transferred is not needed to boot.
readonly content=('vim-runtime' 'perl-modules-5\.[0-9]+' 'python3-sympy' 'locales'
    'libpython3\.[0-9]+-minimal' 'libpython3\.[0-9]+-stdlib' 'libicu[0-9]+'
    'cpp-[0-9]+' 'libgcc-[0-9]+-dev' 'libstdc\+\+-[0-9]+-dev'
    'fonts-noto-cjk' 'plasma-workspace-wallpapers')
readonly translations='gcc-[0-9]+-locales' added='fonts-dejavu-core' removed='wamerican'

readonly drivers=(virtio_blk virtio_scsi virtio_pci ahci ata_piix sd_mod nvme
    mptspi mptsas vmw_pvscsi sym53c8xx ext4 crc32c_generic button evdev
    virtio_net e1000 e1000e vmxnet3 8139cp)
# Parts of the kernel package in which no driver above lies; most of its size.
readonly no_drivers=(sound drivers/{gpu,media,infiniband,net/wireless,staging,iio,usb}
    fs/{xfs,btrfs,ocfs2,nfs,nfsd,cifs,smb,ceph,f2fs,ubifs,gfs2} net/{bluetooth,mac80211,netfilter,ipv4,ipv6})

say() { printf 'guest: %s\n' "$*" >&2; }
die() { printf 'guest: error: %s\n' "$*" >&2; exit 1; }

usage() { sed -n '/^#   build.sh/,/^#$/s/^# \{0,3\}//p' "$here/build.sh" >&2; exit 2; }

check_tools() {
    local tool missing=()
    for tool in "${tools[@]}"; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    [[ -e $mbr ]] || missing+=("$mbr")
    ((${#missing[@]} == 0)) || die "not found: ${missing[*]}
The packages to install are listed by: build.sh --requires"
    [[ $(dpkg --print-architecture) == amd64 ]] ||
        die "the guest is built from the packages of Debian on amd64, this machine is $(dpkg --print-architecture)"
}

apt() {
    local options=(-qq)
    # As root, apt would drop to a user who cannot write to the cache.
    ((EUID)) || options+=(-o APT::Sandbox::User=root)
    apt-get "${options[@]}" "$@"
}

# Prints `ROLE FILE SIZE SHA256` for each package, from the configured sources.
resolve() {
    local -A role=()
    local all names name pattern kernel
    all=$(IFS='|'; echo "^(${content[*]}|$translations|$added|$removed)$")
    names=$(apt-cache search --names-only "$all" | cut -d' ' -f1 | sort -V)
    for pattern in "${content[@]}" "$added" "$removed"; do
        name=$(grep -xE "$pattern" <<<"$names" | tail -n 1) ||
            die "no package called $pattern is known to apt; run apt-get update"
        role[$name]=content
        [[ $pattern != "$added" ]] || role[$name]=added
        [[ $pattern != "$removed" ]] || role[$name]=removed
    done
    mapfile -t names < <(grep -xE "$translations" <<<"$names" | tail -n 2)
    ((${#names[@]} == 2)) || die "apt must know two packages called $translations"
    role[${names[0]}]=before
    role[${names[1]}]=after
    kernel=$(apt-cache depends linux-image-amd64 2>/dev/null |
        awk '$1 == "Depends:" && $2 ~ /^linux-image-[0-9]/ { print $2; exit }')
    [[ $kernel ]] || die "apt does not know Debian's kernel (linux-image-amd64); run apt-get update"
    role[$kernel]=kernel
    role[busybox-static]=busybox

    local file size sum
    apt download --print-uris "${!role[@]}" | sort -k2 | while read -r _ file size sum; do
        [[ $sum == SHA256:* ]] || die "apt tells no SHA-256 for $file"
        echo "${role[${file%%_*}]} $file $size ${sum#SHA256:}"
    done
}

# The answer of `resolve`, asked again only when apt's lists have changed.
resolved() {
    local lists memo
    lists=$(find /var/lib/apt/lists -maxdepth 1 -type f -printf '%f %s %T@\n' 2>/dev/null | sort)
    memo=$cache/resolved/$({ echo "$lists"; cat "$here/build.sh"; } | sha256sum | cut -c1-32)
    if [[ ! -s $memo ]]; then
        say "asking apt for package versions"
        mkdir -p "$cache/resolved"
        resolve >"$memo.new"
        mv "$memo.new" "$memo"
    fi
    cat "$memo"
}

package() { awk -v role="$1" '$1 == role { print $2 }' <<<"$packages"; } # ROLE

download() {
    local role file size sum missing=()
    mkdir -p "$cache/packages"
    cd "$cache/packages"
    while read -r role file size sum; do
        [[ -s $file ]] || missing+=("$(name_and_version "$file")")
    done <<<"$packages"
    if ((${#missing[@]})); then
        say "downloading ${#missing[@]} packages"
        apt download "${missing[@]}" || die "apt could not download the packages; see above"
    fi
    awk '{ print $4 "  " $2 }' <<<"$packages" | sha256sum --quiet -c - ||
        die "a package in $cache/packages is not what apt names; delete it and try again"
    cut -d' ' -f2 <<<"$packages" | xargs touch
    cd - >/dev/null
}

name_and_version() { # FILE
    local version=${1#*_}
    version=${version%_*}
    echo "${1%%_*}=${version//%3a/:}"
}

unpack() { # ROLE DIR
    local file
    mkdir -p "$2"
    for file in $(package "$1"); do
        dpkg-deb -x "$cache/packages/$file" "$2"
    done
}

# --- the boot partition ------------------------------------------------------

# Prints the path of each driver and of all it depends on.
drivers_with_dependencies() { # ROOT VERSION
    local -A seen=()
    local queue=("${drivers[@]}") name path
    while ((${#queue[@]})); do
        name=${queue[0]//-/_}
        queue=("${queue[@]:1}")
        [[ ! ${seen[$name]:-} ]] || continue
        seen[$name]=yes
        path=$(grep -E "/${name//_/[-_]}\.ko$" modules) || {
            grep -qE "/${name//_/[-_]}\.ko$" "$1/lib/modules/$2/modules.builtin" ||
                die "the kernel has no driver called $name"
            continue
        }
        echo "$path"
        mapfile -t -O "${#queue[@]}" queue < <(modinfo -F depends "$1/$path" | tr ',' '\n' | grep .)
    done
}

make_initramfs() { # writes initrd.img
    local version path
    version=$(ls kernel/lib/modules)
    mkdir -p initramfs/{bin,dev,proc,root,sys}
    (cd kernel && find lib/modules -name '*.ko') >modules
    for path in $(drivers_with_dependencies kernel "$version"); do
        install -D -m 644 "kernel/$path" "initramfs/$path"
    done
    cp kernel/lib/modules/"$version"/modules.{builtin,builtin.modinfo,order} "initramfs/lib/modules/$version/"
    depmod -b "$PWD/initramfs" "$version"
    rm -f "initramfs/lib/modules/$version/"modules.{builtin*,*.bin,devname,order,symbols}
    install -m 755 busybox/bin/busybox initramfs/bin/busybox
    install -m 755 "$here/early-init" initramfs/init
    find initramfs -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    (cd initramfs && find . | sort | cpio --quiet --reproducible -o -H newc -R +0:+0) |
        zstd -q -19 >initrd.img
}

make_boot_partition() { # writes fat.img
    truncate -s "${fat_mib}M" fat.img
    mkfs.vfat -F 16 -h $((fat_start_mib * 2048)) -i 4c495645 -n LIVEPC --invariant fat.img >/dev/null
    "$here/quick-kernel.sh" kernel/boot/vmlinuz-* vmlinuz
    cp "$here/syslinux.cfg" .
    touch -d "@$SOURCE_DATE_EPOCH" vmlinuz initrd.img syslinux.cfg
    syslinux --install fat.img
    mcopy -m -i fat.img vmlinuz initrd.img syslinux.cfg ::
}

# --- the root file system ----------------------------------------------------

# Merges the trees of a release; the file names carry no compiler version, so
# that an upgrade replaces them.
translations_of() { # FROM TO
    local file
    while read -r file; do
        install -D -m 644 "$1/$file" "$2/$(sed -E 's/-[0-9]+\.mo$/.mo/' <<<"$file")"
    done < <(cd "$1" && find usr/share/locale -name '*.mo' | sort)
}

make_tree() { # writes tree/, the content of release 1
    local applet module
    translations_of before tree
    cp -a --no-preserve=ownership removed/. tree/
    mkdir -p tree/{bin,dev,etc,home,lib,proc,root,run,sbin,sys,tmp}
    install -m 755 busybox/bin/busybox tree/bin/busybox
    # Run from the cache, since memory file systems may forbid programs.
    install -m 755 busybox/bin/busybox "$cache/busybox"
    for applet in $("$cache/busybox" --list | grep -vx busybox); do
        ln -s busybox "tree/bin/$applet"
    done
    install -m 755 "$here/init" "$here/dhcp-lease" tree/sbin/
    echo 1.0 >tree/etc/livepc-label
    cp -a initramfs/lib/modules tree/lib/
    # What every boot reads, and the file whose digest it checks.
    (cd tree && find usr/lib -maxdepth 1 -name 'python3.*' -printf '/%p\n') >tree/etc/livepc-boot
    module=$(cd tree && find usr/lib/python3.* -name ast.py)
    [[ $module ]] || die "the packages have nothing to read at boot"
    (cd tree && sha256sum "$module" | sed 's|  |  /|') >tree/etc/livepc-check
}

make_upgraded_tree() { # writes tree-2/; what stays the same stays the same inode
    local path
    cp -al tree tree-2
    (cd removed && find . ! -type d -print0) | (cd tree-2 && xargs -0 rm)
    translations_of after after.tree
    echo 2.0 >label
    install -D -m 644 label after.tree/etc/livepc-label
    cp -a --no-preserve=ownership added/. after.tree/
    cp -a --remove-destination after.tree/. tree-2/
    find tree-2 -depth -type d -empty -path '*/share/*' -delete
}

list_tree() { # TREE: path, type, identity, link target
    find "$1" -mindepth 1 \( -type d -printf '%P\td\t-\t\n' -o -printf '%P\t%y\t%i\t%l\n' \) | sort
}

# Prints the debugfs commands that make tree OLD into tree NEW, in sorted order.
# Unlike `mke2fs -d`, debugfs makes every file root's, with one fixed time. A
# replaced file is written before the old one goes, as dpkg does, so that it
# lies elsewhere on the disk.
change_commands() { # OLD NEW
    list_tree "$1" >old.list
    list_tree "$2" >new.list
    { comm -23 old.list new.list | sed 's/^/-\t/'; comm -13 old.list new.list | sed 's/^/+\t/'; } |
        awk -F '\t' -v tree="$2" '
        function enter(dir) { if (dir != current) printf "cd \"/%s\"\n", dir; current = dir }
        $1 == "-" { old[$2] = $3; order[++count] = $2; next }
        {
            name = $2; dir = ""
            if (match($2, /.*\//)) { dir = substr($2, 1, RLENGTH - 1); name = substr($2, RLENGTH + 1) }
            enter(dir)
            if ($3 == "d") printf "mkdir \"%s\"\n", name
            else if ($3 == "l") printf "symlink \"%s\" \"%s\"\n", name, $5
            else if ($2 in old) {
                # `ln` and `unlink` leave the count of links alone, so the pair renames.
                printf "write \"%s/%s\" \"%s.new\"\n", tree, $2, name
                printf "rm \"%s\"\nln \"%s.new\" \"%s\"\nunlink \"%s.new\"\n", name, name, name, name
            }
            else printf "write \"%s/%s\" \"%s\"\n", tree, $2, name
            delete old[$2]
        }
        END {
            enter("")
            for (i = count; i > 0; i--) if (order[i] in old)
                printf "%s \"/%s\"\n", old[order[i]] == "d" ? "rmdir" : "rm", order[i]
        }'
}

run_debugfs() { # IMAGE, commands on stdin
    cat >commands
    debugfs -w -f commands "$1" >debugfs.out 2>debugfs.err
    # It reports errors only as text; the first line is its version.
    if sed 1d debugfs.err | grep -q .; then
        die "debugfs: $(sed 1d debugfs.err | head -n 3)"
    fi
}

# Checks the file system and gives unused blocks back, so that they are zero.
finish_root() { # IMAGE
    e2fsck -f -y -E discard "$1" >e2fsck.out 2>&1 || die "e2fsck found errors: $(tail -n 3 e2fsck.out)"
}

# --- the disks ---------------------------------------------------------------

# The root file system is worked on where it lies in the disk.
root_of() { echo "$1?offset=$((root_start_mib << 20))"; } # DISK

make_disk() { # DISK: release 1
    mkdir empty
    truncate -s "${disk_mib}M" "$1"
    sfdisk -q "$1" <<LAYOUT
label: dos
label-id: 0x4c495645
start=${fat_start_mib}MiB, size=${fat_mib}MiB, type=e, bootable
start=${root_start_mib}MiB, size=${root_mib}MiB, type=83
LAYOUT
    dd if="$mbr" of="$1" bs=440 count=1 conv=notrunc status=none
    dd if=fat.img of="$1" bs=64K seek=$((fat_start_mib * 16)) conv=notrunc,sparse status=none
    mke2fs -q -F -t ext4 -b 4096 -N 16384 -m 1 -L livepc-root -U "$root_uuid" -J size=8 \
        -E "offset=$((root_start_mib << 20)),hash_seed=$root_uuid,lazy_itable_init=0,lazy_journal_init=0" \
        "$1" "${root_mib}M"
    change_commands empty tree | run_debugfs "$(root_of "$1")"
    finish_root "$(root_of "$1")"
}

upgrade_disk() { # FROM TO: release 2
    cp --sparse=always "$1" "$2"
    change_commands tree tree-2 | run_debugfs "$(root_of "$2")"
    finish_root "$(root_of "$2")"
}

# What a test can ask the guest for: large files, which boot does not read, and
# a few small ones. `path` is as in the guest, `size` in bytes.
make_manifest() { # TREE DISK
    local path large
    (cd "$1" && find . -type f -size "+$((large_bytes - 1))c" -printf '%s %P\n') |
        sort -rn | cut -d' ' -f2- | { grep -vFf <(cut -c2- "$1/etc/livepc-boot") || true; } >large.list
    large=$(wc -l <large.list)
    ((large >= 4)) || die "only $large files of 4 MiB or more are in the packages, 4 are needed"
    {
        head -n 12 large.list
        (cd "$1" && find usr/share \( -path '*/de/*' -name gcc.mo -o -name DejaVuSans.ttf \)) | sort
        sed 's|.*  /||' "$1/etc/livepc-check"
        echo etc/livepc-label
    } | while read -r path; do
        jq -n --arg path "/$path" --argjson size "$(stat -c %s "$1/$path")" \
            --arg sha256 "$(sha256sum "$1/$path" | cut -c1-64)" '$ARGS.named'
    done | jq -s --arg image "${2##*/}" --arg release "$(cat "$1/etc/livepc-label")" \
        --argjson bytes "$((disk_mib << 20))" \
        --arg boot "$(cat "$1/etc/livepc-boot")" \
        '{ "label": $release, image: $image, bytes: $bytes, ready: "^LIVEPC READY (\\S+)",
           files: map(. + { read_at_boot: (.path | startswith($boot + "/") or startswith("/etc/")) }) }'
}

# Thousands of small files are made and deleted: in memory, where there is room.
work_place() {
    local room
    room=$(df --output=avail -B1M /dev/shm 2>/dev/null | tail -n 1)
    if [[ -w /dev/shm ]] && ((${room:-0} >= 3072)); then echo /dev/shm; else echo "$cache"; fi
}

build() { # DIR
    local role mib
    work=$(mktemp -d "$(work_place)/livepc-guest.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    download
    cd "$work"

    say "unpacking"
    mkdir -p kernel
    dpkg-deb --fsys-tarfile "$cache/packages/$(package kernel)" |
        tar -x -C kernel --no-same-owner "${no_drivers[@]/#/--exclude=./lib/modules/*/kernel/}" ./boot ./lib/modules &
    unpack content tree
    for role in busybox before after added removed; do
        unpack "$role" "$role"
    done
    wait $! || die "the kernel package could not be unpacked"
    make_initramfs
    make_tree
    make_upgraded_tree
    mib=$(($(du -sb tree | cut -f1) >> 20))
    ((mib >= least_content_mib)) || die "the packages hold $mib MiB, $least_content_mib are needed"

    say "making release 1 ($mib MiB of files)"
    make_boot_partition
    mkdir done
    make_disk done/guest-1.raw
    say "making release 2"
    upgrade_disk done/guest-1.raw done/guest-2.raw
    make_manifest tree done/guest-1.raw >done/guest-1.json
    make_manifest tree-2 done/guest-2.raw >done/guest-2.json
    touch -d "@$SOURCE_DATE_EPOCH" done/*
    cd "$cache"
    mkdir -p builds
    rm -rf "$1" "$1.new"
    cp -r --sparse=always --preserve=timestamps "$work/done" "$1.new"
    mv "$1.new" "$1"
}

# A test that boots an image without an overlay changes it: then the size or
# the time differs, and it is copied again.
is_current() { # KEY
    [[ $(cat "$out/.guest-key" 2>/dev/null) == "$1" ]] || return 1
    local file
    for file in guest-{1,2}.{raw,json}; do
        [[ $(stat -c '%s %Y' "$out/$file" 2>/dev/null) == \
            $(stat -c '%s %Y' "$cache/builds/$1/$file") ]] || return 1
    done
}

main() {
    cache=${XDG_CACHE_HOME:-$HOME/.cache}/livepc/guest
    while (($#)); do
        case $1 in
            --requires) printf '%s\n' "${requires[@]}"; exit ;;
            --cache) [[ ${2:-} ]] || usage; cache=$2; shift 2 ;;
            -*) usage ;;
            *) break ;;
        esac
    done
    (($# == 1)) || usage
    check_tools
    mkdir -p "$1" "$cache"
    out=$(cd "$1" && pwd)
    cache=$(cd "$cache" && pwd)

    # One build at a time in a cache; the lock ends with this process.
    exec 9>"$cache/lock"
    flock 9
    packages=$(resolved)
    local key
    key=$({ cd "$here" && sha256sum "${sources[@]}"; echo "$packages $SOURCE_DATE_EPOCH"; } | sha256sum | cut -c1-32)
    if [[ ! -e $cache/builds/$key/guest-2.json ]]; then
        build "$cache/builds/$key"
        # What no build has used for a month goes.
        find "$cache/packages" "$cache/resolved" "$cache/builds" -mindepth 1 -maxdepth 1 \
            -mtime +30 -exec rm -rf {} +
    fi
    touch "$cache/builds/$key"
    if ! is_current "$key"; then
        rm -f "$out/.guest-key"
        cp --sparse=always --reflink=auto --preserve=timestamps "$cache/builds/$key"/guest-* "$out/"
        echo "$key" >"$out/.guest-key"
    fi
    say "ready in $out: guest-1.raw, guest-2.raw"
}

main "$@"
