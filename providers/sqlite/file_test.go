package sqlite_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

// TestOwnerAndMode: a database comes back with what its file carried, also below a directory that gives a stranger rights.
func TestOwnerAndMode(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir, out := t.TempDir(), t.TempDir()
	path := filepath.Join(dir, "app.db")
	makeDatabase(t, path, "delete", 10)
	must(t, os.Chown(path, 12345, 54321))
	must(t, os.Chmod(path, 0o660))
	must(t, unix.Setxattr(path, "user.note", []byte("x"), 0))
	for _, d := range []string{dir, out} {
		if err := exec.Command("setfacl", "-d", "-m", "u:777:rw", d).Run(); err != nil {
			t.Skip(err)
		}
	}
	want := carries(t, path)
	if !strings.HasPrefix(want, "660 12345:54321 user.note") {
		t.Fatal(want)
	}
	dev := openDevice(t, dir)
	for _, req := range []providers.CaptureRequest{export, secure} {
		art := new(providertest.Artifact)
		_, err := dev.Capture(t.Context(), req, art)
		must(t, err)
		into := filepath.Join(out, string(req.Action))
		must(t, os.Mkdir(into, 0o700))
		must(t, dev.Restore(t.Context(), providers.RestoreRequest{Action: req.Action, Domain: req.Domain, Dir: into}, art))
		if got := carries(t, filepath.Join(into, "app.db")); got != want {
			t.Errorf("%s: got %q, want %q", req.Action, got, want)
		}
		if req.Action != providers.ExportDomain {
			continue
		}
		must(t, os.Remove(path))
		back := providers.RestoreRequest{Action: req.Action, Domain: req.Domain, ID: "one"}
		must(t, dev.Restore(t.Context(), back, art))
		must(t, dev.Forget(t.Context(), back))
		if got := carries(t, path); got != want {
			t.Errorf("in place: got %q, want %q", got, want)
		}
	}
}

func carries(t *testing.T, path string) string {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Stat(path, &st))
	buf := make([]byte, 1000)
	n, err := unix.Listxattr(path, buf)
	must(t, err)
	return fmt.Sprintf("%o %d:%d %s", st.Mode&0o7777, st.Uid, st.Gid, strings.ReplaceAll(string(buf[:n]), "\x00", " "))
}

// TestLeftOutAloud: what people would take for a database of the directory is not left out without a word.
func TestLeftOutAloud(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	makeDatabase(t, filepath.Join(dir, "app.db"), "delete", 1)
	makeDatabase(t, filepath.Join(dir, "second"), "delete", 1)
	makeDatabase(t, filepath.Join(other, "real"), "delete", 1)
	must(t, os.Symlink(filepath.Join(other, "real"), filepath.Join(dir, "linked")))
	must(t, os.Symlink("/etc/hosts", filepath.Join(dir, "hosts")))
	for name, content := range map[string]string{"empty.sqlite": "", "secret.db": strings.Repeat("encrypted", 1000), "notes.txt": "text"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	want := []string{
		"left out, it is empty: " + dir + "/empty.sqlite", "left out, a symbolic link: " + dir + "/linked",
		"left out, it is no SQLite database, or an encrypted one: " + dir + "/secret.db",
	}
	second := export
	second.Domain = "second"
	for _, req := range []providers.CaptureRequest{secure, export, second} {
		res, err := openDevice(t, dir).Capture(t.Context(), req, new(providertest.Artifact))
		must(t, err)
		if req == second {
			want = nil
		}
		if !slices.Equal(res.Warnings, want) {
			t.Errorf("%s %s: warnings %q, want %q", req.Action, req.Domain, res.Warnings, want)
		}
	}
}
