package postgresql_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-dr/holdfast/config/sampletest"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/postgresql"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

// restored starts a server on a restored base backup.
func restored(t *testing.T, dev providers.Device, art providers.Source) *cluster {
	t.Helper()
	c := newData(t)
	must(t, dev.Restore(context.Background(), providers.RestoreRequest{Action: secure.Action, Domain: secure.Domain, Dir: c.data}, art))
	c.start(t)
	return c
}

func TestBaseBackupUnderWrites(t *testing.T) {
	t.Parallel()
	c := own(t)
	c.fill(t, "app", 2)
	c.write(t, "app")
	dir := t.TempDir()
	dev := c.device(t, func(s *postgresql.Settings) { s.VerifyDir = dir })
	art, res := capture(t, dev, secure)
	if len(res.Warnings) > 0 {
		t.Errorf("warnings %q", res.Warnings)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left in verify_dir: %v, %v", left, err)
	}
	eventually(t, "no replication slot is left", func() bool { // it ends with its session, which the server ends in its own time
		return c.value(t, "postgres", "SELECT count(*) FROM pg_replication_slots") == "0"
	})
	copied := restored(t, dev, art)
	if got := copied.value(t, "app", "SELECT sum(abalance) = (SELECT sum(delta) FROM pgbench_history) FROM pgbench_accounts"); got != "true" {
		t.Error("the sums of the restored cluster do not agree")
	}
	if got, want := copied.value(t, "postgres", "SELECT system_identifier FROM pg_control_system()"), res.Fingerprint["system_identifier"]; got != want {
		t.Errorf("system %s, want %v", got, want)
	}
	if err := dev.Restore(t.Context(), providers.RestoreRequest{Action: secure.Action, Domain: secure.Domain}, art); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("into the running server: got %v, want ErrUnsupported", err)
	}
}

func TestBaseBackupOfAStandbyAndPauseReplay(t *testing.T) {
	long(t)
	c := shared(t)
	s := newData(t)
	run(t, "pg_basebackup", "-h", c.dir, "-U", "admin", "-D", s.data, "-R", "-X", "stream", "-c", "fast", "--no-sync")
	s.startWith(t, "-c hot_standby=on")
	dev := s.device(t, func(s *postgresql.Settings) { s.Quiesce = postgresql.PauseReplay })
	state := func() providers.QuiesceState {
		st, err := dev.DomainState(t.Context(), providers.AllDomains)
		must(t, err)
		return st.Quiesce
	}
	if st := state(); st != providers.Normal {
		t.Errorf("state %s", st)
	}
	for range 2 {
		must(t, dev.Quiesce(t.Context(), providers.AllDomains, time.Second))
	}
	eventually(t, "replay is paused", func() bool { return state() == providers.Quiesced })
	c.exec(t, "app", "CREATE TABLE late AS SELECT 1 AS n")
	_, res := capture(t, dev, export)
	rows, ok := res.Fingerprint["rows"].(map[string]int64)
	if _, late := rows[`"public"."late"`]; late || !ok || rows[`"public"."part_1"`] != 100 {
		t.Errorf("rows of the paused standby: %v", rows)
	}
	if _, unlogged := rows[`"public"."fast"`]; unlogged {
		t.Error("rows of an unlogged table, which a standby does not have")
	}
	for range 2 {
		must(t, dev.Unquiesce(t.Context(), providers.AllDomains))
	}
	eventually(t, "replay goes on", func() bool {
		return state() == providers.Normal && s.value(t, "app", "SELECT count(*) FROM pg_class WHERE relname = 'late'") == "1"
	})
	art, res := capture(t, dev, secure)
	if len(res.Warnings) > 0 {
		t.Errorf("warnings %q", res.Warnings)
	}
	copied := restored(t, dev, art)
	if got := copied.value(t, "app", "SELECT n::text || pg_is_in_recovery() FROM late"); got != "1false" {
		t.Errorf("the restored standby has %s, want 1 row and to be a primary", got)
	}
	if err := dev.Quiesce(t.Context(), "app", 0); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("pause_replay of one database: got %v", err)
	}
	if err := s.device(t, readOnly).Quiesce(t.Context(), providers.AllDomains, 0); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("read_only on a standby: got %v", err)
	}
	if err := dev.Restore(t.Context(), providers.RestoreRequest{Action: export.Action, Domain: "x"}, art); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("restore into a standby: got %v", err)
	}
	c.exec(t, "app", "DROP TABLE late")
}

func readOnly(s *postgresql.Settings) { s.Quiesce = postgresql.ReadOnly }

func TestReadOnly(t *testing.T) {
	long(t)
	t.Parallel()
	c := own(t)
	c.fill(t, "app", 1)
	c.fill(t, "other", 1)
	dev := c.device(t, readOnly)
	state := func(domain string) providers.QuiesceState {
		t.Helper()
		st, err := dev.DomainState(t.Context(), domain)
		must(t, err)
		if st.Unsaved {
			t.Error("quiescing made unsaved changes")
		}
		return st.Quiesce
	}
	query := func(conn *pgx.Conn, q string) error {
		_, err := conn.Exec(t.Context(), q)
		return err
	}
	idle, writer, quick := c.connect(t, "app"), c.connect(t, "app"), c.connect(t, "other")
	insert := "INSERT INTO fast VALUES (2)"
	must(t, query(writer, "BEGIN; "+insert))

	if got := state(providers.AllDomains); got != providers.Normal {
		t.Fatalf("state %s", got)
	}
	must(t, dev.Quiesce(t.Context(), providers.AllDomains, 100*time.Millisecond))
	if got := state(providers.AllDomains); got != providers.Quiesced {
		t.Errorf("state %s, want quiesced", got)
	}
	if err := query(writer, "COMMIT"); err == nil {
		t.Error("a transaction that did not end in time was not ended")
	}
	for name, conn := range map[string]*pgx.Conn{"idle": idle, "other": quick} {
		if err := query(conn, insert); err == nil || !strings.Contains(err.Error(), "read-only") {
			t.Errorf("%s session writes: %v", name, err)
		}
	}
	stubborn := c.connect(t, "app")
	must(t, query(stubborn, "BEGIN READ WRITE; "+insert))
	if got := state(providers.AllDomains); got != providers.Quiescing {
		t.Errorf("state %s beside a session that writes all the same, want quiescing", got)
	}
	must(t, query(stubborn, "ROLLBACK"))
	must(t, dev.Quiesce(t.Context(), providers.AllDomains, 0))
	art, _ := capture(t, dev, secure)
	capture(t, dev, export)
	for range 2 {
		must(t, dev.Unquiesce(t.Context(), providers.AllDomains))
	}
	if got := state(providers.AllDomains); got != providers.Normal {
		t.Errorf("state %s, want normal", got)
	}
	eventually(t, "sessions write again", func() bool { return query(idle, insert) == nil })

	copied := restored(t, dev, art)
	copied.exec(t, "app", insert)

	// One database: the other goes on.
	must(t, dev.Quiesce(t.Context(), "app", time.Second))
	if got := state("app"); got != providers.Quiesced {
		t.Errorf("state of app %s", got)
	}
	if got := state("other"); got != providers.Normal {
		t.Errorf("state of other %s", got)
	}
	if err := query(idle, insert); err == nil {
		t.Error("an old session still writes")
	}
	if err := query(c.connect(t, "app"), insert); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("a new session writes: %v", err)
	}
	must(t, query(quick, insert))
	must(t, dev.Unquiesce(t.Context(), "app"))
	must(t, query(c.connect(t, "app"), insert))

	if err := dev.Quiesce(t.Context(), "no such", 0); !errors.Is(err, providers.ErrNotFound) {
		t.Errorf("unknown database: got %v", err)
	}
	if err := c.device(t, func(s *postgresql.Settings) { s.Quiesce = postgresql.PauseReplay }).Quiesce(t.Context(), providers.AllDomains, 0); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("pause_replay on a primary: got %v", err)
	}
}

// TestConfigurationElsewhere is Debian's way: the data directory has no configuration, and the one there is names the old places.
func TestConfigurationElsewhere(t *testing.T) {
	long(t)
	t.Parallel()
	c := own(t)
	must(t, c.pgctl("stop", "-m", "fast"))
	etc := filepath.Join(c.dir, "etc")
	must(t, os.Mkdir(etc, 0o755))
	for _, name := range []string{"postgresql.conf", "pg_hba.conf", "pg_ident.conf"} {
		must(t, os.Rename(filepath.Join(c.data, name), filepath.Join(etc, name)))
	}
	f, err := os.OpenFile(filepath.Join(etc, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteString("data_directory = '" + c.data + "'\nhba_file = '" + etc + "/pg_hba.conf'\nident_file = '" + etc + "/pg_ident.conf'\nmax_connections = 33\n")
	must(t, errors.Join(err, f.Close()))
	c.startWith(t, "-c config_file="+etc+"/postgresql.conf")
	dev := c.device(t)
	art, _ := capture(t, dev, secure)
	var doc struct{ Files map[string]string }
	must(t, json.Unmarshal(art.Bytes("settings.json"), &doc))
	if len(doc.Files) != 3 || !strings.Contains(doc.Files[etc+"/postgresql.conf"], "max_connections = 33") {
		t.Errorf("files in settings.json: %d", len(doc.Files))
	}
	copied := newData(t)
	must(t, dev.Restore(t.Context(), providers.RestoreRequest{Action: secure.Action, Domain: secure.Domain, Dir: copied.data}, art))
	// Local sessions are by the system user's name, who is not admin: let it in to look.
	must(t, os.WriteFile(filepath.Join(copied.data, "pg_hba.conf"), []byte("local all all scram-sha-256\n"), 0o600))
	give(t, filepath.Join(copied.data, "pg_hba.conf"))
	copied.start(t)
	if got := copied.value(t, "postgres", "SELECT current_setting('max_connections') || current_setting('data_directory')"); got != "33"+copied.data {
		t.Errorf("the restored server has %s", got)
	}
	if c.pgctl("status") != nil {
		t.Error("the old server was harmed")
	}
}

// TestVerifyBackup makes sure that the word of pg_verifybackup counts, at the capture with verify_dir and at a restore.
func TestVerifyBackup(t *testing.T) {
	long(t)
	c := shared(t)
	version := "case \"$1\" in --version) exec " + filepath.Join(binDir, "pg_verifybackup") + " --version;; esac\n"
	link := "exec " + filepath.Join(binDir, "pg_basebackup") + ` "$@"`
	seen := filepath.Join(t.TempDir(), "seen")
	says := func(verify string) func(*postgresql.Settings) {
		return fakes(t, map[string]string{"pg_basebackup": link, "pg_verifybackup": version + verify})
	}
	verified := func(dir string) func(*postgresql.Settings) { return func(s *postgresql.Settings) { s.VerifyDir = dir } }
	into := t.TempDir()
	art := new(providertest.Artifact)
	_, err := c.device(t, says("echo 'checksum mismatch for file x' >&2; exit 1"), verified(into)).Capture(t.Context(), secure, art)
	if !errors.Is(err, providers.ErrCorrupt) || !strings.Contains(err.Error(), "checksum mismatch for file x") || art.Bytes("fingerprint.json") != nil {
		t.Errorf("capture: got %v, want ErrCorrupt and no record", err)
	}
	if left, err := os.ReadDir(into); err != nil || len(left) > 0 {
		t.Errorf("left in verify_dir: %v, %v", left, err)
	}
	art, _ = capture(t, c.device(t, says(`for last; do :; done; cp "$last/backup_manifest" `+seen), verified(into)), secure)
	if b, err := os.ReadFile(seen); err != nil || !bytes.Contains(b, []byte("PostgreSQL-Backup-Manifest-Version")) {
		t.Errorf("pg_verifybackup was not shown the backup: %v", err)
	}
	req := providers.RestoreRequest{Action: secure.Action, Domain: secure.Domain, Dir: t.TempDir()}
	if err := c.device(t, says("exit 1")).Restore(t.Context(), req, art); !errors.Is(err, providers.ErrCorrupt) {
		t.Errorf("restore: got %v, want ErrCorrupt", err)
	}
	if err := c.device(t, fakes(t, map[string]string{"pg_verifybackup": "echo 'pg_verifybackup (PostgreSQL) 13.2'"})).Restore(t.Context(), req, art); err == nil || !strings.Contains(err.Error(), "version mismatch") {
		t.Errorf("restore with another version's program: got %v, want a version mismatch", err)
	}
}

func TestTablespacesAreRefused(t *testing.T) {
	long(t)
	t.Parallel()
	c := own(t)
	space := filepath.Join(c.dir, "space")
	must(t, os.Mkdir(space, 0o700))
	give(t, space)
	c.exec(t, "postgres", "CREATE TABLESPACE far LOCATION '"+space+"'", "CREATE TABLE t TABLESPACE far AS SELECT 1 AS n")
	art := new(providertest.Artifact)
	_, err := c.device(t).Capture(t.Context(), secure, art)
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "far") || len(art.Files()) > 0 {
		t.Errorf("got %v and %d files, want ErrUnsupported", err, len(art.Files()))
	}
	req := export
	req.Domain = "postgres"
	art, _ = capture(t, c.device(t), req)
	other := own(t) // which has no such tablespace
	must(t, other.device(t).Restore(t.Context(), providers.RestoreRequest{Action: req.Action, Domain: "postgres"}, art))
	if got := other.value(t, "postgres", "SELECT n FROM t"); got != "1" {
		t.Errorf("restored %s", got)
	}
}

// TestHostileArchive restores archives that would leave the directory.
func TestHostileArchive(t *testing.T) {
	long(t)
	c := shared(t)
	dev := c.device(t)
	good, _ := capture(t, dev, secure)
	leaving := map[string]tar.Header{
		"parent":   {Name: "../evil", Typeflag: tar.TypeReg},
		"absolute": {Name: "/tmp/evil", Typeflag: tar.TypeReg},
		"link":     {Name: "pg_wal", Typeflag: tar.TypeSymlink, Linkname: "/tmp"},
		"hardlink": {Name: "x", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"},
		"device":   {Name: "x", Typeflag: tar.TypeChar},
	}
	for _, name := range sampletest.Of(t, slices.Sorted(maps.Keys(leaving)), 2) {
		h := leaving[name]
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		must(t, w.WriteHeader(&h))
		must(t, w.Close())
		b.Write(good.Bytes("base.tar"))
		bad := reseal(t, good, b.Bytes())
		top := t.TempDir()
		into := filepath.Join(top, "into")
		must(t, os.Mkdir(into, 0o700))
		err := dev.Restore(t.Context(), providers.RestoreRequest{Action: secure.Action, Domain: secure.Domain, Dir: into}, bad)
		if !errors.Is(err, providers.ErrCorrupt) {
			t.Errorf("%s: got %v, want ErrCorrupt", name, err)
		}
		if left, err := os.ReadDir(top); err != nil || len(left) != 1 {
			t.Errorf("%s: beside the directory: %v, %v", name, left, err)
		}
	}
	other, _ := capture(t, dev, secure)
	bad := good.Clone()
	bad.Set("base.tar", other.Bytes("base.tar"))
	if err := dev.Restore(t.Context(), providers.RestoreRequest{Action: secure.Action, Domain: secure.Domain, Dir: t.TempDir()}, bad); !errors.Is(err, providers.ErrCorrupt) {
		t.Errorf("the archive of another capture: got %v, want ErrCorrupt", err)
	}
	edits := map[string]func(*tar.Header) bool{
		"file is missing":  func(h *tar.Header) bool { return h.Name != "PG_VERSION" },
		"log is missing":   func(h *tar.Header) bool { return !strings.HasPrefix(h.Name, "pg_wal/0") },
		"manifest missing": func(h *tar.Header) bool { return h.Name != "backup_manifest" },
		"file is added": func(h *tar.Header) bool {
			h.Name = strings.Replace(h.Name, "pg_wal/archive_status/0", "added", 1)
			return true
		},
	}
	for _, name := range sampletest.Of(t, slices.Sorted(maps.Keys(edits)), 1) {
		edit := edits[name]
		bad := reseal(t, good, rewrite(t, good.Bytes("base.tar"), edit))
		err := dev.Restore(t.Context(), providers.RestoreRequest{Action: secure.Action, Domain: secure.Domain, Dir: t.TempDir()}, bad)
		if !errors.Is(err, providers.ErrCorrupt) {
			t.Errorf("%s: got %v, want ErrCorrupt", name, err)
		}
	}
}

// rewrite copies an archive with the members that keep wants, under the names it gives them.
func rewrite(t *testing.T, archive []byte, keep func(*tar.Header) bool) []byte {
	t.Helper()
	var b bytes.Buffer
	r, w := tar.NewReader(bytes.NewReader(archive)), tar.NewWriter(&b)
	for {
		h, err := r.Next()
		if err != nil {
			break
		}
		if !keep(h) {
			continue
		}
		must(t, w.WriteHeader(h))
		var content bytes.Buffer
		_, err = content.ReadFrom(r)
		must(t, err)
		_, err = w.Write(content.Bytes())
		must(t, err)
	}
	must(t, w.Close())
	return b.Bytes()
}

// reseal gives an artifact another archive with checksums that fit.
func reseal(t *testing.T, art *providertest.Artifact, archive []byte) *providertest.Artifact {
	t.Helper()
	sum := sha256.Sum256(archive)
	record, err := postgresql.Reseal(art.Bytes("fingerprint.json"), "base.tar", hex.EncodeToString(sum[:]))
	must(t, err)
	bad := art.Clone()
	bad.Set("base.tar", archive)
	bad.Set("fingerprint.json", record)
	return bad
}
