package postgresql

import (
	"cmp"
	"context"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-dr/holdfast/providers"
)

// settingsDoc is settings.json: what the configuration files say (persisted), or what the server runs with (nonpersisted).
type settingsDoc struct {
	Variant  providers.Variant `json:"variant"`
	Settings map[string]string `json:"settings"`
	Pending  []pending         `json:"pending,omitempty"`  // in the files and not in use, or the other way round
	Files    map[string]string `json:"files,omitempty"`    // configuration files outside the data directory, by path
	Unread   string            `json:"unread,omitempty"`   // why the files could not be read
	Required map[string]string `json:"required,omitempty"` // what a server needs to start from a base backup
	running  map[string]string
}

// pending is a setting that was changed in a file and is not in use.
type pending struct {
	Name    string `json:"name"`
	File    string `json:"file"` // empty when it is no longer in a file
	Running string `json:"running"`
	Problem string `json:"problem,omitempty"`
}

// parameter is one row of pg_settings.
type parameter struct {
	name, setting, unit, kind, source, shown string
	restart                                  bool
}

// required lists the settings that recovery needs to be as large as they were, or to find its libraries.
var required = []string{
	"max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_transactions", "max_locks_per_transaction",
	"wal_level", "shared_preload_libraries",
}

// readSettings compares the configuration files with what runs. Without the right to read the files, which
// superusers have, only the server's own mark of a needed restart is seen.
func readSettings(ctx context.Context, conn *pgx.Conn) (settingsDoc, error) {
	doc := settingsDoc{Variant: providers.Persisted, Settings: map[string]string{}, running: map[string]string{}, Required: map[string]string{}}
	rows, err := conn.Query(ctx, `SELECT name, setting, coalesce(unit, ''), vartype, source, pending_restart, current_setting(name)
		FROM pg_settings WHERE setting IS NOT NULL`)
	if err != nil {
		return doc, lost(conn, err)
	}
	runs := map[string]parameter{}
	var p parameter
	if _, err := pgx.ForEachRow(rows, []any{&p.name, &p.setting, &p.unit, &p.kind, &p.source, &p.restart, &p.shown}, func() error {
		runs[strings.ToLower(p.name)] = p
		return nil
	}); err != nil {
		return doc, lost(conn, err)
	}
	for _, name := range required {
		doc.Required[name] = runs[name].shown
	}
	inFile, problems, allowed, err := readFileSettings(ctx, conn)
	if err != nil {
		return doc, err
	}
	if !allowed {
		doc.Unread = "the role may not read pg_file_settings"
	}
	for name, p := range runs {
		value, isInFile := inFile[name]
		if isInFile || p.source == "configuration file" {
			doc.running[p.name] = blotted(p.shown)
		}
		// What the command line, a role or this session set is not what the files are about.
		comparable := allowed && (p.source == "configuration file" || p.source == "default")
		switch {
		case isInFile && problems[name] != "", p.restart,
			comparable && isInFile && !sameValue(value, p),
			comparable && !isInFile && p.source == "configuration file":
			doc.Pending = append(doc.Pending, pending{p.name, blotted(value), blotted(p.shown), problems[name]})
		}
	}
	for name, value := range inFile {
		if p, known := runs[name]; known {
			name = p.name
		} else if problems[name] != "" {
			doc.Pending = append(doc.Pending, pending{name, blotted(value), "", problems[name]})
		}
		doc.Settings[name] = blotted(value)
	}
	slices.SortFunc(doc.Pending, func(a, b pending) int { return cmp.Compare(a.Name, b.Name) })
	return doc, nil
}

// readFileSettings gives the last word of the configuration files on each name, in lower case, and what is wrong with it.
func readFileSettings(ctx context.Context, conn *pgx.Conn) (values, problems map[string]string, allowed bool, err error) {
	values, problems = map[string]string{}, map[string]string{}
	if err = conn.QueryRow(ctx, `SELECT has_table_privilege('pg_file_settings', 'SELECT')
		AND has_function_privilege('pg_show_all_file_settings()', 'EXECUTE')`).Scan(&allowed); err != nil || !allowed {
		return nil, nil, false, lost(conn, err)
	}
	rows, err := conn.Query(ctx, "SELECT coalesce(name, ''), coalesce(setting, ''), coalesce(error, '') FROM pg_file_settings ORDER BY seqno")
	if err != nil {
		return nil, nil, true, lost(conn, err)
	}
	var name, value, problem string
	_, err = pgx.ForEachRow(rows, []any{&name, &value, &problem}, func() error {
		name = strings.ToLower(name)
		if name == "" { // a line that cannot be read
			name = "(syntax)"
		}
		values[name], problems[name] = value, problem
		return nil
	})
	return values, problems, true, lost(conn, err)
}

// nonpersisted gives the other variant: the same names with the values in use.
func (d settingsDoc) nonpersisted() settingsDoc {
	d.Variant, d.Settings = providers.Nonpersisted, maps.Clone(d.running)
	return d
}

var passwordForm = regexp.MustCompile(`(?i)(passw(?:or)?d\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s']+)`)

// blotted hides the passwords that connection strings among the settings have.
func blotted(value string) string { return passwordForm.ReplaceAllString(value, "${1}********") }

// sameValue reports whether a value as written in a file is the one a parameter has.
func sameValue(written string, p parameter) bool {
	if strings.EqualFold(written, p.setting) || strings.EqualFold(written, p.shown) {
		return true
	}
	switch p.kind {
	case "bool", "enum":
		a, okA := truth(written)
		b, okB := truth(p.setting)
		return okA && okB && a == b
	case "integer", "real":
		a, okA := quantity(written, p.unit)
		b, okB := quantity(p.setting, p.unit)
		if p.kind == "integer" {
			a, b = math.RoundToEven(a), math.RoundToEven(b)
		}
		return okA && okB && math.Abs(a-b) <= 1e-9*math.Abs(a)
	}
	return false
}

// truth reads a Boolean as the server does: also unique beginnings of the words.
func truth(s string) (value, ok bool) {
	s = strings.ToLower(strings.TrimSpace(s))
	begins := func(word string, least int) bool { return len(s) >= least && strings.HasPrefix(word, s) }
	switch {
	case begins("true", 1), begins("yes", 1), begins("on", 2), s == "1":
		return true, true
	case begins("false", 1), begins("no", 1), begins("off", 2), s == "0":
		return false, true
	}
	return false, false
}

var units = map[string]float64{
	"B": 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40,
	"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86400,
}

// quantity reads a number, with a unit or in the parameter's own such as "8kB", and gives it in the parameter's unit.
func quantity(s, own string) (float64, bool) {
	s = strings.TrimSpace(s)
	number, unit := s, ""
	if !strings.HasPrefix(strings.ToLower(s), "0x") {
		i := strings.LastIndexAny(s, "0123456789.") + 1
		number, unit = s[:i], strings.TrimSpace(s[i:])
	}
	n, err := strconv.ParseFloat(number, 64)
	if i, intErr := strconv.ParseInt(number, 0, 64); intErr == nil {
		n, err = float64(i), nil
	}
	if err != nil {
		return 0, false
	}
	if unit == "" || own == "" {
		return n, unit == ""
	}
	times := strings.TrimLeft(own, "0123456789")
	base, known := units[times]
	if count, err := strconv.ParseFloat(own[:len(own)-len(times)], 64); err == nil {
		base *= count
	}
	factor, also := units[unit]
	return n * factor / base, known && also
}
