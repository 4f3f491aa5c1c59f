package source_test

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/holdfast-dr/holdfast/config/source"
)

func TestOpenCommit(t *testing.T) {
	r := newRepo(t)
	first := r.commit("first", "a.hold.hcl", "one", "conf/x.hold.json", "{}", "conf/y.holdvars.hcl", "v", "conf/sub/deep/note.txt", "n")
	r.git("tag", "v1")
	r.git("tag", "-a", "-m", "annotated", "v1-annotated")
	r.git("branch", "release/1")
	second := r.commit("Shorten the night window\n\nbody", "a.hold.hcl", "two")
	r.write("a.hold.hcl", "uncommitted")
	bare := t.TempDir()
	r.git("clone", "-q", "--bare", r.dir, bare)

	for _, tc := range []struct {
		name         string
		spec         source.Spec
		commit, ref  string
		path, listed string
	}{
		{"head", source.Spec{Repo: r.dir}, second, "main", "", "a.hold.hcl=two conf/"},
		{"named head", source.Spec{Repo: r.dir, Ref: "HEAD"}, second, "main", "", "a.hold.hcl=two conf/"},
		{"file url", source.Spec{Repo: "file://" + r.dir}, second, "main", "", "a.hold.hcl=two conf/"},
		{"git directory", source.Spec{Repo: r.dir + "/.git"}, second, "main", "", "a.hold.hcl=two conf/"},
		{"bare", source.Spec{Repo: bare}, second, "main", "", "a.hold.hcl=two conf/"},
		{"branch", source.Spec{Repo: r.dir, Ref: "release/1"}, first, "release/1", "", "a.hold.hcl=one conf/"},
		{"full ref", source.Spec{Repo: r.dir, Ref: "refs/heads/release/1"}, first, "release/1", "", "a.hold.hcl=one conf/"},
		{"tag", source.Spec{Repo: r.dir, Ref: "v1"}, first, "v1", "", "a.hold.hcl=one conf/"},
		{"annotated tag", source.Spec{Repo: r.dir, Ref: "v1-annotated"}, first, "v1-annotated", "", "a.hold.hcl=one conf/"},
		{"full id", source.Spec{Repo: r.dir, Ref: first}, first, "", "", "a.hold.hcl=one conf/"},
		{"short id", source.Spec{Repo: r.dir, Ref: first[:7]}, first, "", "", "a.hold.hcl=one conf/"},
		{"short id, odd, upper case", source.Spec{Repo: bare, Ref: strings.ToUpper(first[:9])}, first, "", "", "a.hold.hcl=one conf/"},
		{"path", source.Spec{Repo: bare, Path: "conf"}, second, "main", "conf", "sub/ x.hold.json={} y.holdvars.hcl=v"},
		{"path with slashes and dots", source.Spec{Repo: bare, Path: "./conf/sub/"}, second, "main", "conf/sub", "deep/"},
		{"root path", source.Spec{Repo: bare, Path: "."}, second, "main", "", "a.hold.hcl=two conf/"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := open(t, tc.spec)
			if s.Info.Commit != tc.commit || s.Info.Ref != tc.ref || s.Info.Path != tc.path || s.Info.Dirty {
				t.Errorf("info %+v, want commit %s ref %q path %q", s.Info, tc.commit, tc.ref, tc.path)
			}
			if got := listing(t, s.FS); got != tc.listed {
				t.Errorf("listing %q, want %q", got, tc.listed)
			}
		})
	}

	s := open(t, source.Spec{Repo: r.dir})
	want := source.Info{Repo: r.dir, Commit: second, Ref: "main", Subject: "Shorten the night window",
		Author: "Ana <ana@example.net>", Time: time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC)}
	if s.Info != want {
		t.Errorf("info\n got %+v\nwant %+v", s.Info, want)
	}
	text, err := json.Marshal(s.Info)
	if err != nil {
		t.Fatal(err)
	}
	if want := `"time":"2026-01-02T03:04:06Z","dirty":false}`; !strings.HasSuffix(string(text), want) {
		t.Errorf("json %s, want the end %s", text, want)
	}
}

func TestFSContract(t *testing.T) {
	r := newRepo(t)
	r.commit("c", "a.hold.hcl", "one", "sub/deep/note.txt", "n", "README", "text")
	for name, spec := range map[string]source.Spec{"git": {Repo: r.dir}, "dir": {Dir: r.dir}} {
		t.Run(name, func(t *testing.T) {
			s := open(t, spec)
			if err := fstest.TestFS(s.FS, "a.hold.hcl", "sub/deep/note.txt", "README"); err != nil {
				t.Error(err)
			}
			if _, err := fs.ReadFile(s.FS, "sub/../a.hold.hcl"); err == nil {
				t.Error("a path with .. was read")
			}
			if _, err := s.FS.Open("a.hold.hcl/x"); err == nil {
				t.Error("a file was used as a folder")
			}
		})
	}
}

func TestRefErrors(t *testing.T) {
	empty := newRepo(t)
	refused(t, source.Spec{Repo: empty.dir}, "has no commits yet", "commit the configuration first")
	refused(t, source.Spec{Repo: empty.dir, Ref: "main"}, "has no commits yet")

	r := newRepo(t)
	first := r.commit("c", "conf/a.hold.hcl", "one", "file", "x")
	blob := r.blob("one")
	r.git("branch", "production")
	r.git("tag", "v1.0")
	refused(t, source.Spec{Repo: r.dir, Ref: "prodution"}, "no branch, tag or commit prodution", "did you mean production?")
	refused(t, source.Spec{Repo: r.dir, Ref: "zzz"}, "branches and tags: main, production, v1.0")
	refused(t, source.Spec{Repo: r.dir, Ref: strings.Repeat("ab", 20)}, "no commit abab", "fetch it")
	refused(t, source.Spec{Repo: r.dir, Ref: "ffffffff"}, "no branch, tag or commit ffffffff")
	refused(t, source.Spec{Repo: r.dir, Ref: blob}, "is a blob, not a commit")
	refused(t, source.Spec{Repo: r.dir, Ref: blob[:8]}, "no branch, tag or commit")
	for _, bad := range []string{"-x", "main~1", "main^", "a..b", "main@{1}", "a b", "a\nb", "/main", "x:y", "a\\b"} {
		refused(t, source.Spec{Repo: r.dir, Ref: bad}, "not a branch, tag or commit id")
	}
	refused(t, source.Spec{Repo: r.dir, Ref: "refs/heads/" + strings.Repeat("x", 3000)}, "not a branch, tag or commit id")

	refused(t, source.Spec{Repo: r.dir, Path: "cnf"}, "path cnf is not in this commit", "did you mean conf?")
	refused(t, source.Spec{Repo: r.dir, Path: "conf/inner"}, "path conf/inner is not in this commit", "no folders there")
	refused(t, source.Spec{Repo: r.dir, Path: "file"}, "path file is a file", "give the folder")
	refused(t, source.Spec{Repo: r.dir, Path: "/etc"}, "absolute")
	for _, bad := range []string{"..", "conf/../..", "a\\b", ".git", "x/.GIT", "git~1", "a//b", "a\x00b", strings.Repeat("d/", 40) + "d"} {
		refused(t, source.Spec{Repo: r.dir, Path: bad}, "path ")
		refused(t, source.Spec{Dir: r.dir, Path: bad}, "path ")
	}

	other := r.commit("second")
	r.git("tag", "both", first)
	r.git("branch", "both", other)
	refused(t, source.Spec{Repo: r.dir, Ref: "both"}, "ambiguous", "refs/heads/both", "refs/tags/both")
	r.git("symbolic-ref", "HEAD", "refs/heads/nothing")
	refused(t, source.Spec{Repo: r.dir}, "branch nothing has no commits yet", "main")
}

func TestSpecErrors(t *testing.T) {
	dir := t.TempDir()
	refused(t, source.Spec{}, "no source is given")
	refused(t, source.Spec{Dir: dir, Repo: dir}, "give one")
	refused(t, source.Spec{Dir: dir, Ref: "main"}, "a directory is read as it lies on disk")
	refused(t, source.Spec{Repo: dir}, "is not a git repository", "git init")
	refused(t, source.Spec{Repo: dir + "/none"}, "no such file")
	refused(t, source.Spec{Dir: dir + "/none"}, "there is no directory")
	writeFile(t, dir+"/f", "")
	refused(t, source.Spec{Repo: dir + "/f"}, "is a file")
	refused(t, source.Spec{Dir: dir + "/f"}, "not a directory")

	r := newRepo(t)
	r.commit("c", "conf/a.hold.hcl", "x")
	refused(t, source.Spec{Repo: r.dir + "/conf"}, "lies inside "+r.dir, "with the path conf")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := source.Open(ctx, source.Spec{Dir: dir}); err == nil {
		t.Error("opened with a canceled context")
	}
}

func TestRepositoryForms(t *testing.T) {
	for repo, words := range map[string][]string{
		"ext::sh -c touch% /tmp/x":              {"remote helper", "use a local path"},
		"fd::3":                                 {"remote helper"},
		"--upload-pack=touch x":                 {"begins with a dash"},
		"-x":                                    {"begins with a dash"},
		"http://example.net/x":                  {"unencrypted"},
		"git://example.net/x":                   {"unencrypted"},
		"ftp://example.net/x":                   {"scheme ftp"},
		"file://example.net/x":                  {"names a host"},
		"file:///x?y":                           {"query"},
		"https://example.net":                   {"lacks a host or a path"},
		"https:///x":                            {"lacks a host or a path"},
		"https://example.net/x?token=c4n4ry":    {"query"},
		"https://ana:c4n4ry@example.net/x":      {"***@example.net", "password", "HOLDFAST_GIT_TOKEN"},
		"https://ana:c4n4ry@exa mple.net/x":     {"***@"},
		"https://ana:c4n4ry@example.net:port/x": {"***@"},
		"ssh://git:c4n4ry@example.net/x":        {"password"},
		"ssh://-oProxyCommand=x/y":              {"dash"},
		"git@example.net:-x":                    {"dash"},
		"ssh://example.net":                     {"lacks a host or a path"},
		"https://example.net/\x1b[31mx":         {"characters"},
	} {
		err := refused(t, source.Spec{Repo: repo}, words...)
		if strings.Contains(err.Error(), "c4n4ry") {
			t.Errorf("%s: the error shows the password: %v", repo, err)
		}
		if strings.ContainsRune(err.Error(), 0x1b) {
			t.Errorf("%s: the error has control characters: %q", repo, err)
		}
	}
}

func TestDescends(t *testing.T) {
	r := newRepo(t)
	first := r.commit("first", "a.hold.hcl", "1")
	r.git("branch", "side")
	second := r.commit("second", "a.hold.hcl", "2")
	r.git("switch", "-q", "side")
	side := r.commit("side", "b.hold.hcl", "1")
	r.git("switch", "-q", "main")
	r.git("merge", "-q", "--no-edit", "side")
	merge := r.git("rev-parse", "HEAD")
	shallow := t.TempDir()
	r.git("clone", "-q", "--depth", "2", "file://"+r.dir, shallow)

	for _, tc := range []struct {
		dir, ref, ancestor string
		want               source.Descent
	}{
		{r.dir, merge, merge, source.DescentSame},
		{r.dir, merge, strings.ToUpper(merge), source.DescentSame},
		{r.dir, merge, first, source.DescentYes},
		{r.dir, merge, side, source.DescentYes},
		{r.dir, second, side, source.DescentNo},
		{r.dir, first, merge, source.DescentNo},
		{r.dir, merge, strings.Repeat("12", 20), source.DescentNo},
		{shallow, "HEAD", second, source.DescentYes},
		{shallow, "HEAD", first, source.DescentUnknown},
		{shallow, "HEAD", strings.Repeat("12", 20), source.DescentUnknown},
	} {
		got, err := source.Descends(context.Background(), source.Spec{Repo: tc.dir, Ref: tc.ref}, tc.ancestor)
		if err != nil || got != tc.want {
			t.Errorf("%s descends from %s: %q, %v; want %q", tc.ref, tc.ancestor, got, err, tc.want)
		}
		if want := tc.want == source.DescentSame || tc.want == source.DescentYes; got.OK() != want {
			t.Errorf("%q is OK: %t", got, got.OK())
		}
	}
	if got, err := open(t, source.Spec{Dir: r.dir}).Descends(context.Background(), first); err != nil || got != source.DescentYes {
		t.Errorf("directory descends: %q, %v", got, err)
	}
	if got, err := open(t, source.Spec{Dir: t.TempDir()}).Descends(context.Background(), first); err != nil || got != source.DescentUnknown {
		t.Errorf("directory outside git descends: %q, %v", got, err)
	}
	if _, err := open(t, source.Spec{Repo: r.dir}).Descends(context.Background(), "main"); err == nil {
		t.Error("a branch name was taken as an ancestor")
	}
	if _, err := open(t, source.Spec{Repo: r.dir}).Descends(context.Background(), r.git("rev-parse", "HEAD^{tree}")); err == nil {
		t.Error("a tree was taken as an ancestor")
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := open(t, source.Spec{Repo: r.dir})
	cancel()
	if _, err := s.Descends(ctx, first); err == nil {
		t.Error("a canceled walk gave an answer")
	}
}

func TestSharedAndLinkedRepositories(t *testing.T) {
	r := newRepo(t)
	first := r.commit("first", "a.hold.hcl", "1")
	r.git("repack", "-adq")
	second := r.commit("second", "a.hold.hcl", "2")

	shared := filepath.Join(t.TempDir(), "shared")
	r.git("clone", "-q", "--shared", r.dir, shared)
	if s := open(t, source.Spec{Repo: shared, Ref: first}); listing(t, s.FS) != "a.hold.hcl=1" {
		t.Errorf("shared clone: %s", listing(t, s.FS))
	}
	linked := filepath.Join(t.TempDir(), "linked")
	r.git("worktree", "add", "-q", "-b", "other", linked, first)
	if s := open(t, source.Spec{Repo: linked}); s.Info.Commit != first || s.Info.Ref != "other" {
		t.Errorf("linked work tree: %+v", s.Info)
	}
	if s := open(t, source.Spec{Dir: linked}); s.Info.Commit != first || s.Info.Ref != "other" || s.Info.Dirty {
		t.Errorf("linked work tree as a directory: %+v", s.Info)
	}
	r.git("switch", "-q", "--detach", first)
	if s := open(t, source.Spec{Repo: r.dir}); s.Info.Commit != first || s.Info.Ref != "" {
		t.Errorf("detached: %+v", s.Info)
	}
	r.git("pack-refs", "--all")
	if s := open(t, source.Spec{Repo: r.dir, Ref: "main"}); s.Info.Commit != second {
		t.Errorf("packed refs: %+v", s.Info)
	}
	t.Setenv("GIT_DIR", shared+"/.git")
	t.Setenv("GIT_OBJECT_DIRECTORY", t.TempDir())
	if s := open(t, source.Spec{Dir: r.dir}); s.Info.Repo != r.dir {
		t.Errorf("GIT_DIR was followed: %+v", s.Info)
	}
	if err := os.RemoveAll(r.dir + "/.git/worktrees"); err != nil {
		t.Fatal(err)
	}
	refused(t, source.Spec{Repo: linked}, "git worktree repair")
}

func TestNewerFormats(t *testing.T) {
	r := newRepo(t, "--object-format=sha256")
	r.commit("c", "a.hold.hcl", "1")
	refused(t, source.Spec{Repo: r.dir}, "object format sha256")
	s := open(t, source.Spec{Dir: r.dir})
	if s.Info.Commit != "" || !s.Info.Dirty || s.Info.Repo != r.dir {
		t.Errorf("directory of a sha256 repository: %+v", s.Info)
	}
}
