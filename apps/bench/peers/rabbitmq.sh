#!/bin/bash
# A real RabbitMQ 4.0 (Debian 13's package, in a small chroot), to compare with and to measure beside.
#   rabbitmq.sh start [PORT]     prepares it the first time (about 40 s, root, Debian), starts it, prints URL and PID
#   rabbitmq.sh ctl ARGS…        rabbitmqctl
#   rabbitmq.sh status           prints URL and PID of the one that runs, or fails
#   rabbitmq.sh stop
# Fresh data at each start; KEEP=1 keeps it. MANAGEMENT=1 enables the management plugin on PORT + 10000.
set -euo pipefail
dir=${PEERS_DIR:-/tmp/peers}; root=$dir/trixie; port_file=$dir/rabbitmq.port
inside() { chroot "$root" env HOME=/var/lib/rabbitmq LANG=C.UTF-8 RABBITMQ_NODENAME=peer@localhost "$@"; }

prepare() {
  [ -x "$root/usr/sbin/rabbitmq-server" ] && return
  command -v debootstrap >/dev/null || { apt-get update -qq; apt-get install -y -qq debootstrap; } >&2
  mkdir -p "$dir"; rm -rf "$root"
  mirror=$(cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null | grep -E "^(URIs:|deb )" | grep -oE "https?://[^ ]+/debian/?( |$)" | head -1 || true)
  debootstrap --variant=minbase --include=ca-certificates trixie "$root" "$mirror" >&2
  cp /etc/apt/apt.conf.d/*proxy* "$root/etc/apt/apt.conf.d/" 2>/dev/null || true
  cp /etc/hosts "$root/etc/hosts"
  printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"; chmod +x "$root/usr/sbin/policy-rc.d"
  mounts
  inside env DEBIAN_FRONTEND=noninteractive sh -c 'apt-get update -qq && apt-get install -y -qq --no-install-recommends rabbitmq-server' >&2
}
mounts() { for m in proc dev; do mountpoint -q "$root/$m" || mount --bind "/$m" "$root/$m"; done; }

pid_file=$root/var/lib/rabbitmq/mnesia/peer@localhost.pid
# Only one at a time: a second would share its name and its data folder.
running() { [ -s "$pid_file" ] && [ -s "$port_file" ] && kill -0 "$(cat "$pid_file")" 2>/dev/null && (exec 3<>"/dev/tcp/127.0.0.1/$(cat "$port_file")") 2>/dev/null; }
told() { echo "url=amqp://guest:guest@127.0.0.1:$(cat "$port_file") pid=$(cat "$pid_file")${1:-}"; }

case ${1:-} in
start)
  port=${2:-5682}
  if running; then told; exit 0; fi
  prepare; mounts
  [ "${KEEP:-}" ] || rm -rf "$root/var/lib/rabbitmq/mnesia"
  inside chown -R rabbitmq:rabbitmq /var/lib/rabbitmq /var/log/rabbitmq
  if [ -z "${MANAGEMENT:-}" ]; then rm -f "$root/etc/rabbitmq/enabled_plugins"; else inside rabbitmq-plugins enable --offline rabbitmq_management rabbitmq_prometheus >&2; fi
  printf 'management.tcp.port = %s\nprometheus.tcp.port = %s\n' $((port + 10000)) $((port + 10010)) > "$root/etc/rabbitmq/peer.conf"
  ulimit -n "$(ulimit -Hn)" # a thousand connections and their queues need more than the 1,024 files of a shell
  began=$(date +%s%N)
  setsid chroot "$root" env HOME=/var/lib/rabbitmq LANG=C.UTF-8 RABBITMQ_NODENAME=peer@localhost RABBITMQ_NODE_PORT="$port" \
    RABBITMQ_DIST_PORT=$((port + 20000)) ${MANAGEMENT:+RABBITMQ_CONFIG_FILE=/etc/rabbitmq/peer} rabbitmq-server > "$dir/rabbitmq.out" 2>&1 < /dev/null &
  for _ in $(seq 600); do (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; sleep 0.05; done
  (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "RabbitMQ did not start, see $dir/rabbitmq.out" >&2; exit 1; }
  echo "$port" > "$port_file"
  told " started_ms=$(( ($(date +%s%N) - began) / 1000000 ))" ;;
status) if running; then told; else echo "no RabbitMQ of this script is running" >&2; exit 1; fi ;;
ctl) shift; inside rabbitmqctl "$@" ;;
stop) inside rabbitmqctl -q stop /var/lib/rabbitmq/mnesia/peer@localhost.pid; rm -f "$port_file" ;;
*) sed -n '2,7p' "$0" | cut -c3-; exit 2 ;;
esac
