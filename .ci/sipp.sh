#!/usr/bin/env bash
# SIPp (Debian sip-tester) as RCC client against the release binary and the simulated PBX, over loopback TCP.
# SIPp speaks no TLS here; TLS is the tests' own matter. Usage: .ci/sipp.sh [SIGN_INS_PER_S] [SECONDS]
set -euo pipefail
cd "$(dirname "$0")/.."
rate=${1:-200} seconds=${2:-30}
lyncpin=${LYNCPIN:-target/release/lyncpin}
users=$((rate * seconds))
work=$(mktemp -d)
pids=()
stop() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap stop EXIT

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
sip=$(free_port) cti=$(free_port) control=$(free_port)

"$lyncpin" lab directory --count "$users" --first-extension 100001 >"$work/users.csv"
{ echo SEQUENTIAL; tail -n +2 "$work/users.csv" | awk -F, '{ sub(/;ext=.*/, "", $2); print $1 ";" $2 ";" $3 }'; } >"$work/sipp.csv"
cat >"$work/lyncpin.toml" <<TOML
[admin]
listen = []
[sip]
fqdn = "rccgw.contoso.com"
listen = ["tcp://127.0.0.1:$sip"]
[[cti]]
name = "cm1"
address = "csta://127.0.0.1:$cti"
[users]
file = "users.csv"
[log]
level = "warn"
TOML
"$lyncpin" check-config "$work/lyncpin.toml"
"$lyncpin" lab pbx --listen "127.0.0.1:$cti" --control "127.0.0.1:$control" --first-extension 100001 --phones "$users" >"$work/pbx.log" 2>&1 &
pids+=($!)
"$lyncpin" serve --config "$work/lyncpin.toml" >"$work/serve.log" 2>&1 &
pids+=($!)
for _ in $(seq 100); do
    (exec 3<>"/dev/tcp/127.0.0.1/$sip") 2>/dev/null && break
    sleep 0.1
done
sleep 1

# name calls rate: every call must succeed, nothing unexpected may come, nothing may be sent twice.
play() {
    local name=$1 calls=$2 per_s=$3
    echo "SIPp $name: $calls calls, $per_s/s"
    if ! sipp "127.0.0.1:$sip" -t t1 -i 127.0.0.1 -sf "tests/sipp/$name.xml" -inf "$work/sipp.csv" -m "$calls" -r "$per_s" \
        -l 4000 -recv_timeout 10000 -timeout 120 -timeout_error -nostdin -trace_stat -stf "$work/$name.csv" -fd 1 \
        -trace_err -error_file "$work/$name.err" >"$work/$name.out" 2>&1; then
        tail -n 40 "$work/$name.out" "$work/$name.err" "$work/serve.log" 2>/dev/null || true
        echo "SIPp $name failed"
        exit 1
    fi
    python3 - "$work/$name.csv" "$calls" "$work/$name.err" <<'PY'
import csv, sys
rows = list(csv.DictReader(open(sys.argv[1]), delimiter=";"))
last, want = rows[-1], int(sys.argv[2])
ok, failed = int(last["SuccessfulCall(C)"]), int(last["FailedCall(C)"])
bad = {k: last[k] for k in ("Retransmissions(C)", "OutOfCallMsgs(C)", "DeadCallMsgs(C)", "Warnings(C)", "FatalErrors(C)") if int(last.get(k) or 0)}
took = last.get("ResponseTime1(C)", "")
print(f"  {ok} ok, {failed} failed, peak {max(float(r['CallRate(P)']) for r in rows):.0f}/s, INVITE to 200 on average {took}, remarks {bad or 'none'}")
if bad:
    print(open(sys.argv[3], errors="replace").read()[:2000])
sys.exit(0 if ok == want and failed == 0 and not bad else 1)
PY
}
play odd 100 100
play call 200 50
play sign-in "$users" "$rate"
if grep -E "ERROR|panicked" "$work/serve.log"; then
    echo "the gateway reported errors"
    exit 1
fi
