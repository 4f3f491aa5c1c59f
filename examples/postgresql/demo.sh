#!/usr/bin/env bash
# Backs up and restores a PostgreSQL server that it starts in a temporary directory. No other server is touched.
# Usage: demo.sh HOLDFAST-BINARY
set -euo pipefail

holdfast=$(realpath "$1")
example=$(cd "$(dirname "$0")" && pwd)
newest=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1 || true)
PATH="${newest:+$newest:}$PATH"
command -v initdb >/dev/null || { echo "the programs of a PostgreSQL server are needed: apt-get install postgresql" >&2; exit 1; }

# A server refuses to run as root.
as_server=()
if [ "$(id -u)" = 0 ]; then
  as_server=(setpriv --reuid=postgres --regid=postgres --init-groups)
fi
root=$(mktemp -d)
writer=
cleanup() {
  [ -z "$writer" ] || kill "$writer" 2>/dev/null || true
  for data in "$root"/server/data "$root"/rebuilt; do
    [ ! -e "$data/postmaster.pid" ] || "${as_server[@]}" pg_ctl stop -s -m immediate -D "$data" || true
  done
  rm -rf "$root"
}
trap cleanup EXIT

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
run() {
  printf '$ holdfast %s\n' "$*"
  "$holdfast" "$@"
}
# start SOCKET-DIRECTORY DATA-DIRECTORY
start() { "${as_server[@]}" pg_ctl start -s -w -D "$2" -l "$1/log" -o "-k '$1' -c listen_addresses= -c fsync=off"; }
# query SOCKET-DIRECTORY DATABASE SQL
query() { psql -X -q -A -t -v ON_ERROR_STOP=1 -h "$1" -U keeper -d "$2" -c "$3"; }
# facts SOCKET-DIRECTORY DATABASE: of the database "shop" under any name, as fingerprint.json writes them
facts() {
  query "$1" "$2" "SELECT format('accounts %s, balance %s, history %s, delta %s', (SELECT count(*) FROM pgbench_accounts), (SELECT coalesce(sum(abalance), 0) FROM pgbench_accounts),
    count(*), coalesce(sum(delta), 0)) FROM pgbench_history"
}

say "A PostgreSQL server in $root"
cd "$root"
chmod 755 "$root"
mkdir server other
PGPASSWORD=$(head -c 18 /dev/urandom | base64 | tr -d '+/=')
export PGPASSWORD PGUSER=keeper
(umask 077 && printf "host=%s user=keeper password=%s" "$root/server" "$PGPASSWORD" >server.dsn && printf '%s\n' "$PGPASSWORD" >server/password)
[ "$(id -u)" != 0 ] || chown -R postgres: server other
"${as_server[@]}" initdb -D "$root/server/data" -U keeper -A scram-sha-256 --pwfile="$root/server/password" -E UTF8 --locale=C.UTF-8 --no-sync >/dev/null
rm server/password
start "$root/server" "$root/server/data"
query "$root/server" postgres "CREATE DATABASE shop"
query "$root/server" postgres "CREATE DATABASE ledger"
pgbench -h "$root/server" -i -q -s 1 shop 2>/dev/null
query "$root/server" ledger "CREATE TABLE entries AS SELECT i AS id, i * 7 % 1001 AS amount FROM generate_series(1, 5000) i"
pgbench -h "$root/server" -n -c 2 -T 3600 shop >/dev/null 2>&1 &
writer=$!
until [ "$(query "$root/server" shop "SELECT count(*) > 100 FROM pgbench_history")" = t ]; do sleep 0.1; done
echo "Two databases; shop is written to all the time: $(facts "$root/server" shop)"

export HOLDFAST_VAR_root="$root" HOLDFAST_STATE="$root/state.db"
say "1. What would happen?"
run init --chdir "$example"
run plan --chdir "$example"

say "2. Do it: an export of each database, and a secure backup"
run apply --chdir "$example" --auto-approve
run history
run verify --all

say "3. Restore the export of shop into another database of the server"
run restore plan --chdir "$example" --device main --domain shop --to main --to-domain shop_copy --out "$root/copy.plan"
run restore apply "$root/copy.plan"
run restore apply --chdir "$example" --device main --domain shop --dir "$root/export" --auto-approve
# fact TEXT: a value of fingerprint.json
fact() { sed -n "s/^ *\"$1\": \"\{0,1\}\([-0-9]*\)\"\{0,1\},\{0,1\}$/\1/p" "$root/export/fingerprint.json"; }
captured="accounts $(fact '\\"public\\".\\"pgbench_accounts\\"'), balance $(fact '\\"public\\".\\"pgbench_accounts\\".\\"abalance\\"'), history $(fact '\\"public\\".\\"pgbench_history\\"'), delta $(fact '\\"public\\".\\"pgbench_history\\".\\"delta\\"')"
restored=$(facts "$root/server" shop_copy)
echo "captured: $captured"
echo "restored: $restored"
echo "now:      $(facts "$root/server" shop)"
[ "$captured" = "$restored" ] || { echo "The fingerprint differs." >&2; exit 1; }
echo "The fingerprint is equal."

say "4. Rebuild the whole server in an empty directory"
run restore apply --chdir "$example" --device main --domain all-domains --dir "$root/rebuilt" --auto-approve
[ "$(id -u)" != 0 ] || chown -R postgres: "$root/rebuilt"
start "$root/other" "$root/rebuilt"
rebuilt=$(facts "$root/other" shop)
echo "rebuilt:  $rebuilt"
query "$root/other" ledger "SELECT 'ledger:   ' || count(*) || ' entries, sum ' || sum(amount) FROM entries"
agree=$(query "$root/other" shop "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history)")
[ "$agree" = t ] || { echo "Its books do not agree." >&2; exit 1; }
echo "Its books agree: the sum of all balances is the sum of all changes."

say "5. Somebody drops a table: put shop back in its place"
kill "$writer"
wait "$writer" 2>/dev/null || true
writer=
query "$root/server" shop "DROP TABLE pgbench_accounts"
query "$root/server" shop "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 1, 1, 1, now())"
written=$(query "$root/server" shop "SELECT count(*) FROM pgbench_history")
run restore plan --chdir "$example" --device main --domain shop --in-place --out "$root/back.plan"
run restore apply "$root/back.plan" --allow=destroy
back=$(facts "$root/server" shop)
echo "captured: $captured"
echo "in place: $back"
[ "$captured" = "$back" ] || { echo "The fingerprint differs." >&2; exit 1; }
echo "The fingerprint in place is equal."
kept=$(query "$root/server" postgres "SELECT datname FROM pg_database WHERE datname LIKE 'shop_replaced_%'")
query "$root/server" postgres "ALTER DATABASE $kept ALLOW_CONNECTIONS true"
still=$(query "$root/server" "$kept" "SELECT count(*) FROM pgbench_history")
[ "$still" = "$written" ] || { echo "$kept does not have what was written last." >&2; exit 1; }
echo "The replaced database is kept as $kept, with all $still rows of its history."
run verify --list --device main --domain shop

say "Done: one table was lost, and nothing that was written is."
