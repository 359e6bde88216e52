#!/bin/bash
# A real Apache Kafka 4.3 (KRaft, from Maven's jars), to compare with and to measure beside. Needs Java 17 and Maven.
#   kafka.sh start [PORT]        fetches the jars the first time (about 10 s), starts it on fresh data, prints its address and PID
#   kafka.sh run CLASS ARGS…     any of its tools, such as org.apache.kafka.tools.DumpLogSegments
#   kafka.sh status              prints address and PID of the one that runs, or fails
#   kafka.sh kill [N]            kill -9 of node N, or 1
#   kafka.sh again [N]           starts it on the data it had
#   kafka.sh stop
# NODES=3 starts three nodes, on PORT, PORT+10 and PORT+20. VERSION=3.9.1 takes another release, HEAP=1g another heap.
set -euo pipefail
dir=${PEERS_DIR:-/tmp/peers-bench}; version=${VERSION:-4.3.0}; jars=$dir/kafka-$version; nodes=$dir/kafka
quiet=-Dorg.slf4j.simpleLogger.defaultLogLevel=warn

prepare() {
  [ -d "$jars" ] && return
  mkdir -p "$dir/pom"
  cat > "$dir/pom/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>peers</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging><dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$version</version></dependency>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$version</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
</dependencies></project>
POM
  mvn -q -B -f "$dir/pom/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$jars.part" >&2
  mv "$jars.part" "$jars"
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
isAlive() { [ -s "$nodes/$1/pid" ] && kill -0 "$(cat "$nodes/$1/pid")" 2>/dev/null; }
running() { [ -d "$nodes" ] && for n in $(ls "$nodes"); do isAlive "$n" && answers "$(cat "$nodes/$n/port")" || return 1; done; }
told() {
  echo "url=$(for n in $(ls "$nodes"); do echo "127.0.0.1:$(cat "$nodes/$n/port")"; done | paste -sd,) pid=$(cat "$nodes/1/pid")${1:-}"
}

configure() { # NODE PORT COUNT CLUSTER VOTERS
  copies=$3; insync=$(($3 > 1 ? $3 - 1 : 1))
  mkdir -p "$nodes/$1"; echo "$2" > "$nodes/$1/port"
  cat > "$nodes/$1/server.properties" <<P
process.roles=broker,controller
node.id=$1
listeners=PLAINTEXT://127.0.0.1:$2,CONTROLLER://127.0.0.1:$(($2 + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$2
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.quorum.voters=$5
log.dirs=$nodes/$1/logs
default.replication.factor=$copies
min.insync.replicas=$insync
offsets.topic.replication.factor=$copies
transaction.state.log.replication.factor=$copies
transaction.state.log.min.isr=$insync
share.coordinator.state.topic.replication.factor=$copies
share.coordinator.state.topic.min.isr=$insync
group.initial.rebalance.delay.ms=0
P
  java $quiet -cp "$jars/*" kafka.tools.StorageTool format -t "$4" -c "$nodes/$1/server.properties" >/dev/null 2>"$nodes/$1/out"
}

start() { # PORT COUNT
  id=$(java $quiet -cp "$jars/*" kafka.tools.StorageTool random-uuid 2>/dev/null)
  voters=$(for n in $(seq "$2"); do echo "$n@127.0.0.1:$(($1 + 10 * n - 9))"; done | paste -sd,)
  for n in $(seq "$2"); do configure "$n" $(($1 + 10 * n - 10)) "$2" "$id" "$voters"; done
  launch $(seq "$2")
}

launch() { # NODE…
  ulimit -n "$(ulimit -Hn)" # a thousand partitions need more than the 1,024 files of a shell
  began=$(date +%s%N)
  for n in "$@"; do
    setsid java -Xms"${HEAP:-1g}" -Xmx"${HEAP:-1g}" -XX:+UseG1GC -XX:MaxGCPauseMillis=20 $quiet -cp "$jars/*" kafka.Kafka "$nodes/$n/server.properties" >> "$nodes/$n/out" 2>&1 < /dev/null &
    echo $! > "$nodes/$n/pid"
  done
  for n in "$@"; do
    port=$(cat "$nodes/$n/port")
    for _ in $(seq 6000); do answers "$port" && break; sleep 0.02; done
    answers "$port" || { echo "Kafka did not start, see $nodes/$n/out" >&2; exit 1; }
  done
  told " started_ms=$(( ($(date +%s%N) - began) / 1000000 ))"
}

case ${1:-} in
start)
  if running; then told; exit 0; fi
  prepare; rm -rf "$nodes"; start "${2:-9292}" "${NODES:-1}" ;;
run) shift; prepare; exec java $quiet -cp "$jars/*" "$@" ;;
status) if running; then told; else echo 'no Kafka of this script is running' >&2; exit 1; fi ;;
kill) kill -9 "$(cat "$nodes/${2:-1}/pid")"; while isAlive "${2:-1}"; do sleep 0.02; done ;;
again) launch "${2:-1}" ;;
stop)
  for n in $(ls "$nodes"); do ! isAlive "$n" || kill "$(cat "$nodes/$n/pid")"; done
  for n in $(ls "$nodes"); do while isAlive "$n"; do sleep 0.1; done; done
  rm -rf "$nodes" ;;
*) sed -n '2,10p' "$0" | cut -c3-; exit 2 ;;
esac
