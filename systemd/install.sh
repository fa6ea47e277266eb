#!/bin/sh
# Installs a built hearth as a systemd service, or removes it. Run it again to upgrade; the configuration stays.
#
#   sudo systemd/install.sh [--prefix DIR] [--uninstall]
#
#   --prefix DIR   program below DIR/lib/hearth, commands in DIR/bin (default: /usr/local)
#   --uninstall    removes what was installed; configuration, models and state stay
#
# With DESTDIR set, files go below it and nothing on this machine is started, stopped or created (for packages).
set -eu

fail() {
  echo "install.sh: $*" >&2
  exit 1
}

prefix=/usr/local
action=install
while [ $# -gt 0 ]; do
  case $1 in
    --prefix) [ $# -ge 2 ] || fail '--prefix: expected a directory'; prefix=$2; shift ;;
    --prefix=*) prefix=${1#--prefix=} ;;
    --uninstall) action=uninstall ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0"; exit 0 ;;
    *) fail "expected --prefix DIR or --uninstall, received $1" ;;
  esac
  shift
done
case $prefix in
  *[!A-Za-z0-9/._+-]*) fail "--prefix: expected a path of letters, digits and / . _ + -, received $prefix" ;;
  /home/* | /root/* | /tmp/* | /var/tmp/*) fail "--prefix: the service cannot see $prefix" ;;
  /?*) prefix=${prefix%/} ;;
  *) fail "--prefix: expected an absolute path, received '$prefix'" ;;
esac

DESTDIR=${DESTDIR:-}
source=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
program=$prefix/lib/hearth
unit=/etc/systemd/system/hearthd.service
sysusers=/etc/sysusers.d/hearthd.conf
tmpfiles=/etc/tmpfiles.d/hearthd.conf
config=/etc/hearth/hearth.yaml

live() { [ -z "$DESTDIR" ]; }
manager() { live && [ -d /run/systemd/system ]; }
if live && [ "$(id -u)" -ne 0 ]; then fail 'run it as root, or set DESTDIR'; fi

# Writes a file by a rename, so that nobody reads half of one.
place() {
  mode=$1 to=$DESTDIR$2
  mkdir -p "$(dirname "$to")"
  cat > "$to.new"
  chmod "$mode" "$to.new"
  mv -f "$to.new" "$to"
}

# Paths below the source that the service needs: the compiled program, the addons, the packages that are no development tools.
contents() {
  printf '%s\n' package.json package-lock.json LICENSE CHANGELOG.md dist/daemon dist/plugins \
    build/Release/hearth.node build/Release/sd_notify.node systemd
  [ ! -f README.md ] || echo README.md
  printf '%s\n' daemon/bus/mosquitto.acl.example daemon/web/static
  node -e '
    const { existsSync } = require("node:fs");
    const { packages } = require("./package-lock.json");
    for (const [path, { dev, link }] of Object.entries(packages)) {
      if (path.startsWith("node_modules/") && !dev && !link && existsSync(path)) console.log(path);
    }
  '
}

install_program() {
  to=$DESTDIR$program
  rm -rf "$to.new"
  mkdir -p "$to.new"
  (cd "$source" && contents | tar -cf - --no-xattrs -T -) | tar -xf - --no-same-owner -C "$to.new"
  chmod -R u=rwX,go=rX "$to.new"
  chmod 755 "$to.new/dist/daemon/cli.js" "$to.new/dist/daemon/hearthd.js"
  rm -rf "$to"
  mv "$to.new" "$to"
  mkdir -p "$DESTDIR$prefix/bin"
  ln -sfn ../lib/hearth/dist/daemon/cli.js "$DESTDIR$prefix/bin/hearth"
  ln -sfn ../lib/hearth/dist/daemon/hearthd.js "$DESTDIR$prefix/bin/hearthd"
}

install_all() {
  command -v node > /dev/null || fail 'Node.js is not on the path; with sudo, try: sudo env "PATH=$PATH" systemd/install.sh'
  for file in dist/daemon/hearthd.js build/Release/hearth.node build/Release/sd_notify.node node_modules; do
    [ -e "$source/$file" ] || fail "$source/$file is missing; first run: npm ci && npm run build"
  done
  # The service finds `node` itself in these two; elsewhere it needs the path, and to be allowed to see it.
  node=$(command -v node)
  case $node in
    /usr/bin/node | /usr/local/bin/node) start='/usr/bin/env node' ;;
    /home/* | /root/*) fail "$node is in a home directory, which the service cannot see; install Node.js for all users" ;;
    *) start=$node ;;
  esac

  install_program
  sed -e "s#/usr/local/lib/hearth#$program#g" -e "s#^ExecStart=/usr/bin/env node #ExecStart=$start #" \
    "$source/systemd/hearthd.service" | place 644 "$unit"
  place 644 "$sysusers" < "$source/systemd/hearthd.sysusers.conf"
  place 644 "$tmpfiles" < "$source/systemd/hearthd.tmpfiles.conf"
  if live; then
    systemd-sysusers "$sysusers"
    systemd-tmpfiles --create "$tmpfiles"
  fi
  if [ -e "$DESTDIR$config" ]; then
    echo "kept $DESTDIR$config"
  else
    place 640 "$config" < "$source/systemd/hearth.yaml"
    if live; then chown root:hearth "$config"; fi
  fi
  if manager; then
    systemctl daemon-reload
    systemctl try-restart hearthd.service
  fi
  echo "installed hearth below $DESTDIR$program"
  if live; then
    echo "next: put a model into /var/lib/hearth/models, edit $config, then"
    echo '      hearth check-config && systemctl enable --now hearthd'
  fi
}

uninstall_all() {
  if manager && [ -e "$unit" ]; then systemctl disable --now hearthd.service; fi
  rm -rf "$DESTDIR$program" "$DESTDIR$program.new"
  rm -f "$DESTDIR$prefix/bin/hearth" "$DESTDIR$prefix/bin/hearthd" \
    "$DESTDIR$unit" "$DESTDIR$sysusers" "$DESTDIR$tmpfiles"
  if manager; then systemctl daemon-reload; fi
  echo "removed hearth; $DESTDIR/etc/hearth and $DESTDIR/var/lib/hearth stay"
}

"${action}_all"
