#!/bin/sh
# Runs the example of IBM DPOD's documentation on SIMULATED appliances: directories in a temporary place, made and played by
# appliance.sh. No real device is touched. Usage: demo.sh HOLDFAST-BINARY
set -eu

holdfast=$(realpath "$1")
example=$(cd "$(dirname "$0")" && pwd)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
export HOLDFAST_VAR_root="$root" HOLDFAST_VAR_mounted=false HOLDFAST_STATE="$root/state.db"

cp "$example/appliance.sh" "$root/appliance"
printf '#!/bin/sh\necho "$*" >>"$(dirname "$0")/announced"\n' >"$root/announce"
chmod +x "$root/appliance" "$root/announce"
for device in QA1 QA2 QA3 TEST9; do
  "$root/appliance" "$root/$device" init default
done
"$root/appliance" "$root/TEST8" init DOMAIN1 DOMAIN2 default
echo "changed, and not saved" >"$root/TEST8/domains/DOMAIN2/running" # so DOMAIN2 gives two artifacts
touch "$root/TEST9/down"                                             # so its task is skipped
echo "Simulated appliances: QA1, QA2, QA3, TEST8 with DOMAIN1 and DOMAIN2, and TEST9, which is not available."

night=2026-11-20T23:00:00Z # inside the maintenance window
"$holdfast" init --chdir "$example"
"$holdfast" plan --chdir "$example" --now=$night
"$holdfast" apply --chdir "$example" --now=$night --auto-approve
"$holdfast" history 2
(cd "$root/store" && find . -name .holdfast -prune -o -type f -print | sort)
cat "$root/announced"
for device in QA1 QA2 QA3 TEST8; do
  printf '%s is %s\n' "$device" "$("$root/appliance" "$root/$device" state all-domains)"
done
