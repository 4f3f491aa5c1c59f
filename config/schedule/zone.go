package schedule

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // zones are known on machines that have no zone files
)

// LoadZone finds a time zone by its IANA name. There is no default and no
// fallback: an empty name, "Local" and an unknown name are errors, because a
// schedule in the wrong zone runs at the wrong time without anybody noticing.
func LoadZone(name string) (*time.Location, error) {
	switch name {
	case "":
		return nil, fmt.Errorf("a time zone is empty; write an IANA name, for example \"Europe/Berlin\" or \"UTC\"")
	case "Local", "localtime", "posixrules":
		return nil, fmt.Errorf("the time zone %q is different on every machine; write an IANA name, for example \"Europe/Berlin\" or \"UTC\"", name)
	}
	loc, err := time.LoadLocation(name)
	if err != nil || strings.HasPrefix(name, "right/") || strings.HasPrefix(name, "posix/") {
		if near := properCase(name); near != "" {
			return nil, fmt.Errorf("the time zone %q is unknown; did you mean %q?", name, near)
		}
		return nil, fmt.Errorf("the time zone %q is unknown; write an IANA name, for example \"Europe/Berlin\" or \"UTC\"", name)
	}
	return loc, nil
}

// properCase spells a name such as "europe/new york" the way zones are spelt, or
// gives "" when that is no zone either.
func properCase(name string) string {
	if len(name) > 64 {
		return ""
	}
	b := []byte(strings.ReplaceAll(strings.ToLower(name), " ", "_"))
	for i := range b {
		if (i == 0 || b[i-1] == '/' || b[i-1] == '_') && 'a' <= b[i] && b[i] <= 'z' {
			b[i] -= 'a' - 'A'
		}
	}
	for _, near := range []string{string(b), strings.ToUpper(name)} {
		if _, err := time.LoadLocation(near); err == nil && near != "" && near != name {
			return near
		}
	}
	return ""
}

// Instants and clock readings are both counted in seconds. An instant counts
// from 1970 in UTC. A reading is what a clock on the wall shows, counted as if
// the wall were in UTC. Both stay within the years 2 to 9998, give or take a
// few days: no sum overflows, and every result can be written in RFC 3339.
const (
	day         = 24 * 60 * 60
	firstSecond = -62104060800 // 0002-01-01T00:00:00
	lastSecond  = 253370764799 // 9998-12-31T23:59:59
	endless     = 1 << 40

	// reach is more than any zone's distance from UTC and more than any jump of
	// a clock; the largest were 24 hours, where the date line moved.
	reach = 2 * day
)

// instant gives the last whole second that is not after at, or one a day outside the
// years covered.
func instant(at time.Time) int64 {
	return min(max(at.Unix(), firstSecond-day), lastSecond+day)
}

// moment is the opposite of instant.
func moment(loc *time.Location, t int64) time.Time { return time.Unix(t, 0).In(zone(loc)) }

func zone(loc *time.Location) *time.Location {
	if loc == nil {
		return time.UTC
	}
	return loc
}

// stretch is a time in which a zone keeps one distance from UTC. Neighbouring
// stretches may have the same one.
type stretch struct {
	from, to int64 // instants, half-open
	offset   int64 // reading minus instant
}

func stretchAt(loc *time.Location, t int64) stretch {
	at := moment(loc, t)
	_, offset := at.Zone()
	start, end := at.ZoneBounds()
	s := stretch{from: -endless, to: endless, offset: int64(offset)}
	if !start.IsZero() {
		s.from = min(start.Unix(), t)
	}
	if !end.IsZero() {
		s.to = end.Unix()
	}
	if s.to <= t {
		// Beyond the tabulated changes Go counts 365 days to every year: the
		// stretch that holds 31 December of a leap year ends before that day.
		s.to = t - mod(t, day) + day
	}
	return s
}

// firstShowing gives the earliest instant at which the clock shows at least the
// reading: a reading that is skipped gives the first instant after the gap, one
// that is shown twice the first of the two. It never decreases as the reading
// grows.
func firstShowing(loc *time.Location, reading int64) int64 {
	for s := stretchAt(loc, reading-reach); ; s = stretchAt(loc, s.to) {
		if t := max(s.from, reading-s.offset); t < s.to {
			return t
		}
	}
}

// lastBelow gives the instant from which on the clock never again shows less
// than the reading.
func lastBelow(loc *time.Location, reading int64) int64 {
	for s := stretchAt(loc, reading+reach); ; s = stretchAt(loc, s.from-1) {
		if t := reading - s.offset; t > s.from {
			return min(t, s.to)
		}
	}
}

// reached gives the highest reading the clock has shown up to an instant. It
// differs from what the clock shows only while the clock repeats itself.
func reached(loc *time.Location, t int64) int64 {
	s := stretchAt(loc, t)
	top := t + s.offset
	for s.from > t-reach {
		end := s.from
		s = stretchAt(loc, end-1)
		top = max(top, end-1+s.offset)
	}
	return top
}

// mod is the remainder that is never negative.
func mod(a, b int64) int64 { return (a%b + b) % b }
