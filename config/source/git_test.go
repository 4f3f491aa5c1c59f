package source_test

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-dr/holdfast/config/source"
)

// repo is a git repository made with the real git.
type repo struct {
	t   testing.TB
	dir string
}

var gitEnv = []string{
	"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C",
	"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
	"GIT_AUTHOR_NAME=Ana", "GIT_AUTHOR_EMAIL=ana@example.net", "GIT_AUTHOR_DATE=2026-01-02T03:04:05Z",
	"GIT_COMMITTER_NAME=Ben", "GIT_COMMITTER_EMAIL=ben@example.net", "GIT_COMMITTER_DATE=2026-01-02T03:04:06Z",
	"GIT_ALLOW_PROTOCOL=file",
}

func newRepo(t testing.TB, options ...string) *repo {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := &repo{t, dir}
	r.git(append([]string{"init", "-q", "-b", "main"}, options...)...)
	return r
}

func (r *repo) git(args ...string) string { r.t.Helper(); return r.gitIn("", args...) }

func (r *repo) gitIn(stdin string, args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env, cmd.Stdin = r.dir, gitEnv, strings.NewReader(stdin)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("git %v: %v\n%s", args, err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

func (r *repo) write(name, content string) {
	r.t.Helper()
	writeFile(r.t, filepath.Join(r.dir, name), content)
}

// commit writes files (name, content, ...) and commits everything.
func (r *repo) commit(message string, files ...string) string {
	r.t.Helper()
	for i := 0; i < len(files); i += 2 {
		r.write(files[i], files[i+1])
	}
	r.git("add", "-A")
	r.git("commit", "-q", "--allow-empty", "-m", message)
	return r.git("rev-parse", "HEAD")
}

// commitTree commits a tree made of raw entries "mode name hash", whatever they are.
func (r *repo) commitTree(entries ...string) string {
	r.t.Helper()
	var raw strings.Builder
	for _, e := range entries {
		f := strings.SplitN(e, " ", 3)
		raw.WriteString(f[0] + " " + f[2] + "\x00")
		for i := 0; i < 40; i += 2 {
			raw.WriteByte(unhex(f[1][i])<<4 | unhex(f[1][i+1]))
		}
	}
	tree := r.gitIn(raw.String(), "hash-object", "-t", "tree", "-w", "--literally", "--stdin")
	id := r.git("commit-tree", "-m", "raw", tree)
	r.git("update-ref", "refs/heads/main", id)
	return tree
}

func unhex(c byte) byte { return byte(strings.IndexByte("0123456789abcdef", c)) }

func (r *repo) blob(content string) string {
	r.t.Helper()
	return r.gitIn(content, "hash-object", "-w", "--stdin")
}

func writeFile(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, spec source.Spec) *source.Source {
	t.Helper()
	s, err := source.Open(context.Background(), spec)
	if err != nil {
		t.Fatalf("open %+v: %v", spec, err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// refused opens what must not open and checks that every word is in the error.
func refused(t testing.TB, spec source.Spec, words ...string) error {
	t.Helper()
	s, err := source.Open(context.Background(), spec)
	if err == nil {
		s.Close()
		t.Fatalf("open %+v: no error, want one with %q", spec, words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("open %+v:\n got error %q\nwithout    %q", spec, err, w)
		}
	}
	return err
}

// listing is the root of an FS as "name=content" and "name/".
func listing(t testing.TB, fsys fs.FS) string {
	t.Helper()
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		if e.IsDir() {
			all = append(all, e.Name()+"/")
			continue
		}
		content, err := fs.ReadFile(fsys, e.Name())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e.Name()+"="+string(content))
	}
	return strings.Join(all, " ")
}
