package source_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-dr/holdfast/config/source"
)

func TestDirOutsideGit(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir+"/a.hold.hcl", "one")
	writeFile(t, dir+"/conf/b.hold.json", "{}")
	s := open(t, source.Spec{Dir: dir})
	if got := listing(t, s.FS); got != "a.hold.hcl=one conf/" {
		t.Errorf("listing %q", got)
	}
	if want := (source.Info{Dirty: true}); s.Info != want {
		t.Errorf("info %+v, want %+v", s.Info, want)
	}
	if got := listing(t, open(t, source.Spec{Dir: dir, Path: "conf"}).FS); got != "b.hold.json={}" {
		t.Errorf("listing of the path %q", got)
	}
	t.Chdir(dir)
	if got := listing(t, open(t, source.Spec{Dir: "conf"}).FS); got != "b.hold.json={}" {
		t.Errorf("listing of a relative directory %q", got)
	}
}

func TestDirDirty(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(r *repo)
		dirty  bool
	}{
		"nothing":              {func(*repo) {}, false},
		"changed":              {func(r *repo) { r.write("conf/a.hold.hcl", "other") }, true},
		"same size":            {func(r *repo) { r.write("conf/a.hold.hcl", "ONE") }, true},
		"touched":              {func(r *repo) { r.write("conf/a.hold.hcl", "one") }, false},
		"added":                {func(r *repo) { r.write("conf/c.hold.hcl", "new") }, true},
		"added and staged":     {func(r *repo) { r.write("conf/c.hold.hcl", "new"); r.git("add", "-A") }, true},
		"removed":              {func(r *repo) { r.remove("conf/a.hold.hcl") }, true},
		"renamed":              {func(r *repo) { r.git("mv", "conf/a.hold.hcl", "conf/z.hold.hcl") }, true},
		"staged and put back":  {func(r *repo) { r.write("conf/a.hold.hcl", "x"); r.git("add", "-A"); r.write("conf/a.hold.hcl", "one") }, false},
		"executable":           {func(r *repo) { r.chmod("conf/a.hold.hcl", 0o755) }, false},
		"other file":           {func(r *repo) { r.write("conf/README", "x") }, false},
		"configuration beside": {func(r *repo) { r.write("other/x.hold.hcl", "x") }, false},
		"ignored and added":    {func(r *repo) { r.write(".git/info/exclude", "*"); r.write("conf/c.hold.hcl", "new") }, true},
		"committed":            {func(r *repo) { r.commit("more", "conf/c.hold.hcl", "new") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t)
			r.commit("first", "conf/a.hold.hcl", "one", "conf/b.holdvars.hcl", "two", "conf/notes", "n", "other/y.hold.hcl", "y")
			tc.change(r)
			s := open(t, source.Spec{Dir: filepath.Join(r.dir, "conf")})
			if s.Info.Dirty != tc.dirty {
				t.Errorf("dirty %t, want %t", s.Info.Dirty, tc.dirty)
			}
			if want := r.git("rev-parse", "HEAD"); s.Info.Commit != want || s.Info.Ref != "main" || s.Info.Repo != r.dir || s.Info.Path != "conf" {
				t.Errorf("info %+v, want commit %s", s.Info, want)
			}
		})
	}
}

func (r *repo) remove(name string) {
	r.t.Helper()
	if err := os.Remove(filepath.Join(r.dir, name)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *repo) chmod(name string, mode os.FileMode) {
	r.t.Helper()
	if err := os.Chmod(filepath.Join(r.dir, name), mode); err != nil {
		r.t.Fatal(err)
	}
}

// What was read stays, so that Dirty and the parsed text cannot differ.
func TestDirIsASnapshot(t *testing.T) {
	r := newRepo(t)
	r.commit("c", "a.hold.hcl", "one")
	s := open(t, source.Spec{Dir: r.dir})
	r.write("a.hold.hcl", "two")
	r.write("b.hold.hcl", "three")
	if got := listing(t, s.FS); got != "a.hold.hcl=one" {
		t.Errorf("listing %q", got)
	}
}

func TestDirInGitWithoutItsCommit(t *testing.T) {
	r := newRepo(t)
	r.write("a.hold.hcl", "one")
	s := open(t, source.Spec{Dir: r.dir})
	if want := (source.Info{Repo: r.dir, Ref: "main", Dirty: true}); s.Info != want {
		t.Errorf("no commit yet: %+v, want %+v", s.Info, want)
	}
	r.commit("c", "a", "file")
	writeFile(t, r.dir+"/new/x.hold.hcl", "x")
	if s := open(t, source.Spec{Dir: r.dir + "/new"}); !s.Info.Dirty || s.Info.Path != "new" || s.Info.Commit == "" {
		t.Errorf("a folder that is not committed: %+v", s.Info)
	}
	r.remove("a")
	writeFile(t, r.dir+"/a/x.hold.hcl", "x")
	if s := open(t, source.Spec{Dir: r.dir + "/a"}); !s.Info.Dirty {
		t.Errorf("a folder that is a file in the commit: %+v", s.Info)
	}
	if err := os.MkdirAll(r.dir+"/inner/.git", 0o755); err != nil {
		t.Fatal(err)
	}
	if s := open(t, source.Spec{Dir: r.dir + "/inner"}); s.Info.Repo != r.dir {
		t.Errorf("an empty .git was taken for a repository: %+v", s.Info)
	}
	bare := newRepo(t, "--bare")
	refused(t, source.Spec{Dir: bare.dir}, "bare git repository", "name it as a repository")
}

func TestDirHostile(t *testing.T) {
	for name, tc := range map[string]struct {
		make  func(t *testing.T, dir string)
		words []string
	}{
		"link":          {func(t *testing.T, dir string) { symlink(t, "/etc/passwd", dir+"/a.hold.hcl") }, []string{"a.hold.hcl is a symbolic link"}},
		"dangling link": {func(t *testing.T, dir string) { symlink(t, "none", dir+"/a.hold.json") }, []string{"a.hold.json is a symbolic link"}},
		"pipe": {func(t *testing.T, dir string) {
			if err := syscall.Mkfifo(dir+"/a.hold.hcl", 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{"a.hold.hcl is not a plain file (a named pipe)"}},
		"socket": {func(t *testing.T, dir string) {
			fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { syscall.Close(fd) })
			t.Chdir(dir)
			if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: "a.holdvars.hcl"}); err != nil {
				t.Skipf("no socket here: %v", err)
			}
		}, []string{"a.holdvars.hcl is not a plain file (a socket)"}},
		"folder":     {func(t *testing.T, dir string) { writeFile(t, dir+"/a.hold.hcl/x", "") }, []string{"a.hold.hcl is a folder"}},
		"large file": {func(t *testing.T, dir string) { writeFile(t, dir+"/a.hold.hcl", strings.Repeat("x", 16<<20+1)) }, []string{"a.hold.hcl has 16777217 bytes"}},
		"huge file": {func(t *testing.T, dir string) {
			writeFile(t, dir+"/a.hold.hcl", "")
			if err := os.Truncate(dir+"/a.hold.hcl", 1<<40); err != nil {
				t.Skipf("no sparse files here: %v", err)
			}
		}, []string{"a.hold.hcl has 1099511627776 bytes"}},
		"many files": {func(t *testing.T, dir string) {
			for i := range 10_001 {
				writeFile(t, fmt.Sprintf("%s/%d", dir, i), "")
			}
		}, []string{"more than 10000 entries"}},
		"name": {func(t *testing.T, dir string) { writeFile(t, dir+"/a\n.hold.hcl", "") }, []string{`"a\n.hold.hcl" is not an acceptable file name`}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			tc.make(t, dir)
			refused(t, source.Spec{Dir: dir}, tc.words...)
		})
	}
	dir := t.TempDir()
	writeFile(t, dir+"/a.hold.hcl", "x")
	symlink(t, "/etc", dir+"/etc")
	if err := syscall.Mkfifo(dir+"/pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	if got := listing(t, open(t, source.Spec{Dir: dir}).FS); got != "a.hold.hcl=x" {
		t.Errorf("listing %q", got)
	}
	linked := filepath.Join(t.TempDir(), "linked")
	symlink(t, dir, linked)
	if got := listing(t, open(t, source.Spec{Dir: linked}).FS); got != "a.hold.hcl=x" {
		t.Errorf("listing through the operator's own link %q", got)
	}
}

func symlink(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

func TestDirOfAStranger(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("giving a directory to another user needs root")
	}
	r := newRepo(t)
	r.commit("c", "conf/a.hold.hcl", "x")
	// Seen from root the repository of user 4242 is refused, unless the
	// directory is that user's as well.
	if err := os.Chown(r.dir+"/.git", 4242, 4242); err != nil {
		t.Fatal(err)
	}
	refused(t, source.Spec{Dir: r.dir + "/conf"}, "belongs to user 4242")
	if err := os.Chown(r.dir+"/conf", 4242, 4242); err != nil {
		t.Fatal(err)
	}
	if s := open(t, source.Spec{Dir: r.dir + "/conf"}); s.Info.Commit == "" {
		t.Errorf("info %+v", s.Info)
	}
	if _, err := source.Open(context.Background(), source.Spec{Repo: r.dir}); err != nil {
		t.Errorf("named explicitly: %v", err)
	}
}
