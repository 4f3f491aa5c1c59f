#!/usr/bin/env bash
# Runs the quickstart: a temporary git repository, real sample data, two sites.
# Usage: demo.sh HOLDFAST-BINARY
set -euo pipefail

holdfast=$(realpath "$1")
example=$(cd "$(dirname "$0")" && pwd)
root=$(mktemp -d)
writer=
cleanup() {
  [ -z "$writer" ] || kill "$writer" 2>/dev/null || true
  rm -rf "$root"
}
trap cleanup EXIT

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
run() {
  printf '$ holdfast %s\n' "$*"
  "$holdfast" "$@"
}

say "Sample data of two sites in $root"
mkdir -p "$root"/{berlin/www/img,berlin/documents,dublin/documents,bin,repo}
for i in $(seq 1 200); do
  echo "page $i of the shop" >"$root/berlin/www/page-$i.html"
done
head -c 3000000 /dev/urandom >"$root/berlin/www/img/hero.jpg"
ln -s page-1.html "$root/berlin/www/index.html"
for i in $(seq 1 50); do
  echo "document $i" >"$root/berlin/documents/doc-$i.txt"
done
printf '#!/bin/sh\necho "item;count"; i=0; while [ $i -lt 500 ]; do echo "part-$i;$((i * 7 %% 31))"; i=$((i + 1)); done\n' >"$root/bin/inventory"
printf '#!/bin/sh\necho "$1: $HOLDFAST_DEVICE" >>"%s/announcements"\n' "$root" >"$root/bin/announce"
chmod +x "$root"/bin/*
sqlite3 "$root/berlin/shop.db" 'PRAGMA journal_mode=WAL; CREATE TABLE orders(id INTEGER PRIMARY KEY, item TEXT, at TEXT);' >/dev/null
(while sleep 0.02; do sqlite3 -cmd '.timeout 2000' "$root/berlin/shop.db" "INSERT INTO orders(item, at) VALUES('part', datetime());" || true; done) 2>/dev/null &
writer=$!
echo "200 pages, an image, 50 documents, a program, and a SQLite database that is written to all the time."

say "The configuration, in a git repository of its own"
cp "$example"/*.hold.hcl "$root/repo/"
git -C "$root/repo" init -q -b main
git -C "$root/repo" config user.name demo
git -C "$root/repo" config user.email demo@example.net
git -C "$root/repo" add .
git -C "$root/repo" commit -q -m "Protect the shop"
export HOLDFAST_VAR_root="$root" HOLDFAST_STATE="$root/state.db"
from_git=(--repo "$root/repo" --ref main)

say "1. Make the state and check the configuration"
run init "${from_git[@]}"

say "2. What would happen? Nothing is touched."
run plan "${from_git[@]}"

say "3. Do it: initialise the store, take backups, establish the active side, sync the mirror"
run apply "${from_git[@]}" --auto-approve

say "4. What happened, down to the files"
run history
nightly=$("$holdfast" history --json backup_plan.nightly | sed -n 's/^ *"id": "\([0-9]*\)",$/\1/p' | head -1)
run history "$nightly"

say "5. Read every byte of every artifact back"
run verify --all

say "6. Restore the web site and compare it with the original"
run restore --device web --domain content --dir "$root/restored"
diff -r "$root/berlin/www" "$root/restored" && echo "identical"
run restore --device shop --dir "$root/restored-shop"
sqlite3 "$root"/restored-shop/*.db 'PRAGMA integrity_check; SELECT count(*) || " orders restored" FROM orders;'

say "7. The same plan again: nothing is left to do"
run plan "${from_git[@]}" --detailed-exitcode

say "8. A commit prefers Dublin: a reviewed switchover"
sed -i '/^failover "documents"/,/^}/{s/preferred = site.berlin/preferred = site.dublin/;s/standby   = \[site.dublin\]/standby   = [site.berlin]/}' "$root/repo/continuity.hold.hcl"
git -C "$root/repo" commit -q -a -m "Documents move to Dublin"
run plan "${from_git[@]}"
echo
echo "Without --allow=role nothing moves:"
run apply "${from_git[@]}" --auto-approve || echo "(exit code $?)"
echo "document 51, written just before the switchover" >"$root/berlin/documents/doc-51.txt"
run apply "${from_git[@]}" --auto-approve --allow=role
printf 'clients now read: %s -> %s, %s documents\n' "$root/current" "$(readlink "$root/current")" "$(ls "$root/current/" | grep -c doc-)"

say "9. The mirror turns around with the role; its first pass back is planned, reviewed, done"
run apply "${from_git[@]}" --auto-approve

say "10. How things stand, and a plan with nothing in it"
run status
run plan "${from_git[@]}" --detailed-exitcode
say "Done: git commit in, backups, mirror and switchover out, every step on record."
