package unit_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-dr/holdfast/config/unit"
)

func TestParseDuration(t *testing.T) {
	tests := []struct {
		in   string
		want time.Duration
		out  string
	}{
		{"0s", 0, "0s"},
		{"0w", 0, "0s"},
		{"250ms", 250 * time.Millisecond, "250ms"},
		{"1s500ms", 1500 * time.Millisecond, "1s500ms"},
		{"2m500ms", 2*time.Minute + 500*time.Millisecond, "2m500ms"},
		{"30s", 30 * time.Second, "30s"},
		{"007s", 7 * time.Second, "7s"},
		{"90m", 90 * time.Minute, "1h30m"},
		{"1h30m", 90 * time.Minute, "1h30m"},
		{"24h", 24 * time.Hour, "1d"},
		{"7d", 7 * 24 * time.Hour, "1w"},
		{"8d", 8 * 24 * time.Hour, "8d"},
		{"2w", 14 * 24 * time.Hour, "2w"},
		{"1w2d3h4m5s6ms", 9*24*time.Hour + 3*time.Hour + 4*time.Minute + 5*time.Second + 6*time.Millisecond, "9d3h4m5s6ms"},
		{"15250w", 15250 * 7 * 24 * time.Hour, "15250w"},
	}
	for _, tt := range tests {
		got, err := unit.ParseDuration(tt.in)
		if err != nil || got.Std() != tt.want || got.String() != tt.out {
			t.Errorf("ParseDuration(%q) gives %s (%s), %v; want %s (%s)", tt.in, got, got.Std(), err, tt.out, tt.want)
		}
	}
}

func TestParseDurationErrors(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", "empty"},
		{"5", `"5" has no unit; write for example "5s", "5m" or "5h"`},
		{"0", "has no unit"},
		{"-1s", "not a duration"},
		{"+1s", "not a duration"},
		{"s", "not a duration"},
		{"1h30", "not a duration"},
		{"1 h", "not a duration"},
		{" 1h", "not a duration"},
		{"1h ", "not a duration"},
		{"1h\n", "not a duration"},
		{"1.5h", "not a duration"},
		{"1,5h", "not a duration"},
		{"1e3s", "not a duration"},
		{"0x10s", "not a duration"},
		{"1_000s", "not a duration"},
		{"5min", "not a duration"},
		{"1H", "not a duration"},
		{"1M", "not a duration"},
		{"1y", "not a duration"},
		{"1us", "not a duration"},
		{"1µs", "not a duration"},
		{"1hm", "not a duration"},
		{"1smm", "not a duration"},
		{"٣s", "not a duration"},
		{"３s", "not a duration"},
		{"1h\x00", "not a duration"},
		{"\xff", "not a duration"},
		{"1h1h", "out of order"},
		{"30m1h", "out of order"},
		{"1ms1s", "out of order"},
		{"15251w", "too long"},
		{"106752d", "too long"},
		{"15250w2d", "too long"},
		{"9223372036854775807s", "too long"},
		{"99999999999999999999999s", "too long"},
		{strings.Repeat("9", 1<<20), "has no unit"},
		{strings.Repeat("9", 1<<20) + "s", "too long"},
		{strings.Repeat("1s", 1<<19), "out of order"},
	}
	for _, tt := range tests {
		got, err := unit.ParseDuration(tt.in)
		if err == nil {
			t.Errorf("ParseDuration(%.40q) gives %s", tt.in, got)
		} else if !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 300 {
			t.Errorf("ParseDuration(%.40q): %.400s; want %q", tt.in, err, tt.want)
		}
	}
}

func TestDurationRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ms := rapid.OneOf(rapid.Int64Range(0, math.MaxInt64/1_000_000), rapid.Int64Range(0, 1e6), rapid.SampledFrom([]int64{604800000, 86400000, 3600000})).Draw(t, "ms")
		d := unit.Duration(ms * int64(time.Millisecond))
		if got, err := unit.ParseDuration(d.String()); err != nil || got != d {
			t.Fatalf("%d ms prints as %s, which reads as %s, %v", ms, d, got, err)
		}
		text, err := json.Marshal(d)
		var back unit.Duration
		if err != nil || json.Unmarshal(text, &back) != nil || back != d {
			t.Fatalf("%s becomes %s in JSON, which reads as %s, %v", d, text, back, err)
		}
	})
}

// What cannot be written in configuration is shown as it is, never as zero, and
// never recorded.
func TestDurationOutsideConfiguration(t *testing.T) {
	for d, want := range map[unit.Duration]string{
		unit.Duration(-90 * time.Minute):          "-1h30m0s",
		unit.Duration(1500 * time.Nanosecond):     "1.5µs",
		unit.Duration(time.Second + 1):            "1.000000001s",
		unit.Duration(math.MinInt64):              "-2562047h47m16.854775808s",
		unit.Duration(math.MaxInt64):              "2562047h47m16.854775807s",
		unit.Duration(-1 * time.Millisecond / 10): "-100µs",
	} {
		if got := d.String(); got != want {
			t.Errorf("%d ns prints as %s, want %s", int64(d), got, want)
		}
		if text, err := d.MarshalText(); err == nil {
			t.Errorf("%s is written as %s", d, text)
		}
	}
}

func TestParseSize(t *testing.T) {
	tests := []struct {
		in   string
		want int64
		out  string
	}{
		{"0B", 0, "0B"},
		{"0GiB", 0, "0B"},
		{"1B", 1, "1B"},
		{"512B", 512, "512B"},
		{"1024B", 1024, "1KiB"},
		{"007kB", 7000, "7kB"},
		{"1000KiB", 1024000, "1000KiB"},
		{"1MiB", 1 << 20, "1MiB"},
		{"2GB", 2e9, "2GB"},
		{"1TB", 1e12, "1TB"},
		{"1500MB", 1.5e9, "1500MB"},
		{"1024GiB", 1 << 40, "1TiB"},
		{"8388607TiB", 8388607 << 40, "8388607TiB"},
		{"9223372036854775807B", math.MaxInt64, "9223372036854775807B"},
	}
	for _, tt := range tests {
		got, err := unit.ParseSize(tt.in)
		if err != nil || int64(got) != tt.want || got.String() != tt.out {
			t.Errorf("ParseSize(%q) gives %d (%s), %v; want %d (%s)", tt.in, got, got, err, tt.want, tt.out)
		}
	}
}

func TestParseSizeErrors(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", "not a size"},
		{"100", `"100" has no unit; write for example "100MiB" or "100B"`},
		{"B", "not a size"},
		{"MiB", "not a size"},
		{"-1B", "not a size"},
		{"+1B", "not a size"},
		{"-0B", "not a size"},
		{"1 MiB", "not a size"},
		{" 1MiB", "not a size"},
		{"1MiB\n", "not a size"},
		{"1.5GiB", "not a size"},
		{"1KB", "units: B, kB"},
		{"1mib", "not a size"},
		{"1M", "not a size"},
		{"1PiB", "not a size"},
		{"1b", "not a size"},
		{"1BB", "not a size"},
		{"1GiBMiB", "not a size"},
		{"0x1B", "not a size"},
		{"1_0B", "not a size"},
		{"٣B", "not a size"},
		{"1B\x00", "not a size"},
		{"8388608TiB", "too large"},
		{"9223372036854775808B", "too large"},
		{"99999999999999999999999MiB", "too large"},
		{strings.Repeat("9", 1<<20), "has no unit"},
		{strings.Repeat("B", 1<<20), "not a size"},
	}
	for _, tt := range tests {
		got, err := unit.ParseSize(tt.in)
		if err == nil {
			t.Errorf("ParseSize(%.40q) gives %s", tt.in, got)
		} else if !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 300 {
			t.Errorf("ParseSize(%.40q): %.400s; want %q", tt.in, err, tt.want)
		}
	}
}

func TestSizeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		z := unit.Size(rapid.OneOf(rapid.Int64Range(0, math.MaxInt64), rapid.Int64Range(0, 5000)).Draw(t, "size"))
		if scale := rapid.SampledFrom([]int64{1, 1000, 1024, 1e6, 1 << 20, 1e12, 1 << 40}).Draw(t, "scale"); int64(z) <= math.MaxInt64/scale {
			z *= unit.Size(scale)
		}
		if got, err := unit.ParseSize(z.String()); err != nil || got != z {
			t.Fatalf("%d prints as %s, which reads as %s, %v", int64(z), z, got, err)
		}
		text, err := json.Marshal(z)
		var back unit.Size
		if err != nil || json.Unmarshal(text, &back) != nil || back != z {
			t.Fatalf("%s becomes %s in JSON, which reads as %s, %v", z, text, back, err)
		}
	})
}

func TestUnmarshalErrorsKeepTheValue(t *testing.T) {
	v := struct {
		D unit.Duration
		Z unit.Size
	}{unit.Duration(time.Minute), 1 << 20}
	for _, text := range []string{`{"D":"1"}`, `{"Z":"1"}`, `{"D":60}`, `{"Z":1024}`, `{"D":""}`, `{"Z":""}`} {
		if err := json.Unmarshal([]byte(text), &v); err == nil {
			t.Errorf("%s is accepted", text)
		}
	}
	if v.D.String() != "1m" || v.Z.String() != "1MiB" {
		t.Errorf("after errors: %s, %s", v.D, v.Z)
	}
	if text, err := unit.Size(-1024).MarshalText(); err == nil {
		t.Errorf("a negative size is written as %s", text)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"90m", "1h30m", "1ms", "2w", "5", "-1s", "1MiB", "2GB", "0B", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := unit.ParseDuration(s); err == nil {
			if back, err := unit.ParseDuration(d.String()); err != nil || back != d || d < 0 {
				t.Fatalf("%q prints as %s, which reads as %s, %v", s, d, back, err)
			}
		}
		if z, err := unit.ParseSize(s); err == nil {
			if back, err := unit.ParseSize(z.String()); err != nil || back != z || z < 0 {
				t.Fatalf("%q prints as %s, which reads as %s, %v", s, z, back, err)
			}
		}
	})
}
