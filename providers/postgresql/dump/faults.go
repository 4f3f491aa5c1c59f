package dump

import (
	"regexp"
	"strconv"
	"strings"
)

var (
	faultText    = regexp.MustCompile(`^pg_restore: error: (?:could not execute query: )?(.*)$`)
	faultIgnored = regexp.MustCompile(`^pg_restore: warning: errors ignored on restore: (\d+)`)
)

// Faults reads what pg_restore says of what it could not load, in words. Count is what it says they are, 0 when it gave
// up at the first.
func Faults(stderr string) (all []string, count int) {
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

// refused names what a command of a dump makes: its beginning, up to where values may follow, of which some are
// secrets.
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
