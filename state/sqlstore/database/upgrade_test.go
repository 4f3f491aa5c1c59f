package database

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/holdfast-dr/holdfast/state"
)

// tables are those of the package above, whose files these are.
var tables = Schema{
	Migrations: os.DirFS(".."),
	Sessions:   `SELECT epoch, host FROM session WHERE ending = ''`,
	Ready:      func(Exec) error { return nil },
	Begun:      func() {},
	Settle:     func(*Tx) error { return nil },
}

// The next schema does not exist yet, so this test makes one and looks from inside.
func TestUpgrade(t *testing.T) {
	known, err := fs.Glob(tables.Migrations, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	with := func(next string) fs.FS {
		all := fstest.MapFS{fmt.Sprintf("migrations/%05d_next.sql", len(known)+1): {Data: []byte("-- +goose Up\n" + next)}}
		for _, name := range known {
			data, err := fs.ReadFile(tables.Migrations, name)
			if err != nil {
				t.Fatal(err)
			}
			all[name] = &fstest.MapFile{Data: data}
		}
		return all
	}
	path := filepath.Join(t.TempDir(), "state.db")
	s, err := Open(t.Context(), Options{Path: path}, tables)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open(driverName, dsn(path, writing))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)

	_, err = migrate(t.Context(), db, with("ALTER TABLE run ADD COLUMN note TEXT;\nALTER TABLE nowhere ADD COLUMN note TEXT;"))
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("upgrade from schema %d to %d", len(known), len(known)+1)) {
		t.Fatalf("got %v", err)
	}
	if _, err := db.Exec("SELECT note FROM run"); err == nil {
		t.Error("half of an upgrade stayed")
	}
	for range 2 {
		if _, err := migrate(t.Context(), db, with("ALTER TABLE run ADD COLUMN note TEXT;")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Exec("SELECT note FROM run"); err != nil {
		t.Error(err)
	}
	if _, err := Open(t.Context(), Options{Path: path}, tables); !errors.Is(err, state.ErrSchema) {
		t.Errorf("this program opened a newer schema: %v", err)
	}
}

func TestSharedFilesystems(t *testing.T) {
	for magic, want := range map[int64]string{0x6969: "NFS", 0xff534d42: "CIFS", 0xfe534d42: "CIFS", 0x1021997: "9p", 0x65735546: "FUSE",
		0xef53: "", 0x58465342: "", 0x01021994: "", -0xacb2be: "CIFS"} {
		if got := sharedKind(magic); got != want {
			t.Errorf("%#x: got %q, want %q", magic, got, want)
		}
	}
	if kind, err := sharedFilesystem(t.TempDir()); kind != "" || err != nil {
		t.Errorf("got %q, %v", kind, err)
	}
	if _, err := sharedFilesystem("/nowhere/at/all"); err == nil {
		t.Error("a directory that does not exist has a file system")
	}
}
