package postgresql

import (
	"errors"
	"fmt"
	"strings"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/postgresql/dump"
	"github.com/holdfast-dr/holdfast/providers/process"
)

// A dump can have faults that were in the database, such as rows that violate a foreign key, or an index on a function
// that only works with a search path. pg_dump takes them, no server loads them.

// maxFaults is how many of them are told.
const maxFaults = 20

// lenient makes warnings of what pg_restore could not load, when that is all that was wrong.
func lenient(err error, warn func(string, ...any)) error {
	var exit *process.ExitError
	if !errors.As(err, &exit) || exit.Code != 1 {
		return err
	}
	all, count := dump.Faults(exit.Stderr)
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
	all, _ := dump.Faults(exit.Stderr)
	if len(all) == 0 || !strings.Contains(all[0], "ERROR:") {
		return err
	}
	return &providers.Error{
		Op: "restore into", Target: database,
		Err: fmt.Errorf("%w: the server refuses a part of the dump: %s", providers.ErrSourceExit, all[0]),
		Hint: "If it was so in the database that was captured, --lenient restores into a new database what can be, " +
			"and lists what cannot.",
	}
}
