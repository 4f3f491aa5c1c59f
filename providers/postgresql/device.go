// Package postgresql protects PostgreSQL clusters: exports of one database that
// are one snapshot with facts taken in that same snapshot, and base backups of the whole
// cluster. PostgreSQL's own programs do the reading; holdfast adds the proof.
package postgresql

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/providers"
)

// Settings are the arguments of a device of type "postgresql".
type Settings struct {
	DSN           providers.Secret `hcl:"dsn" json:"dsn" doc:"Secret with the connection of one server: a postgres:// URL or key=value pairs. Its dbname is used for questions about the whole cluster."`
	Databases     []string         `hcl:"databases,optional" json:"databases,omitempty" doc:"Names or * patterns of the databases that are domains; every database that accepts connections and is no template when absent."`
	BinDir        string           `hcl:"bin_dir,optional" json:"bin_dir,omitempty" doc:"Directory of pg_dump and the other programs. Absent: the one of the server's version below /usr/lib/postgresql, or a newer one, or PATH."`
	Compression   int              `hcl:"compression,optional" json:"compression" default:"6" doc:"Compression of an export, 0 (none) to 9, as in pg_dump."`
	RolePasswords bool             `hcl:"role_passwords,optional" json:"role_passwords,omitempty" doc:"true: globals.sql holds the password hashes of roles, which needs a superuser."`
	Quiesce       Quiesce          `hcl:"quiesce,optional" json:"quiesce,omitempty" doc:"How the cluster is quiesced: read_only on a primary, pause_replay on a standby. A capture is consistent without it."`
	VerifyDir     string           `hcl:"verify_dir,optional" json:"verify_dir,omitempty" doc:"Directory with room for the whole cluster: each secure backup is also unpacked there and checked by pg_verifybackup before it counts."`
	DropReplaced  bool             `hcl:"drop_replaced,optional" json:"drop_replaced,omitempty" doc:"true: a database that a restore replaced is dropped. false: it stays as NAME_replaced_TIME, closed to sessions, with what was written since the last backup; drop it by hand."`
	LockTimeout   unit.Duration    `hcl:"lock_timeout,optional" json:"lock_timeout" default:"10m" doc:"Longest wait of an export for a table that another session has locked. 0s: no limit."`
	Timeout       unit.Duration    `hcl:"timeout,optional" json:"timeout" default:"12h" doc:"Longest time of a capture or a restore. 0s: no limit."`
	Fingerprint   *Fingerprint     `hcl:"fingerprint,block" json:"fingerprint,omitempty" doc:"Facts of an export that a restored database must have, too. Without it: the number of rows of every table."`
}

// Fingerprint says which facts are taken of a database.
type Fingerprint struct {
	Tables []string `hcl:"tables,optional" json:"tables,omitempty" doc:"Names or * patterns, as in \"public.order*\", of the tables whose rows are counted; all when absent."`
	Sums   []string `hcl:"sums,optional" json:"sums,omitempty" doc:"Columns to sum: [database.]schema.table.column, parts in double quotes where SQL asks for it. Columns that are no number are hashed."`
}

// Quiesce is a way to quiesce a cluster.
type Quiesce string

const (
	// ReadOnly makes new transactions read-only and ends those that still write.
	ReadOnly Quiesce = "read_only"
	// PauseReplay makes a standby stand still.
	PauseReplay Quiesce = "pause_replay"
)

// Check reports what is wrong with the settings.
func (s *Settings) Check(report func(path, problem string)) {
	if s.DSN == "" {
		report("dsn", "A secret with the connection is needed.")
	}
	if s.Compression < 0 || s.Compression > 9 {
		report("compression", fmt.Sprintf("The compression %d must be between 0 and 9.", s.Compression))
	}
	switch s.Quiesce {
	case "", ReadOnly, PauseReplay:
	default:
		report("quiesce", fmt.Sprintf("The way %q is unknown; there are %q and %q.", s.Quiesce, ReadOnly, PauseReplay))
	}
	for name, dir := range map[string]string{"bin_dir": s.BinDir, "verify_dir": s.VerifyDir} {
		if dir != "" && (!filepath.IsAbs(dir) || strings.ContainsRune(dir, 0)) {
			report(name, fmt.Sprintf("The path %q must be absolute.", dir))
		}
	}
	for i, p := range s.Databases {
		if p == "" || p == providers.AllDomains {
			report(fmt.Sprintf("databases[%d]", i), fmt.Sprintf("%q is no name of a database that can be a domain.", p))
		}
	}
	if s.Fingerprint == nil {
		return
	}
	for i, p := range s.Fingerprint.Tables {
		if !strings.ContainsAny(p, ".*") {
			report(fmt.Sprintf("fingerprint.tables[%d]", i), fmt.Sprintf("The pattern %q must be schema.table or contain a *.", p))
		}
	}
	for i, text := range s.Fingerprint.Sums {
		if _, err := parseColumn(text); err != nil {
			report(fmt.Sprintf("fingerprint.sums[%d]", i), fmt.Sprintf("The column %q %v.", text, err))
		}
	}
}

// defaultLockTimeout is of devices that were recorded before there was lock_timeout.
const defaultLockTimeout = unit.Duration(10 * time.Minute)

// DeviceType describes the device type "postgresql".
func DeviceType() providers.DeviceType {
	return providers.DeviceType{
		Type:     "postgresql",
		Doc:      "A PostgreSQL cluster (14 or newer); its databases are the domains.",
		Actions:  []providers.Action{providers.SecureBackup, providers.ExportDomain},
		InPlace:  providers.ExportsInPlace,
		Lenient:  true,
		Parts:    parts,
		Settings: func() any { return &Settings{Compression: 6, LockTimeout: defaultLockTimeout} },
		Open:     open,
	}
}

type device struct {
	name string
	Settings
	env providers.Env
}

var _ providers.Device = (*device)(nil)

func open(_ context.Context, name string, settings any, env providers.Env) (providers.Device, error) {
	s, ok := settings.(*Settings)
	if !ok {
		return nil, fmt.Errorf("open device %s: settings are %T, not those of a postgresql device", name, settings)
	}
	var problems []error
	s.Check(func(path, problem string) { problems = append(problems, fmt.Errorf("%s: %s", path, problem)) })
	if len(problems) > 0 {
		return nil, fmt.Errorf("open device %s: %w", name, errors.Join(problems...))
	}
	return &device{name: name, Settings: *s, env: env}, nil
}

func (d *device) Close() error { return nil }

// limit bounds a capture or a restore.
func (d *device) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if d.Timeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, d.Timeout.Std(), fmt.Errorf("%w after %s", errTimeout, d.Timeout))
}

// wanted reports whether a database is a domain of this device.
func (d *device) wanted(database string) bool {
	return database != providers.AllDomains && matchAny(d.Databases, database)
}

// matchAny reports whether a name matches one of the patterns, or there are none. * stands for any characters, also none.
func matchAny(patterns []string, name string) bool {
	for _, p := range patterns {
		if match(p, name) {
			return true
		}
	}
	return len(patterns) == 0
}

func match(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	first, last := parts[0], parts[len(parts)-1]
	if len(parts) == 1 {
		return pattern == name
	}
	if len(name) < len(first)+len(last) || !strings.HasPrefix(name, first) || !strings.HasSuffix(name, last) {
		return false
	}
	name = name[len(first) : len(name)-len(last)]
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(name, p)
		if i < 0 {
			return false
		}
		name = name[i+len(p):]
	}
	return true
}
