// Package unit holds quantities as people write them in configuration:
// durations ("90m", "7d") and sizes ("1MiB"). Each type prints in a form that
// it reads back as the same value, so a specification survives a round trip
// through text. It is a leaf: the declared model and the providers' settings
// both use it.
package unit

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// unit is a name and what it stands for, in nanoseconds or bytes.
type unit struct {
	name string
	size int64
}

func indexUnit(units []unit, name string) int {
	return slices.IndexFunc(units, func(u unit) bool { return u.name == name })
}

// Duration is a length of time. A day is 24 hours and a week is 7 days: it
// measures elapsed time, never calendar days.
type Duration time.Duration

// From large to small, the order in which they are written.
var durationUnits = []unit{
	{"w", 7 * 24 * int64(time.Hour)}, {"d", 24 * int64(time.Hour)}, {"h", int64(time.Hour)},
	{"m", int64(time.Minute)}, {"s", int64(time.Second)}, {"ms", int64(time.Millisecond)},
}

// ParseDuration reads "90m", "1h30m", "7d" or "2w": whole numbers, each with its
// unit, from the largest unit to the smallest and none twice. A bare number, a
// negative value and an empty text are errors; "0s" is allowed.
func ParseDuration(s string) (Duration, error) {
	if s == "" {
		return 0, errors.New("a duration is empty; write for example \"90m\"")
	}
	if digits(s) == len(s) {
		return 0, fmt.Errorf("%.40q has no unit; write for example \"%.20ss\", \"%.20sm\" or \"%.20sh\"", s, s, s, s)
	}
	total, units := int64(0), durationUnits
	for rest := s; rest != ""; {
		n := digits(rest)
		number, after := rest[:n], rest[n:]
		name := after[:len(after)-len(strings.TrimLeft(after, "wdhms"))]
		i := indexUnit(durationUnits, name)
		if number == "" || i < 0 {
			return 0, fmt.Errorf("%.40q is not a duration; write for example \"30s\", \"90m\", \"4h\", \"7d\" or \"2w\"", s)
		}
		i = indexUnit(units, name)
		if i < 0 {
			return 0, fmt.Errorf("%.40q has its units out of order; write each once, from large to small, for example \"1d12h30m\"", s)
		}
		count, err := strconv.ParseInt(number, 10, 64)
		if err != nil || count > (math.MaxInt64-total)/units[i].size {
			return 0, fmt.Errorf("%.40q is too long a duration; 15000w is about the limit", s)
		}
		total += count * units[i].size
		rest, units = after[len(name):], units[i+1:]
	}
	return Duration(total), nil
}

// Std gives the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String gives a text that reads back as the same duration: weeks if they are
// whole, otherwise from days down to milliseconds. A duration that cannot be
// written in configuration, because it is negative or finer than a millisecond,
// prints as time.Duration does.
func (d Duration) String() string {
	switch {
	case !d.writable():
		return time.Duration(d).String()
	case d == 0:
		return "0s"
	}
	var b strings.Builder
	rest := int64(d)
	for _, u := range durationUnits {
		if u.name == "w" && rest%u.size != 0 {
			continue
		}
		if n := rest / u.size; n > 0 {
			b.WriteString(strconv.FormatInt(n, 10) + u.name)
			rest -= n * u.size
		}
	}
	return b.String()
}

func (d Duration) writable() bool { return d >= 0 && time.Duration(d)%time.Millisecond == 0 }

// MarshalText gives String. A duration that would not read back is an error.
func (d Duration) MarshalText() ([]byte, error) {
	if !d.writable() {
		return nil, fmt.Errorf("the duration %s is negative or finer than a millisecond", d)
	}
	return []byte(d.String()), nil
}

// UnmarshalText reads what ParseDuration reads. After an error d is unchanged.
func (d *Duration) UnmarshalText(b []byte) error {
	parsed, err := ParseDuration(string(b))
	if err == nil {
		*d = parsed
	}
	return err
}

// Size is a number of bytes.
type Size int64

// From large to small, so that the first that divides a size has the shortest text.
var sizeUnits = []unit{
	{"TiB", 1 << 40}, {"TB", 1e12}, {"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"kB", 1e3}, {"B", 1},
}

// ParseSize reads "512B", "1MiB" or "2GB": a whole number and its unit, without a
// space (binary and decimal units differ). A bare number is an error.
func ParseSize(s string) (Size, error) {
	n := digits(s)
	if n > 0 && n == len(s) {
		return 0, fmt.Errorf("%.40q has no unit; write for example \"%.20sMiB\" or \"%.20sB\"", s, s, s)
	}
	i := indexUnit(sizeUnits, s[n:])
	if n == 0 || i < 0 {
		return 0, fmt.Errorf("%.40q is not a size; write for example \"512KiB\", \"1MiB\" or \"2GB\" (units: B, kB, MB, GB, TB, KiB, MiB, GiB, TiB)", s)
	}
	count, err := strconv.ParseInt(s[:n], 10, 64)
	if err != nil || count > math.MaxInt64/sizeUnits[i].size {
		return 0, fmt.Errorf("%.40q is too large a size; the limit is 8388607TiB", s)
	}
	return Size(count * sizeUnits[i].size), nil
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

// MarshalText gives String. A negative size is an error: it would not read back.
func (z Size) MarshalText() ([]byte, error) {
	if z < 0 {
		return nil, fmt.Errorf("the size %s is negative", z)
	}
	return []byte(z.String()), nil
}

// UnmarshalText reads what ParseSize reads. After an error z is unchanged.
func (z *Size) UnmarshalText(b []byte) error {
	parsed, err := ParseSize(string(b))
	if err == nil {
		*z = parsed
	}
	return err
}

// digits counts the decimal digits a text begins with.
// Bytes gives a number of bytes for people: "396 B", "1.5 MiB". It is rounded; Size.String is exact.
func Bytes(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/1024, 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	return fmt.Sprintf("%.1f %ciB", v, units[i])
}

func digits(s string) int { return len(s) - len(strings.TrimLeft(s, "0123456789")) }
