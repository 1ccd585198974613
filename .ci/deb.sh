#!/usr/bin/env bash
# The Debian package from the binary that is built already, and what must be in it. Usage: .ci/deb.sh [PROFILE]
set -euo pipefail
cd "$(dirname "$0")/.."
profile=${1:-release}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
command -v cargo-deb >/dev/null || cargo install --locked cargo-deb

cargo deb --no-build --no-strip --fast --profile "$profile" --output "$work/lyncpin.deb" >/dev/null
dpkg-deb -x "$work/lyncpin.deb" "$work/tree"
dpkg-deb -e "$work/lyncpin.deb" "$work/control"
for file in usr/bin/lyncpin usr/lib/systemd/system/lyncpin.service usr/lib/systemd/system/lyncpin-witness.service \
    usr/lib/sysusers.d/lyncpin.conf usr/lib/tmpfiles.d/lyncpin.conf usr/share/doc/lyncpin/INSTALL.md \
    usr/share/doc/lyncpin/RUNBOOK.md usr/share/doc/lyncpin/examples/pair.toml usr/share/doc/lyncpin/examples/witness.toml \
    usr/share/doc/lyncpin/examples/haproxy/tls.cfg usr/share/doc/lyncpin/examples/kamailio/kamailio.cfg; do
    test -e "$work/tree/$file" || test -e "$work/tree/$file.gz" || { echo "not in the package: $file"; exit 1; }
done
for script in postinst prerm postrm; do
    test -x "$work/control/$script" || { echo "no $script"; exit 1; }
    sh -n "$work/control/$script"
done
"$work/tree/usr/bin/lyncpin" --version
"$work/tree/usr/bin/lyncpin" serve --help >/dev/null
mkdir -p "$work/tree/etc"
systemd-sysusers --root="$work/tree" "$work/tree/usr/lib/sysusers.d/lyncpin.conf"
grep -q '^lyncpin:' "$work/tree/etc/passwd" || { echo "the user is not made"; exit 1; }
# The units as they lie in the package, with the package's program.
sed -i "s#/usr/bin/lyncpin#$work/tree/usr/bin/lyncpin#" "$work"/tree/usr/lib/systemd/system/*.service
systemd-analyze verify --man=no "$work"/tree/usr/lib/systemd/system/*.service
dpkg-deb --field "$work/lyncpin.deb" Package Version Architecture Depends Installed-Size
