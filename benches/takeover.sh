#!/usr/bin/env bash
# The pause of 10,000 signed-in users with 500 calls when the node that serves them all is killed or frozen.
#   benches/takeover.sh [rounds] [users] [calls]
# Per round: how long until its records belong to the other node, until every dialog has answered, the longest pause of each
# asking user, and what was lost. Clients, balancer, PBX and both nodes share this machine.
set -euo pipefail
rounds=${1:-3} users=${2:-10000} calls=${3:-500}
cd "$(dirname "$0")/.."
[ -n "${LYNCPIN:-}" ] || { cargo build --release --bin lyncpin; LYNCPIN=target/release/lyncpin; }
echo "$(nproc) cores, load $(cut -d' ' -f1-3 /proc/loadavg)"
failed=0
for fault in kill freeze; do
    for pace in default lan; do
        for round in $(seq "$rounds"); do
            echo "-- $fault, pace $pace, round $round"
            "$LYNCPIN" up --drill --fault "$fault" --pace "$pace" --users "$users" --calls "$calls" --front-ends 20 |
                sed -n '/^  node [12],/,$p' || failed=1
        done
    done
done
exit $failed
