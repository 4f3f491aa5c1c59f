package postgresql_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/providers/postgresql"
)

func TestParseDSN(t *testing.T) {
	tests := map[string]string{
		"postgres://u:p%40s+s@h:5433/db?sslmode=verify-full&options=-c%20a%3D1+2": "dbname=db host=h options=-c a=1+2 password=p@s+s port=5433 sslmode=verify-full user=u",
		"postgresql://[::1]/":                     "dbname=postgres host=::1",
		"postgres://u@/d?host=/run/pg":            "dbname=d host=/run/pg user=u",
		`host=h user='a b' password='it\'s \\ x'`: `dbname=postgres host=h password=it's \ x user=a b`,
		`host = h  password = a\ b dbname=''`:     "dbname=postgres host=h password=a b",
		"":                                        "dbname=postgres",
		"host=h application_name=me connect_timeout=3": "application_name=me connect_timeout=3 dbname=postgres host=h",
	}
	for text, want := range tests {
		got, err := postgresql.ParseDSN(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		var all []string
		for k, v := range got {
			if k == "application_name" && v == "holdfast" || k == "connect_timeout" && v == "10" {
				continue
			}
			all = append(all, k+"="+v)
		}
		slices.Sort(all)
		if s := strings.Join(all, " "); s != want {
			t.Errorf("%q: got %s, want %s", text, s, want)
		}
	}
	for text, want := range map[string]string{
		"postgres://u:s3cret@h:port/":           "no valid URL",
		"postgres://u:s3cret/@h/":               "no valid URL",
		"postgres://u:s3cret@h,i/d":             "several hosts",
		"host=a,b password=s3cret":              "several hosts",
		"s3cret":                                "neither",
		"password='s3cret":                      "not closed",
		"host=h sslpassword=s3cret":             `"sslpassword", which is not supported`,
		"host=h search_path=x":                  "not supported",
		"password='s3cret\nx' host=h":           "line break",
		"host=h port=70000 password=s3cret":     "port",
		"postgres://u:s3cret@h/?host=%zz":       "not valid",
		"host=h 'password' = s3cret":            "neither",
		"host=h password=s3cret dbname='a\x00'": "NUL",
	} {
		_, err := postgresql.ParseDSN(text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: got %v, want an error with %q and without the password", text, err, want)
		}
	}
}

func FuzzParseDSN(f *testing.F) {
	f.Add("postgres://u:p@h/d?sslmode=require")
	f.Add(`host='a\'b' password=x`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := postgresql.ParseDSN(text)
		if err == nil && (got["dbname"] == "" || strings.ContainsAny(got["password"], "\n\x00")) {
			t.Errorf("%q gave %q", text, got)
		}
	})
}

func TestSameValue(t *testing.T) {
	tests := []struct {
		written, setting, unit, kind string
		want                         bool
	}{
		{"128MB", "16384", "8kB", "integer", true},
		{"131072kB", "16384", "8kB", "integer", true},
		{"16384", "16384", "8kB", "integer", true},
		{"129MB", "16384", "8kB", "integer", false},
		{"1.5GB", "1572864", "kB", "integer", true},
		{"2s", "2000", "ms", "integer", true},
		{"5min", "300", "s", "integer", true},
		{"1d", "1440", "min", "integer", true},
		{"0777", "511", "", "integer", true},
		{"0x10", "16", "", "integer", true},
		{"0.5", "0.50", "", "real", true},
		{"2ms", "2", "ms", "real", true},
		{"abc", "1", "", "integer", false},
		{"1 parsec", "1", "ms", "integer", false},
		{"tr", "on", "", "bool", true},
		{"o", "on", "", "bool", false},
		{"no", "off", "", "bool", true},
		{"1", "off", "", "bool", false},
		{"REPLICA", "replica", "", "enum", true},
		{"yes", "on", "", "enum", true},
		{"iso, mdy", "ISO, MDY", "", "string", true},
		{"a", "b", "", "string", false},
	}
	for _, tt := range tests {
		if got := postgresql.SameValue(tt.written, tt.setting, tt.unit, tt.kind); got != tt.want {
			t.Errorf("%q and %q in %q (%s): %v", tt.written, tt.setting, tt.unit, tt.kind, got)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"a", "a", true}, {"a", "ab", false}, {"*", "", true}, {"a*", "abc", true}, {"*c", "abc", true}, {"a*c", "ac", true},
		{"a*a", "a", false}, {"a*b*c", "axxbyyc", true}, {"a*b*c", "axxc", false}, {"public.*", "public.x.y", true}, {"*x*", "axb", true},
	} {
		if got := postgresql.Match(tt.pattern, tt.name); got != tt.want {
			t.Errorf("%q on %q: %v", tt.pattern, tt.name, got)
		}
	}
}

func TestCheck(t *testing.T) {
	good := postgresql.Settings{DSN: "secret.x", Compression: 6, Timeout: unit.Duration(1)}
	tests := map[string]struct {
		change func(*postgresql.Settings)
		want   string
	}{
		"good":         {func(*postgresql.Settings) {}, "[]"},
		"no dsn":       {func(s *postgresql.Settings) { s.DSN = "" }, "[dsn]"},
		"compression":  {func(s *postgresql.Settings) { s.Compression = 10 }, "[compression]"},
		"quiesce":      {func(s *postgresql.Settings) { s.Quiesce = "stop" }, "[quiesce]"},
		"relative bin": {func(s *postgresql.Settings) { s.BinDir = "bin" }, "[bin_dir]"},
		"reserved":     {func(s *postgresql.Settings) { s.Databases = []string{"a", "all-domains"} }, "[databases[1]]"},
		"table":        {func(s *postgresql.Settings) { s.Fingerprint = &postgresql.Fingerprint{Tables: []string{"t"}} }, "[fingerprint.tables[0]]"},
		"sums": {func(s *postgresql.Settings) {
			s.Fingerprint = &postgresql.Fingerprint{Sums: []string{"a.b.c", `d."x.""y".b.c`, "a.b", "a..c", `"a.b.c`, `"a"x.b.c`, "a.b.c.d.e", `a.b."c".`}}
		}, "[fingerprint.sums[2] fingerprint.sums[3] fingerprint.sums[4] fingerprint.sums[5] fingerprint.sums[6] fingerprint.sums[7]]"},
	}
	for name, tt := range tests {
		s, got := good, []string{}
		tt.change(&s)
		s.Check(func(path, _ string) { got = append(got, path) })
		if fmt.Sprint(got) != tt.want {
			t.Errorf("%s: got %v, want %s", name, got, tt.want)
		}
	}
}
