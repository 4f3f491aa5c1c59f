package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The PostgreSQL example runs to its end on a real server and leaves nothing: as root, too, where the server runs as another user.
func TestPostgreSQLExample(t *testing.T) {
	t.Parallel()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if _, err := exec.LookPath("postgres"); err != nil && len(found) == 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("there is no PostgreSQL server to run the example with")
		}
		t.Skip("there is no PostgreSQL server: install postgresql")
	}
	bin, err := exec.LookPath("holdfast") // put there by testscript.Main
	if err != nil {
		t.Fatal(err)
	}
	temp, err := os.MkdirTemp("", "hfex") // short, because sockets are in it, and open to the server's user
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(temp) })
	if err := os.Chmod(temp, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join("..", "..", "examples", "postgresql", "demo.sh"), bin)
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"The fingerprint is equal.", "device.main/shop_copy  is not there now; nothing is overwritten", "what is there is REPLACED",
		"The fingerprint in place is equal.", "The replaced database is kept as shop_replaced_", "ledger:   5000 entries", "Its books agree", "== Done"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("the example does not say %q:\n%s", want, out)
		}
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("the example left %v, %v", left, err)
	}
}
