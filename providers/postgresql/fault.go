package postgresql

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/process"
)

// A dump can have faults that were in the database, such as rows that violate a foreign key, or an index on a function that only works with
// a search path. pg_dump takes them, no server loads them.

// maxFaults is how many of them are told.
const maxFaults = 20

var (
	faultText    = regexp.MustCompile(`^pg_restore: error: (?:could not execute query: )?(.*)$`)
	faultIgnored = regexp.MustCompile(`^pg_restore: warning: errors ignored on restore: (\d+)`)
)

// faults reads what pg_restore says of what it could not load, in words. Count is what it says they are, 0 when it gave up at the first.
func faults(stderr string) (all []string, count int) {
	var command []string // that was refused, while its lines are read
	reading := false
	end := func() {
		if what := refused(strings.Join(command, " ")); what != "" {
			all[len(all)-1] = what + ": " + all[len(all)-1]
		}
		command, reading = nil, false
	}
	for line := range strings.Lines(stderr) {
		line = strings.TrimSpace(line)
		first, begins := strings.CutPrefix(line, "Command was:")
		detail, details := strings.CutPrefix(line, "DETAIL:")
		switch m := faultText.FindStringSubmatch(line); {
		case m != nil:
			end()
			all = append(all, m[1])
		case faultIgnored.MatchString(line):
			end()
			count, _ = strconv.Atoi(faultIgnored.FindStringSubmatch(line)[1])
		case len(all) == 0:
		case reading:
			command = append(command, line)
		case begins:
			command, reading = []string{first}, true
		case details:
			all[len(all)-1] += " (" + strings.TrimSpace(detail) + ")"
		}
	}
	end()
	return all, count
}

// refused names what a command of a dump makes: its beginning, up to where values may follow, of which some are secrets.
func refused(command string) string {
	const most = 200
	if i := strings.IndexAny(command, "('$;"); i >= 0 {
		command = command[:i]
	}
	command = strings.Join(strings.Fields(command), " ")
	if len(command) > most {
		command = strings.ToValidUTF8(command[:most], "") + "..."
	}
	return command
}

// lenient makes warnings of what pg_restore could not load, when that is all that was wrong.
func lenient(err error, warn func(string, ...any)) error {
	var exit *process.ExitError
	if !errors.As(err, &exit) || exit.Code != 1 {
		return err
	}
	all, count := faults(exit.Stderr)
	if count == 0 {
		return err
	}
	if len(all) > maxFaults {
		all = all[:maxFaults]
	}
	for _, text := range all {
		warn("not loaded: %s", text)
	}
	if n := count - len(all); n > 0 {
		warn("not loaded: %d more", n)
	}
	return nil
}

// named says which part of the dump a server refused, and what can be done.
func named(err error, database string) error {
	var exit *process.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	all, _ := faults(exit.Stderr)
	if len(all) == 0 || !strings.Contains(all[0], "ERROR:") {
		return err
	}
	return &providers.Error{
		Op: "restore into", Target: database, Err: fmt.Errorf("%w: the server refuses a part of the dump: %s", providers.ErrSourceExit, all[0]),
		Hint: "If it was so in the database that was captured, --lenient restores into a new database what can be, and lists what cannot.",
	}
}
