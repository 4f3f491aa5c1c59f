// Package unit holds quantities as people write them in configuration:
// durations ("90m", "7d"), sizes ("1MiB") and percentages ("10%"). Each
// type prints in the form it is read in, so a specification survives a round
// trip through text. It is a leaf: the declared model and the providers' settings
// both use it.
package unit

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time. A day is 24 hours and a week is 7 days: it
// measures elapsed time, never calendar days.
type Duration time.Duration

var durationUnits = []struct {
	name string
	size time.Duration
}{
	{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}, {"h", time.Hour}, {"ms", time.Millisecond}, {"m", time.Minute}, {"s", time.Second},
}

// ParseDuration reads "90m", "1h30m", "7d" or "2w". A bare number, a negative value and an empty
// text are errors; "0s" is allowed.
func ParseDuration(s string) (Duration, error) {
	rest, total := s, time.Duration(0)
	if s == "" {
		return 0, fmt.Errorf("a duration is empty; write for example \"90m\"")
	}
	for rest != "" {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		if digits == 0 {
			return 0, fmt.Errorf("%q is not a duration; write for example \"30s\", \"90m\", \"4h\", \"7d\" or \"2w\"", s)
		}
		n, err := strconv.ParseInt(rest[:digits], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%q is too long a duration", s)
		}
		rest = rest[digits:]
		unit, size := "", time.Duration(0)
		for _, u := range durationUnits {
			if strings.HasPrefix(rest, u.name) && len(u.name) > len(unit) {
				unit, size = u.name, u.size
			}
		}
		if unit == "" {
			return 0, fmt.Errorf("%q has no unit; write for example \"%ss\", \"%sm\" or \"%sh\"", s, s, s, s)
		}
		if n > int64((math.MaxInt64-total)/size) {
			return 0, fmt.Errorf("%q is too long a duration", s)
		}
		total += time.Duration(n) * size
		rest = rest[len(unit):]
	}
	return Duration(total), nil
}

// Std gives the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String gives the shortest text that reads back as the same duration.
func (d Duration) String() string {
	if d == 0 {
		return "0s"
	}
	var b strings.Builder
	rest := time.Duration(d)
	for _, u := range []struct {
		name string
		size time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}} {
		if u.name == "w" && rest%u.size != 0 {
			continue
		}
		if n := rest / u.size; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			rest -= n * u.size
		}
	}
	if b.Len() == 0 {
		return "0s"
	}
	return b.String()
}

func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

func (d *Duration) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDuration(string(b))
	return err
}

// Size is a number of bytes.
type Size int64

var sizeUnits = []struct {
	name string
	size int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
}

// ParseSize reads "512B", "1MiB" or "2GB" (binary and decimal units differ). A bare number is an error.
func ParseSize(s string) (Size, error) {
	for _, u := range sizeUnits {
		if digits, ok := strings.CutSuffix(s, u.name); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
			if err != nil || n < 0 || n > math.MaxInt64/u.size {
				break
			}
			return Size(n * u.size), nil
		}
	}
	if _, err := strconv.ParseInt(s, 10, 64); err == nil {
		return 0, fmt.Errorf("%q has no unit; write for example \"%sMiB\" or \"%sB\"", s, s, s)
	}
	return 0, fmt.Errorf("%q is not a size; write for example \"512KiB\", \"1MiB\" or \"2GB\"", s)
}

// String gives the text in the largest unit that divides the size exactly.
func (z Size) String() string {
	for _, u := range sizeUnits {
		if z != 0 && int64(z)%u.size == 0 {
			return strconv.FormatInt(int64(z)/u.size, 10) + u.name
		}
	}
	return "0B"
}

func (z Size) MarshalText() ([]byte, error) { return []byte(z.String()), nil }

func (z *Size) UnmarshalText(b []byte) (err error) {
	*z, err = ParseSize(string(b))
	return err
}
