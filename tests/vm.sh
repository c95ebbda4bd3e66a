#!/usr/bin/env bash
# Debian's kernel 6.1 with cgroup v2 and systemd as PID 1, in software emulation: what concerns an older kernel or a service
# manager is tried there. Not a part of the one test command: a run takes some ten minutes, installs qemu, and takes a
# root from Debian's mirror. As root. The machine is kept in target/vm.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
for pair in qemu-system-x86_64:qemu-system-x86 debootstrap:debootstrap cpio:cpio xz:xz-utils; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ "${#missing[@]}" -gt 0 ]; then
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

binary=$(cargo static)
inside=$PWD/tests/vm/inside.sh
vm=${VM:-target/vm}
mkdir -p "$vm"
cd "$vm"

if [ ! -e kernel/boot ]; then
    package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-6[^ ]*\)/\1/p' | head -1)
    apt-get download -qq "$package"
    dpkg-deb -x "$package"_*.deb kernel
fi
if [ ! -e root/opt/site/uvicorn ]; then
    rm -rf root
    packages=systemd,systemd-sysv,dbus,python3,curl,procps,iproute2
    debootstrap --variant=minbase --include="$packages" bookworm root >/dev/null
    rm -rf root/var/cache/apt/* root/usr/share/doc/* root/usr/share/locale/*
    python3 -m pip install -q --root-user-action=ignore --python-version 3.11 --only-binary=:all: \
        --target root/opt/site uvicorn
fi
# There are no modules to load but these.
mkdir -p root/opt/app root/opt/modules root/etc/systemd/system/multi-user.target.wants
for module in inet_diag tcp_diag unix_diag; do
    found=$(find kernel/lib/modules -name "$module.ko*")
    case $found in
    *.xz) xz -dc "$found" >"root/opt/modules/$module.ko" ;;
    *) cp "$found" root/opt/modules/ ;;
    esac
done
ln -sf /lib/systemd/systemd root/init
: >root/etc/machine-id
cp "$binary" root/usr/local/bin/prefork-init
cp "$inside" root/opt/inside.sh
cat >root/etc/systemd/system/inside.service <<'UNIT'
[Unit]
After=multi-user.target
[Service]
ExecStart=/bin/bash /opt/inside.sh
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
UNIT
ln -sf ../inside.service root/etc/systemd/system/multi-user.target.wants/inside.service
rm -f root/etc/systemd/system/boot.service root/etc/systemd/system/multi-user.target.wants/boot.service
(cd root && find . | cpio -o -H newc 2>/dev/null) >root.cpio
said=$(timeout 1500 qemu-system-x86_64 -cpu max -accel tcg -m 3500 -smp 2 -nographic -no-reboot -nic none \
    -kernel kernel/boot/vmlinuz-* -initrd root.cpio \
    -append "console=ttyS0 rdinit=/init systemd.unified_cgroup_hierarchy=1 quiet systemd.show_status=0 panic=5" \
    </dev/null | tr -d '\r') || true
printf '%s\n' "$said"
grep -q '^all of it held' <<<"$said" || { echo "tests/vm.sh: something did not hold" >&2; exit 1; }
