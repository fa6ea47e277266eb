# The life of the service, from installation to removal, as boot-systemd.sh runs it in a systemd of its own. Prints one line
# `name=value` for each fact; the test knows which values are right.
set -u
fact() { printf '%s=%s\n' "$1" "$2"; }
show() { systemctl show --value -p "$1" hearthd.service; }
# Waits until a command succeeds; systemd and the daemon both work on their own time.
eventually() {
  for _ in $(seq 300); do
    if "$@"; then return 0; fi
    sleep 0.1
  done
  echo "gave up waiting: $*"
  return 1
}

python3 -c 'import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh", b"lo", 0x49))'

sh /run/project/systemd/install.sh --prefix /opt/hearth >/dev/null || exit 1
systemctl enable hearthd.service 2>/dev/null
fact enabled "$(systemctl is-enabled hearthd.service)"
fact config "$(stat -c '%U:%G %a' /etc/hearth/hearth.yaml)"
fact models "$(stat -c '%U:%G %a' /var/lib/hearth/models)"

# Without the model there is nothing that a restart could mend.
systemctl start hearthd.service 2>/dev/null
fact without_model "$(show ActiveState) $(show ExecMainStatus) $(show NRestarts)"
systemctl reset-failed hearthd.service

install -o hearth -g hearth -m 640 /run/project/test/fixtures/models/e2b-narrow.gguf /var/lib/hearth/models/model.gguf
# A text-only model and the embedded broker; written in place, since its owner and mode are part of what is tested.
printf 'model:\n  path: /var/lib/hearth/models/model.gguf\n  threads: 1\n' >/etc/hearth/hearth.yaml
mkdir -p /etc/systemd/system/hearthd.service.d
printf '[Service]\nWatchdogSec=6\n' >/etc/systemd/system/hearthd.service.d/watchdog.conf
systemctl daemon-reload
systemctl start hearthd.service
started=$?
fact started $started
if [ $started != 0 ]; then
  journalctl -o cat -u hearthd.service
  exit 1
fi
fact state "$(show ActiveState)/$(show SubState)"
fact status "$(show StatusText)"
pid=$(show MainPID)
fact user "$(stat -c '%U:%G' "/proc/$pid")"
fact sandbox "$(grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' "/proc/$pid/status" | tr -d '\t' | tr '\n' ' ')"
fact namespaces "$([ "$(readlink "/proc/$pid/ns/user")" != "$(readlink /proc/1/ns/user)" ] && echo own)"
fact writable "$(nsenter -t "$pid" -m sh -c '
  for directory in /usr /etc /opt /srv /var/log /var/lib/hearth; do
    if touch $directory/x 2>/dev/null; then echo $directory; fi
  done
  ls -A /home/ /root/ | grep -v :' | tr '\n' ' ')"

runner=$(pgrep -P "$pid")
fact runner_sandbox "$(grep -E '^(CapEff|NoNewPrivs|Seccomp):' "/proc/$runner/status" | tr -d '\t' | tr '\n' ' ')"
kill -KILL "$runner"
new_runner() { [ -n "$(pgrep -P "$pid")" ] && [ "$(pgrep -P "$pid")" != "$runner" ]; }
eventually new_runner
fact after_runner_was_killed "$(show ActiveState) $([ "$(show MainPID)" = "$pid" ] && echo same) $(show NRestarts)"

# A daemon that hangs is ended by the watchdog, and started anew.
kill -STOP "$pid"
restarted() { [ "$(show NRestarts)" = 1 ] && [ "$(show ActiveState)" = active ]; }
eventually restarted
fact watchdog "$(journalctl -o cat -u hearthd.service | grep -c 'Watchdog timeout')"

sh /run/project/systemd/install.sh --prefix /opt/hearth >/dev/null || exit 1
fact updated "$(show ActiveState) $([ "$(show MainPID)" != "$pid" ] && echo new)"
fact kept "$(grep -c models/model.gguf /etc/hearth/hearth.yaml)"

systemctl stop hearthd.service
fact stopped "$(show ActiveState) $(show Result) $(show ExecMainStatus)"
fact left "$(pgrep -c -u hearth)"
fact journal "$(journalctl -o cat -u hearthd.service | grep -c '"msg":"hearth is ready"')"
fact denied "$(journalctl -o cat -u hearthd.service | grep -cE 'EPERM|EACCES|Operation not permitted')"

sh /run/project/systemd/install.sh --prefix /opt/hearth --uninstall >/dev/null
fact removed "$(systemctl is-enabled hearthd.service 2>/dev/null) $(ls -d /opt/hearth/lib/hearth /opt/hearth/bin/hearth* /etc/systemd/system/hearthd.service 2>/dev/null)"
fact remains "$(ls -d /etc/hearth/hearth.yaml /var/lib/hearth/models/model.gguf | tr '\n' ' ')"
exit 0
