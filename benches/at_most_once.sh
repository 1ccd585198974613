#!/usr/bin/env bash
# Kills nodes in turn while 64 users place calls, and compares what they were told with what the PBX did.
#   benches/at_most_once.sh [kills]
# Doubled, acknowledged and lost, refused and done, and ghosts must be 0: then the exit status is 0.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${LYNCPIN:-}" ] || { cargo build --release --bin lyncpin; LYNCPIN=target/release/lyncpin; }
exec "$LYNCPIN" up --users 200 --kills "${1:-100}"
