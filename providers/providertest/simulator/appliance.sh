#!/bin/sh
# A SIMULATED appliance. Nothing here protects or controls anything: it is a
# directory that behaves like a system with domains which can be quiesced, for
# tests and examples of the device type "command".
#
#   appliance DIR init DOMAIN...        make the directory
#   appliance DIR inspect               identity, model, firmware, build, domain
#   appliance DIR state D               normal | quiescing | quiesced | unquiescing
#   appliance DIR quiesce D SECONDS     ask D to finish its work
#   appliance DIR unquiesce D           ask D to take work again
#   appliance DIR unsaved D             yes | no
#   appliance DIR backup D              what is saved in D
#   appliance DIR backup-unsaved D      what D runs with
#   appliance DIR free-space            bytes
#
# D is a domain or all-domains. How it behaves is in files of DIR that may be
# written at any time:
#
#   domains/D/saved, domains/D/running  the configuration of D
#   identity                            the KEY=VALUE lines of inspect
#   free_bytes                          bytes free on the appliance, which a
#                                       backup of all-domains must find
#   quiesce_seconds, unquiesce_seconds  how long these take; 0 without the file
#   backup_seconds                      how long a backup takes in its middle
#   down                                nothing answers
#   never_quiesces, never_unquiesces    it stays on the way
#   quiesce_fails, unquiesce_fails      the request is refused
#   backup_fails                        half of the output, then exit code 1
#   backup_short                        half of the output, and exit code 0
#   backup_hangs                        half of the output, then nothing more
#
# DIR/calls gets a line for each call: time, process, command, arguments.
set -u
LC_ALL=C
export LC_ALL

die() {
	printf 'appliance: %s\n' "$1" >&2
	exit 1
}

[ $# -ge 2 ] || die 'usage: appliance DIR COMMAND [DOMAIN [SECONDS]]'
dir=$1 command=$2
shift 2

# The first line of a file, or the second argument without that file.
setting() {
	value=$2
	if [ -f "$dir/$1" ]; then
		IFS= read -r value <"$dir/$1" || :
	fi
	printf '%s\n' "$value"
}

# Puts text into a file, which is never seen half written.
put() {
	printf '%s\n' "$2" >"$1.$$" && mv -f "$1.$$" "$1" || die "cannot write $1"
}

# The domains an argument means, one on a line.
domains() {
	found=no
	for d in "$dir"/domains/*/; do
		d=${d%/}
		d=${d##*/}
		[ "$1" = all-domains ] || [ "$1" = "$d" ] || continue
		found=yes
		printf '%s\n' "$d"
	done
	[ $found = yes ] || die "there is no domain $1"
}

# The state of one domain, which moves on when its time has come.
state() {
	word=normal until=0
	if [ -f "$dir/domains/$1/state" ]; then
		read -r word until <"$dir/domains/$1/state" || :
	fi
	if [ "$(date +%s)" -ge "$until" ]; then
		case $word in
		quiescing) [ -e "$dir/never_quiesces" ] || word=quiesced ;;
		unquiescing) [ -e "$dir/never_unquiesces" ] || word=normal ;;
		esac
	fi
	printf '%s\n' "$word"
}

# Sends domains on their way: to what, how long it takes, and the states in which there is nothing to do.
go() {
	until=$(($(date +%s) + $2))
	for d in $list; do
		case " $3 " in
		*" $(state "$d") "*) ;;
		*) put "$dir/domains/$d/state" "$1 $until" ;;
		esac
	done
}

# Writes one kind of content of the domains, with the faults that are asked for.
backup() {
	for d in $list; do
		case $(state "$d") in
		quiescing | unquiescing) die "$d is busy" ;;
		esac
	done
	if [ "$domain" = all-domains ]; then
		total=0
		for d in $list; do
			total=$((total + $(wc -c <"$dir/domains/$d/saved")))
		done
		[ "$total" -le "$(setting free_bytes 0)" ] || die 'no space left on the appliance'
	fi
	half=no
	[ ! -e "$dir/backup_fails" ] && [ ! -e "$dir/backup_short" ] && [ ! -e "$dir/backup_hangs" ] || half=yes
	for d in $list; do
		file=$dir/domains/$d/$1
		[ -f "$file" ] || file=$dir/domains/$d/saved
		size=$(wc -c <"$file") || die "cannot read $d"
		head -c $((size / 2)) "$file" || die "cannot read $d"
		sleep "$(setting backup_seconds 0)"
		[ ! -e "$dir/down" ] || die 'not reachable any more'
		[ $half = no ] || continue
		tail -c +$((size / 2 + 1)) "$file" || die "cannot read $d"
	done
	[ ! -e "$dir/backup_fails" ] || die 'the backup failed'
	while [ -e "$dir/backup_hangs" ]; do
		sleep 1
	done
}

if [ "$command" = init ]; then
	[ $# -ge 1 ] || die 'init needs a domain'
	for d in "$@"; do
		case $d in
		'' | all-domains | .* | -* | *[!A-Za-z0-9._-]*) die "$d cannot be a domain" ;;
		esac
		mkdir -p "$dir/domains/$d" || die "cannot make $dir"
		put "$dir/domains/$d/saved" "configuration of $d"
	done
	put "$dir/identity" "identity=SIM-0001
model=simulated appliance
firmware=1.0.0
build=1"
	put "$dir/free_bytes" 1000000000
	exit 0
fi

[ -d "$dir/domains" ] || die "$dir is no simulated appliance"
printf '%s\n' "$(date +%s) $$ $command${1:+ $*}" >>"$dir/calls"
[ ! -e "$dir/down" ] || die 'not reachable'

case $command in
inspect)
	cat "$dir/identity" || exit 1
	domains all-domains | sed 's/^/domain=/'
	exit 0
	;;
free-space)
	setting free_bytes 0
	exit 0
	;;
esac

[ $# -ge 1 ] || die "$command needs a domain"
domain=$1
list=$(domains "$domain") || exit 1

case $command in
state)
	# In a mixture, what is on its way is told first, and normal only of domains that all are.
	told=normal
	for d in $list; do
		case $(state "$d") in
		quiescing) told=quiescing ;;
		unquiescing) [ $told = quiescing ] || told=unquiescing ;;
		quiesced) [ $told != normal ] || told=quiesced ;;
		esac
	done
	printf '%s\n' "$told"
	;;
quiesce)
	[ ! -e "$dir/quiesce_fails" ] || die 'the request was refused'
	go quiescing "$(setting quiesce_seconds 0)" 'quiescing quiesced'
	;;
unquiesce)
	[ ! -e "$dir/unquiesce_fails" ] || die 'the request was refused'
	go unquiescing "$(setting unquiesce_seconds 0)" 'unquiescing normal'
	;;
unsaved)
	told=no
	for d in $list; do
		[ ! -f "$dir/domains/$d/running" ] || cmp -s "$dir/domains/$d/saved" "$dir/domains/$d/running" || told=yes
	done
	printf '%s\n' $told
	;;
backup) backup saved ;;
backup-unsaved) backup running ;;
*) die "there is no command $command" ;;
esac
