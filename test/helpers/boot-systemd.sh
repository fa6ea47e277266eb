#!/bin/bash
# Boots systemd as process 1 of namespaces of its own and runs a script in it as a service: boot-systemd.sh SCRIPT OUT_DIR.
# Inside, /etc, /opt, /run, /tmp and /var belong to it alone, there is no network but loopback, and nothing starts but the
# journal; the kernel's own settings are never touched. The script finds the project in /run/project. OUT_DIR gets
# `output` and `status`. Needs root. Exits 0 when the script ran to its end.
set -euo pipefail

script=$(readlink -f "$1")
out=$(readlink -f "$2")
project=$(cd "$(dirname "$0")/../.." && pwd -P)
export script out project

# Where the kernel keeps both versions of control groups, the second is at `unified`.
cgroups=/sys/fs/cgroup
[ ! -d "$cgroups/unified" ] || cgroups=$cgroups/unified
group=$cgroups/hearth-test-$$
mkdir "$group"
trap 'find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null || :' EXIT

inside() {
  set -euo pipefail
  mount --make-rprivate /
  # As for any container: what belongs to the kernel is read-only.
  mount -t sysfs -o ro sysfs /sys
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  mount -t proc proc /proc
  mount --bind /proc/sys /proc/sys
  mount -o remount,bind,ro /proc/sys
  mount -t tmpfs tmpfs /run
  mkdir /run/etc /run/out /run/project
  mount --bind "$project" /run/project
  cp -a /etc/. /run/etc/
  mount --bind "$out" /run/out
  cp "$script" /run/scenario
  mount --bind /run/etc /etc
  : >/etc/fstab
  echo 0123456789abcdef0123456789abcdef >/etc/machine-id
  rm -rf /etc/systemd/system
  mkdir -p /etc/systemd/system
  ln -s /dev/null /etc/systemd/system/systemd-journald-audit.socket
  printf '[Journal]\nStorage=volatile\nAudit=no\nReadKMsg=no\n' >/etc/systemd/journald.conf
  for directory in /opt /tmp /var; do mount -t tmpfs tmpfs "$directory"; done
  chmod 1777 /tmp
  mkdir -p /var/lib /var/log /var/cache /var/tmp
  chmod 1777 /var/tmp
  ln -s /run /var/run

  # Nothing that would reach the machine outside: no sysctl, no udev, no clock.
  units=/usr/lib/systemd/system
  wants() {
    mkdir -p "/run/wants/$1" "$units/$1.wants"
    for unit in "${@:2}"; do ln -s "$units/$unit" "/run/wants/$1/"; done
    mount --bind "/run/wants/$1" "$units/$1.wants"
  }
  wants sysinit.target systemd-journald.service
  wants sockets.target systemd-journald.socket systemd-journald-dev-log.socket
  for target in local-fs.target multi-user.target timers.target; do
    if [ -d "$units/$target.wants" ]; then wants "$target"; fi
  done
  cat >/etc/systemd/system/scenario.service <<'UNIT'
[Unit]
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
ExecStart=/bin/bash -c '/bin/bash /run/scenario >/run/out/output 2>&1; echo $? >/run/out/status'
TimeoutStartSec=180
UNIT
  exec env -i container=hearth-test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /usr/lib/systemd/systemd --system --unit=scenario.service --log-target=journal --show-status=no
}
export -f inside

(
  echo "$BASHPID" >"$group/cgroup.procs"
  exec timeout -s KILL 240 unshare --mount --pid --cgroup --ipc --uts --net --fork --kill-child=SIGKILL bash -c inside </dev/null
) || :
[ "$(cat "$out/status" 2>/dev/null)" = 0 ]
