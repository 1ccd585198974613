#!/usr/bin/env bash
# Memory a signed-in idle user costs the gateway process, everything included: VmRSS of `lyncpin serve` before and after
# USERS sign in, over four shared front-end connections and over one TCP connection each. Usage: benches/idle_users.sh [USERS]
set -euo pipefail
cd "$(dirname "$0")/.."
users=${1:-20000}
lyncpin=${LYNCPIN:-target/release/lyncpin}
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"

measure() {
    local name=$1
    shift
    local work pids=()
    work=$(mktemp -d)
    local sip=25060 cti=28800 control=28899
    "$lyncpin" lab directory --count "$users" --first-extension 100001 >"$work/users.csv"
    cat >"$work/lyncpin.toml" <<TOML
[admin]
listen = []
[sip]
listen = ["tcp://127.0.0.1:$sip"]
sessions_max = 100000
keepalive_s = 0
[sip.limits]
flows_max = 50000
flows_per_peer_max = 50000
[[cti]]
name = "cm1"
address = "csta://127.0.0.1:$cti"
[users]
file = "users.csv"
[log]
level = "warn"
TOML
    "$lyncpin" lab pbx --listen "127.0.0.1:$cti" --control "127.0.0.1:$control" --first-extension 100001 --phones "$users" >/dev/null 2>&1 &
    pids+=($!)
    "$lyncpin" serve --config "$work/lyncpin.toml" >"$work/serve.log" 2>&1 &
    local gateway=$!
    pids+=("$gateway")
    sleep 2
    rss() { awk '/VmRSS/ { print $2 }' "/proc/$gateway/status"; }
    local before
    before=$(rss)
    "$lyncpin" lab users --gateway "127.0.0.1:$sip" --users-csv "$work/users.csv" --sign-ins-per-s 2000 --calls-per-s 0 \
        --duration-s 40 --quiet --json "$@" >"$work/report.json" &
    local client=$!
    pids+=("$client")
    sleep 30
    local after
    after=$(rss)
    local sessions
    sessions=$(grep -c "sign-in refused" "$work/serve.log" || true)
    echo "$name: $users users, $sessions refused, gateway VmRSS $before KiB before, $after KiB after: $(((after - before) * 1024 / users)) bytes a user"
    wait "$client" || true
    python3 - "$work/report.json" <<'PY'
import json, sys
r = json.load(open(sys.argv[1]))
print("  signed in", r["signed_in"], "of", r["users"], "failures", r["failures"] or "none", "violations", r["violations"] or "none")
PY
    kill "${pids[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$work"
}

measure "four shared connections" --connections 4
# Each connection is a file of the gateway and one of the client.
files=$(ulimit -n)
if [ "$users" -gt $((files - 128)) ]; then
    users=$((files - 128))
    echo "this shell may open $files files: $users users"
fi
measure "one TCP connection each" --own-connections
