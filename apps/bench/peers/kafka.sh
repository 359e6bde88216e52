#!/bin/bash
# A real Apache Kafka 4.3 (one KRaft node, from Maven's jars), to compare with and to measure beside. Needs Java 17 and Maven.
#   kafka.sh start [PORT]        fetches the jars the first time (about 10 s), starts it on fresh data, prints its address and PID
#   kafka.sh run CLASS ARGS…     any of its tools, such as org.apache.kafka.tools.DumpLogSegments
#   kafka.sh status              prints address and PID of the one that runs, or fails
#   kafka.sh kill | again        kill -9; starts it on the data it had
#   kafka.sh stop
# VERSION=3.9.1 takes another release, HEAP=1g another heap.
set -euo pipefail
dir=${PEERS_DIR:-/tmp/peers-bench}; version=${VERSION:-4.3.0}; jars=$dir/kafka-$version; node=$dir/kafka
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
running() { [ -s "$node/pid" ] && kill -0 "$(cat "$node/pid")" 2>/dev/null && answers "$(cat "$node/port")"; }
told() { echo "url=127.0.0.1:$(cat "$node/port") pid=$(cat "$node/pid")${1:-}"; }

configure() { # PORT
  mkdir -p "$node"; echo "$1" > "$node/port"
  cat > "$node/server.properties" <<P
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:$1,CONTROLLER://127.0.0.1:$(($1 + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$1
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.quorum.voters=1@127.0.0.1:$(($1 + 1))
log.dirs=$node/logs
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
P
  id=$(java $quiet -cp "$jars/*" kafka.tools.StorageTool random-uuid 2>/dev/null)
  java $quiet -cp "$jars/*" kafka.tools.StorageTool format -t "$id" -c "$node/server.properties" >/dev/null 2>"$node/out"
}

launch() {
  ulimit -n "$(ulimit -Hn)" # a thousand partitions need more than the 1,024 files of a shell
  port=$(cat "$node/port"); began=$(date +%s%N)
  setsid java -Xms"${HEAP:-1g}" -Xmx"${HEAP:-1g}" -XX:+UseG1GC -XX:MaxGCPauseMillis=20 $quiet -cp "$jars/*" kafka.Kafka "$node/server.properties" >> "$node/out" 2>&1 < /dev/null &
  echo $! > "$node/pid"
  for _ in $(seq 6000); do answers "$port" && break; sleep 0.02; done
  answers "$port" || { echo "Kafka did not start, see $node/out" >&2; exit 1; }
  told " started_ms=$(( ($(date +%s%N) - began) / 1000000 ))"
}

case ${1:-} in
start)
  if running; then told; exit 0; fi
  prepare; rm -rf "$node"; configure "${2:-9292}"; launch ;;
run) shift; prepare; exec java $quiet -cp "$jars/*" "$@" ;;
status) if running; then told; else echo 'no Kafka of this script is running' >&2; exit 1; fi ;;
kill) kill -9 "$(cat "$node/pid")"; while kill -0 "$(cat "$node/pid")" 2>/dev/null; do sleep 0.02; done ;;
again) launch ;;
stop) kill "$(cat "$node/pid")"; while kill -0 "$(cat "$node/pid")" 2>/dev/null; do sleep 0.1; done; rm -rf "$node" ;;
*) sed -n '2,8p' "$0" | cut -c3-; exit 2 ;;
esac
