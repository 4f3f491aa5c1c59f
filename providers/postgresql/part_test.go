package postgresql_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/postgresql"
)

// TestPart takes tables out of an export, as SQL and into another database, with all that is of them and nothing else.
func TestPart(t *testing.T) {
	long(t)
	c := shared(t)
	c.drop(t, "", "whole", "part", "part views", "part of it")
	c.exec(t, "postgres", "CREATE DATABASE whole")
	c.exec(t, "whole", `CREATE SCHEMA "a/ %"`, `CREATE TYPE "a/ %".mood AS ENUM ('glad', 'sad')`, `CREATE FUNCTION low(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT pg_catalog.lower(t)'`,
		`CREATE TABLE par (id serial PRIMARY KEY, m "a/ %".mood, n text, g int GENERATED ALWAYS AS IDENTITY)`, "CREATE INDEX lows ON par (low(n))",
		"CREATE TABLE chi (id int REFERENCES par)", `CREATE TABLE "a/ %".".." (n int CHECK (n > 0))`, `CREATE TABLE "a/ %"."par x" (n int)`,
		"CREATE VIEW v AS SELECT n FROM par", "CREATE SEQUENCE alone", "COMMENT ON COLUMN par.n IS 'a comment'", "CREATE EXTENSION pg_trgm",
		"INSERT INTO par (m, n) VALUES ('glad', 'X'), ('sad', 'Y')", "INSERT INTO chi VALUES (2)", `INSERT INTO "a/ %".".." VALUES (7)`)
	dev := c.device(t, withSums("public.par.id"))
	art, _ := captureOf(t, dev, "whole")
	var paths []string
	for e, err := range postgresql.DeviceType().Parts.Contents(t.Context(), nil, export.Action, art) {
		must(t, err)
		paths = append(paths, e.Kind+" "+e.Path)
	}
	want := []string{"table a%2F %25/%2E%2E", "table a%2F %25/par x", "sequence public/alone", "table public/chi", "table public/par", "view public/v"}
	if !slices.Equal(paths, want) {
		t.Errorf("inside is %q, want %q", paths, want)
	}
	restore := func(domain string, include ...string) (string, error) {
		req := providers.RestoreRequest{Action: export.Action, Domain: domain, Include: include}
		if domain == "" {
			req.Domain, req.Dir = "whole", t.TempDir()
		}
		return req.Dir, dev.Restore(t.Context(), req, art)
	}
	dir, err := restore("", "public/par", "a*")
	must(t, err)
	sql, err := os.ReadFile(filepath.Join(dir, "public/par"))
	must(t, err)
	for _, part := range []string{"CREATE TABLE public.par", "\n1\tglad\tX\t1\n", "par_pkey", "lows", "a comment", "par_id_seq", "setval"} {
		if !strings.Contains(string(sql), part) {
			t.Errorf("no %q in\n%s", part, sql)
		}
	}
	if strings.Contains(string(sql), "chi") || strings.Contains(string(sql), "VIEW") {
		t.Errorf("another table is in\n%s", sql)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "a%2F %25/%2E%2E")); err != nil || !strings.Contains(string(b), "\n7\n") {
		t.Errorf("%s, %v", b, err)
	}

	_, err = restore("part", "public/par", "public/chi")
	must(t, err)
	if got := c.value(t, "part", "SELECT string_agg(n || m, ',' ORDER BY n) || nextval('par_id_seq')::text || (SELECT count(*) FROM chi) FROM par"); got != "Xglad,Ysad31" {
		t.Errorf("got %s", got)
	}
	if got := c.value(t, "part", "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relkind IN ('r', 'v') AND relnamespace::regnamespace::text !~ '^(pg_|info)'"); got != "chi par" {
		t.Errorf("it has %s", got)
	}
	_, err = restore("part of it", "public/chi")
	must(t, err)
	if got := c.value(t, "part of it", "SELECT count(*)::text || (SELECT count(*) FROM pg_constraint WHERE contype = 'f') FROM chi"); got != "10" {
		t.Errorf("a table without the one it refers to: got %s", got)
	}
	if _, err = restore("part views", "public/v"); err == nil || !strings.Contains(err.Error(), "public/par") {
		t.Errorf("a view without its table: got %v", err)
	}
	if _, err = restore("part", "public/par"); !errors.Is(err, providers.ErrNotEmpty) {
		t.Errorf("into a database that is there: got %v", err)
	}
	if _, err = restore("", "public/none"); !errors.Is(err, providers.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	bad := art.Clone()
	dump := bad.Bytes("export.pgdump")
	dump[len(dump)-1] ^= 1
	bad.Set("export.pgdump", dump)
	req := providers.RestoreRequest{Action: export.Action, Domain: "whole", Dir: t.TempDir(), Include: []string{"public/chi"}}
	if err := dev.Restore(t.Context(), req, bad); !errors.Is(err, providers.ErrCorrupt) {
		t.Errorf("of a damaged dump: got %v", err)
	}
	old := art.Clone()
	b, err := postgresql.WithoutProperties(art.Bytes("fingerprint.json"))
	must(t, err)
	old.Set("fingerprint.json", b)
	if err := dev.Restore(t.Context(), req, old); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("of an older artifact: got %v", err)
	}
}
