#!/usr/bin/env bash
# What is left of the dialogs when the node that holds them dies: two Kamailio nodes that copy their dialogs by DMQ, on this
# machine's loopback, without loss. SIPp makes calls through the first node; in the middle of it the node is killed with -9.
# Every call whose 200 the caller had acknowledged should then stand confirmed on the peer; counted is what does not.
#
#   benches/beside_kamailio.sh
#   CALLS=4000 RATE=1000 ROUNDS=5 benches/beside_kamailio.sh
set -eu
cd "$(dirname "$0")/.."
CALLS=${CALLS:-2000}
RATE=${RATE:-300}
ROUNDS=${ROUNDS:-3}
PORT=${PORT:-21400}

for program in kamailio kamcmd sipp; do
    if ! command -v "$program" >/dev/null; then
        echo "$program is not here: apt-get install kamailio sip-tester" >&2
        exit 2
    fi
done

folder=$(mktemp -d)
# kamailio may give up its rights.
chmod 755 "$folder"
pids=
stop_all() {
    for pid in $pids; do kill -9 "$pid" 2>/dev/null || true; done
    for node in 1 2; do
        # Its children die with it, or by their process group.
        [ ! -f "$folder/$node.pid" ] || kill -9 -- "-$(cat "$folder/$node.pid")" 2>/dev/null || true
    done
    pids=
}
trap 'stop_all; rm -rf "$folder"' EXIT INT TERM

config() {
    own=$1
    other=$2
    cat <<CFG
#!KAMAILIO
debug=0
log_stderror=yes
children=8
disable_tcp=yes
auto_aliases=no
listen=udp:127.0.0.1:$((PORT + own))
listen=udp:127.0.0.1:$((PORT + 10 + own))
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "ctl.so"
loadmodule "dmq.so"
loadmodule "dialog.so"
modparam("ctl", "binrpc", "unix:$folder/$own.sock")
modparam("ctl", "binrpc_buffer_size", 4096)
modparam("ctl", "binrpc_max_body_size", 65536)
modparam("ctl", "binrpc_struct_max_body_size", 4096)
modparam("dmq", "server_address", "sip:127.0.0.1:$((PORT + 10 + own))")
modparam("dmq", "notification_address", "sip:127.0.0.1:$((PORT + 10 + other))")
modparam("dmq", "ping_interval", 5)
modparam("dialog", "enable_dmq", 1)
modparam("dialog", "hash_size", 4096)
modparam("dialog", "db_mode", 0)
request_route {
    if (is_method("KDMQ")) { dmq_handle_message(); exit; }
    if (has_totag()) { loose_route(); t_relay(); exit; }
    if (is_method("CANCEL")) { t_relay(); exit; }
    if (is_method("INVITE")) { dlg_manage(); record_route(); }
    \$du = "sip:127.0.0.1:$((PORT + 20))";
    t_relay();
}
CFG
}

cat >"$folder/caller.xml" <<'XML'
<?xml version="1.0" encoding="UTF-8"?>
<scenario name="a call that lasts">
  <send retrans="500"><![CDATA[
    INVITE sip:called@[remote_ip]:[remote_port] SIP/2.0
    Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
    From: <sip:caller@[local_ip]:[local_port]>;tag=[pid]t[call_number]
    To: <sip:called@[remote_ip]:[remote_port]>
    Call-ID: [call_id]
    CSeq: 1 INVITE
    Contact: <sip:caller@[local_ip]:[local_port]>
    Max-Forwards: 70
    Content-Length: 0

  ]]></send>
  <recv response="100" optional="true"/>
  <recv response="180" optional="true"/>
  <recv response="200" rrs="true"/>
  <send><![CDATA[
    ACK [next_url] SIP/2.0
    Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
    [routes]
    From: <sip:caller@[local_ip]:[local_port]>;tag=[pid]t[call_number]
    To: <sip:called@[remote_ip]:[remote_port]>[peer_tag_param]
    Call-ID: [call_id]
    CSeq: 1 ACK
    Max-Forwards: 70
    Content-Length: 0

  ]]></send>
  <nop><action><log message="[call_id]"/></action></nop>
  <pause milliseconds="600000"/>
</scenario>
XML

cat >"$folder/called.xml" <<'XML'
<?xml version="1.0" encoding="UTF-8"?>
<scenario name="who answers">
  <recv request="INVITE" rrs="true"/>
  <send><![CDATA[
    SIP/2.0 180 Ringing
    [last_Via:]
    [last_From:]
    [last_To:];tag=[pid]c[call_number]
    [last_Call-ID:]
    [last_CSeq:]
    [last_Record-Route:]
    Contact: <sip:[local_ip]:[local_port]>
    Content-Length: 0

  ]]></send>
  <send retrans="500"><![CDATA[
    SIP/2.0 200 OK
    [last_Via:]
    [last_From:]
    [last_To:];tag=[pid]c[call_number]
    [last_Call-ID:]
    [last_CSeq:]
    [last_Record-Route:]
    Contact: <sip:[local_ip]:[local_port]>
    Content-Length: 0

  ]]></send>
  <recv request="ACK"/>
  <pause milliseconds="600000"/>
</scenario>
XML

one_round() {
    for node in 1 2; do
        config "$node" "$((3 - node))" >"$folder/$node.cfg"
        rm -f "$folder/$node.pid"
        # In a process group of its own, so that all of it can be killed at once.
        setsid kamailio -DD -E -m 256 -M 16 -f "$folder/$node.cfg" -Y "$folder" -P "$folder/$node.kpid" >"$folder/$node.log" 2>&1 &
        echo $! >"$folder/$node.pid"
        disown
    done
    tries=0
    until [ "$(kamcmd -s "unix:$folder/1.sock" dmq.list_nodes 2>/dev/null | grep -c 'status: active')" = 2 ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 100 ] || { echo "the two nodes do not find each other:" >&2; tail -3 "$folder/1.log" >&2; exit 1; }
        sleep 0.2
    done
    rm -f "$folder/answered"
    sipp "127.0.0.1:$((PORT + 1))" -sf "$folder/called.xml" -i 127.0.0.1 -p "$((PORT + 20))" -nostdin >/dev/null 2>&1 &
    pids="$pids $!"
    disown
    sipp "127.0.0.1:$((PORT + 1))" -sf "$folder/caller.xml" -i 127.0.0.1 -p "$((PORT + 21))" -r "$RATE" -l 100000 \
        -m "$((CALLS * 10))" -trace_logs -log_file "$folder/answered" -nostdin >/dev/null 2>&1 &
    pids="$pids $!"
    disown
    tries=0
    until [ -f "$folder/answered" ] && [ "$(wc -l <"$folder/answered")" -ge "$CALLS" ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 600 ] || { echo "the calls do not get through" >&2; exit 1; }
        sleep 0.1
    done
    kill -9 -- "-$(cat "$folder/1.pid")"
    # What is on its way arrives.
    sleep 3
    sort -u "$folder/answered" >"$folder/answered.ids"
    # One by one: all of them are more than an answer holds.
    sed 's/^/dlg.dlg_list s:/' "$folder/answered.ids" | kamcmd -s "unix:$folder/2.sock" >"$folder/peer.list" 2>"$folder/peer.err"
    if ! grep -q 'call-id:' "$folder/peer.list"; then
        echo "the peer shows no dialog at all: the comparison says nothing" >&2
        exit 1
    fi
    awk '$1 == "call-id:" { id = $2 } $1 == "state:" && !(id in state) { state[id] = $2; print id, $2 }' \
        "$folder/peer.list" | sort -u >"$folder/peer.states"
    awk 'NR == FNR { state[$1] = $2; next }
        { answered++; if (!($1 in state)) missing++; else if (state[$1] < 3) unanswered++; else if (state[$1] > 4) ended++; else if (state[$1] == 3) unacknowledged++ }
        END {
            wrong = missing + unanswered + ended
            printf "| %5d | %7d | %10d | %5d | %14d | %6.2f %% |\n", answered, missing, unanswered, ended, unacknowledged, answered ? 100 * wrong / answered : 0
        }' "$folder/peer.states" "$folder/answered.ids"
    stop_all
    sleep 1
}

echo "two Kamailio ($(kamailio -v | sed -n 's/^version: kamailio \([^ ]*\).*/\1/p')), dialog copied by DMQ; $RATE calls/s, the first node killed after $CALLS answers"
echo "| answered and acknowledged | missing on the peer | not answered there | ended there | confirmed, no ACK there | missing or wrong |"
echo "|------:|--------:|-----------:|------:|---------------:|---------:|"
round=0
while [ "$round" -lt "$ROUNDS" ]; do
    round=$((round + 1))
    one_round
done
