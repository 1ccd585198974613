#!/bin/sh
# Durable commits a second, ours beside etcd's: three members each on this machine's loopback and disk, the same payload of
# 300 bytes, the same number of writers, in turns. An etcd put is the plain one; ours checks version and owner.
#
#   benches/beside_etcd.sh                     64 and 256 writers, three rounds
#   ROUNDS=1 WRITERS="1 64 256 1024" SECONDS_EACH=3 benches/beside_etcd.sh
#
# The median of the rounds counts. The etcd client's own share of a processor stands in the last column: what the two
# processors have left is etcd's.
set -eu
cd "$(dirname "$0")/.."
ROUNDS=${ROUNDS:-3}
WRITERS=${WRITERS:-64 256}
SECONDS_EACH=${SECONDS_EACH:-5}
PORT=${PORT:-21370}

if ! command -v etcd >/dev/null; then
    echo "etcd is not here: apt-get install etcd-server" >&2
    exit 2
fi

target=${CARGO_TARGET_DIR:-$PWD/target}
CARGO_TARGET_DIR="$target/etcd_put" cargo build --quiet --release --manifest-path benches/etcd_put/Cargo.toml
cargo bench --quiet -p lyncpin-cluster --bench commits --no-run
folder=$(mktemp -d)
members=

stop_etcd() {
    for pid in $members; do kill "$pid" 2>/dev/null || true; done
    for pid in $members; do wait "$pid" 2>/dev/null || true; done
    members=
}
trap 'stop_etcd; rm -rf "$folder"' EXIT INT TERM

peer() { echo "http://127.0.0.1:$((PORT + 10 + $1))"; }
client() { echo "127.0.0.1:$((PORT + $1))"; }

start_etcd() {
    all="m1=$(peer 1),m2=$(peer 2),m3=$(peer 3)"
    for member in 1 2 3; do
        etcd --name "m$member" --data-dir "$folder/round$1/m$member" --initial-cluster "$all" --initial-cluster-state new \
            --initial-advertise-peer-urls "$(peer $member)" --listen-peer-urls "$(peer $member)" \
            --advertise-client-urls "http://$(client $member)" --listen-client-urls "http://$(client $member)" \
            --log-level error --logger zap >>"$folder/etcd.log" 2>&1 &
        members="$members $!"
    done
    tries=0
    until timeout 5 "$target/etcd_put/release/etcd_put" 1 0 "$(client 1)" "$(client 2)" "$(client 3)" >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ "$tries" -gt 50 ]; then
            echo "etcd does not come up:" >&2
            tail -5 "$folder/etcd.log" >&2
            exit 1
        fi
        sleep 0.2
    done
}

echo "etcd $(etcd --version | sed -n 's/etcd Version: //p') beside lyncpin-cluster, $(nproc) processors, $ROUNDS rounds of ${SECONDS_EACH} s"
round=0
while [ "$round" -lt "$ROUNDS" ]; do
    round=$((round + 1))
    start_etcd "$round"
    for count in $WRITERS; do
        "$target/etcd_put/release/etcd_put" "$count" "$SECONDS_EACH" "$(client 1)" "$(client 2)" "$(client 3)"
    done >>"$folder/etcd.rows"
    stop_etcd
    WRITERS=$(echo "$WRITERS" | tr ' ' ',') SECONDS=$SECONDS_EACH \
        cargo bench --quiet -p lyncpin-cluster --bench commits | grep -E '^\| +[0-9]' >>"$folder/ours.rows"
done

for who in etcd ours; do
    sed "s/^/$who /; s/|/ /g" "$folder/$who.rows"
done | sort -k1,1 -k2,2n -k3,3r -k4,4n | awk '
    function median() { return sorted[int((held + 1) / 2)] }
    function finish() { if (held) { rate[last] = median(); low[last] = sorted[1]; high[last] = sorted[held] } held = 0 }
    {
        key = $1 " " $2 " " $3
        if (key != last) { finish(); last = key; order[++rows] = $2 " " $3; }
        sorted[++held] = $4; p50[key] += $5; p99[key] += $6; share[key] += $7; times[key]++
    }
    END {
        finish()
        print "| writers | at the   | etcd puts/s, p50, p99 us (client CPU)        | ours commits/s, p50, p99 us         | ratio |"
        print "|--------:|----------|----------------------------------------------|-------------------------------------|------:|"
        for (row = 1; row <= rows; row++) {
            e = "etcd " order[row]; o = "ours " order[row]
            if (!(e in rate) || !(o in rate) || order[row] in shown) continue
            shown[order[row]] = 1
            split(order[row], place, " ")
            printf "| %7d | %-8s | %6d [%d-%d], %d, %d (%.2f) | %6d [%d-%d], %d, %d | %5.2f |\n", place[1], place[2],
                rate[e], low[e], high[e], p50[e] / times[e], p99[e] / times[e], share[e] / times[e],
                rate[o], low[o], high[o], p50[o] / times[o], p99[o] / times[o], rate[o] / rate[e]
        }
    }'
