#!/usr/bin/env bash
# Loses data, an artifact and the state in a temporary directory, and gets all of it back.
# Usage: demo.sh HOLDFAST-BINARY
set -euo pipefail

holdfast=$(realpath "$1")
example=$(cd "$(dirname "$0")" && pwd)
for program in sqlite3 age-keygen; do
  command -v $program >/dev/null || { echo "$program is needed: apt-get install sqlite3 age" >&2; exit 1; }
done
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
# run ARGUMENTS...: the program, at the time of the story. --now is how nights pass in a demonstration.
run() {
  printf '[%s] $ holdfast %s\n' "$now" "$*"
  "$holdfast" "$@" --now="$now"
}
# fails CODE ARGUMENTS...: as run, with the exit code that is expected
fails() {
  local want=$1 code=0
  shift
  run "$@" || code=$?
  echo "(exit code $code)"
  [ "$code" = "$want" ]
}
orders() { sqlite3 "$1" "SELECT 'orders: ' || count(*) || ', the last: ' || (SELECT item FROM orders ORDER BY id DESC LIMIT 1) FROM orders"; }
order() { sqlite3 "$root/orders.db" "INSERT INTO orders(item) VALUES ('$1')"; }

export HOLDFAST_VAR_root="$root" HOLDFAST_STATE="$root/state.db"
mkdir "$root/www"
age-keygen -o "$root/key.txt" 2>/dev/null
HOLDFAST_VAR_recipient=$(age-keygen -y "$root/key.txt")
export HOLDFAST_VAR_recipient
sqlite3 "$root/orders.db" 'CREATE TABLE orders(id INTEGER PRIMARY KEY, item TEXT)'
cd "$example"

say "1. Three nights of backups"
now=2026-11-02T22:00:00Z
run init
for day in Monday Tuesday Wednesday; do
  echo "the page of $day" >"$root/www/index.html"
  order "an order of $day"
  # The machine was busy on Monday. Two thirds of three days later its backups are due to be read, which is after Wednesday's apply.
  now=2026-11-0$(case $day in Monday) echo 2T23:30 ;; Tuesday) echo 3T23:00 ;; *) echo 4T23:00 ;; esac):00Z
  "$holdfast" apply --auto-approve --now="$now" >"$root/log" || { cat "$root/log"; exit 1; }
done
run history
run status

say "2. A disk flips one bit in the backup of Monday. Nobody notices, but the store is read back all the time."
damaged=$(ls "$root"/vault/web/domain/content/*2026-11-02*.tar.zst.age)
byte=$(od -An -tu1 -j200 -N1 "$damaged")
chmod u+w "$damaged"
printf "\\$(printf '%03o' $((byte ^ 1)))" | dd of="$damaged" bs=1 seek=200 conv=notrunc status=none
now=2026-11-05T08:00:00Z
fails 2 plan --detailed-exitcode
fails 8 apply --auto-approve
run status
artifact=$("$holdfast" status --json --now="$now" | sed -n 's/^ *"artifact": "\([0-9A-Z]*\)".*/\1/p' | head -1)
echo "It never goes into a device again:"
fails 7 restore plan --artifact "$artifact" --in-place

say "3. The machine with the state is gone. The store knows enough."
rm "$root"/state.db*
now=2026-11-05T09:00:00Z
run init
fails 1 plan
run store init --adopt vault
echo "Every night is known again. The new state has not read anything yet, and finds the damage of Monday, too:"
fails 8 verify --due
echo "No night is repeated:"
run apply --auto-approve
run plan --detailed-exitcode
run history backup_plan.nightly

say "4. What did the site look like on Tuesday night?"
run restore apply --device web --domain content --at 2026-11-04T00:00:00Z --dir "$root/tuesday" --auto-approve
cat "$root/tuesday/index.html"

say "5. Somebody deletes orders, and another one comes in before it is noticed"
sqlite3 "$root/orders.db" "DELETE FROM orders WHERE item LIKE '%day'"
order "an order after the mistake"
echo "now:      $(orders "$root/orders.db")"
now=2026-11-05T10:00:00Z
run restore plan --device orders --in-place --out "$root/back.plan"
echo "Nothing is replaced without a word:"
fails 7 restore apply "$root/back.plan"
run restore apply "$root/back.plan" --allow=destroy
echo "restored: $(orders "$root/orders.db")"
echo "What was replaced is an artifact, too; the order of the last hour is in it:"
run verify --list --device orders
newest=$("$holdfast" verify --list --device orders --now="$now" | awk '/^[0-9A-Z]/ && length($1) == 26 { print $1; exit }')
run restore apply --artifact "$newest" --dir "$root/replaced" --auto-approve
echo "replaced: $(orders "$root"/replaced/*.db)"

say "6. Is the store well?"
run store status
run store check
say "Done: a bit, the state and the orders of three days were lost, and nothing of it is missing."
