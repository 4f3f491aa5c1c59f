package source_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/holdfast-dr/holdfast/config/source"
)

// What git reads, holdfast reads: repositories as people have them.
func TestSoundRepositories(t *testing.T) {
	appendTo := func(r *repo, name, text string) {
		t.Helper()
		f, err := os.OpenFile(filepath.Join(r.dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	config := func(text string) func(*repo) { return func(r *repo) { appendTo(r, ".git/config", text) } }
	// lend moves the objects elsewhere and names that place in the alternates file.
	lend := func(line func(from, to string) string) func(*repo) {
		return func(r *repo) {
			to := filepath.Join(r.t.TempDir(), "le nder", "objects")
			from := r.dir + "/.git/objects"
			if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.Rename(from, to), os.MkdirAll(from+"/info", 0o755)); err != nil {
				r.t.Fatal(err)
			}
			r.write(".git/objects/info/alternates", line(from, to))
		}
	}
	for name, make := range map[string]func(*repo){
		"old section":       config("[branch.feature]\n\tremote = origin\n"),
		"several on a line": config("[user] name = Ana # here\n[a \"b\"] c = d\n"),
		"empty subsection":  config("[branch \"\"]\n\tremote = origin\n"),
		"no value":          config("[core]\n\tsparseCheckout\n"),
		"another encoding":  config("[user]\n\tname = J\xfcrgen\n"),
		"continued line":    config("[alias]\n\tlong = log \\\n\t\t--oneline \"a; \\\"b\\\" \\t\" ; more\n"),
		"carriage returns":  config("[user]\r\n\tname = Ana\r\n"),
		"no line end":       config("[user]\n\tname = Ana"),
		"byte order mark": func(r *repo) {
			text, err := os.ReadFile(r.dir + "/.git/config")
			if err != nil {
				r.t.Fatal(err)
			}
			r.write(".git/config", "\ufeff"+string(text))
		},
		"pack index version 1": func(r *repo) { r.git("-c", "pack.indexVersion=1", "repack", "-adq") },
		"alternates":           lend(func(_, to string) string { return to + "\n" }),
		"commented alternates": lend(func(_, to string) string { return "# lent\n\n" + to }),
		"quoted alternates":    lend(func(_, to string) string { return `"` + strings.ReplaceAll(to, "l", `\154`) + "\"\n" }),
		"relative alternates": lend(func(from, to string) string {
			rel, err := filepath.Rel(from, to)
			if err != nil {
				t.Fatal(err)
			}
			return rel + "\n"
		}),
		"chained alternates": func(r *repo) {
			lend(func(_, to string) string { return to + "\n" })(r)
			lend(func(_, to string) string { return to + "\n" })(r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			emptyTemp(t)
			r := newRepo(t)
			first := r.commit("first", "conf/a.hold.hcl", "one")
			head := r.commit("second", "conf/a.hold.hcl", "two")
			make(r)
			if got := r.git("rev-parse", "HEAD"); got != head {
				t.Fatalf("git itself reads %s", got)
			}
			for _, spec := range []source.Spec{{Repo: r.dir, Path: "conf"}, {Dir: r.dir + "/conf"}, {Repo: r.dir, Ref: head[:7], Path: "conf"}} {
				s := open(t, spec)
				if got := listing(t, s.FS); got != "a.hold.hcl=two" || s.Info.Commit != head || s.Info.Dirty || s.Unknown != nil {
					t.Errorf("%+v: %q, %+v, %v", spec, got, s.Info, s.Unknown)
				}
				if d, err := s.Descends(context.Background(), first); d != source.DescentYes || err != nil {
					t.Errorf("%+v: descent %q, %v", spec, d, err)
				}
			}
		})
	}
}

// The git program, where it reads, runs nothing of the repository, asks
// nothing, fetches nothing, and sees nothing of the environment.
func TestGitProgramIsOnItsOwn(t *testing.T) {
	lender := newRepo(t)
	first := lender.commit("first", "a.hold.hcl", "one")
	dir := filepath.Join(t.TempDir(), "shared")
	lender.git("clone", "-q", "--shared", lender.dir, dir)
	shared := &repo{t, dir}
	ran := filepath.Join(t.TempDir(), "ran")
	program := filepath.Join(t.TempDir(), "evil")
	writeFile(t, program, "#!/bin/sh\necho \"$0 $*\" >>"+ran+"\n")
	if err := os.Chmod(program, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"core.fsmonitor", "core.sshCommand", "core.askPass", "core.pager", "core.alternateRefsCommand", "credential.helper", "alias.cat-file"} {
		shared.git("config", key, "!"+program)
	}
	shared.git("config", "core.hooksPath", filepath.Dir(program))
	shared.git("config", "extensions.partialClone", "origin")
	shared.git("config", "remote.origin.promisor", "true")
	shared.git("config", "remote.origin.uploadpack", program)
	shared.git("config", "trace2.eventTarget", ran)
	for _, name := range []string{"GIT_TRACE", "GIT_TRACE2_EVENT"} {
		t.Setenv(name, ran)
	}
	t.Setenv("GIT_DIR", "/nonexistent")
	t.Setenv("GIT_EXTERNAL_DIFF", program)
	t.Setenv("GIT_ASKPASS", program)
	emptyTemp(t)
	if got := listing(t, open(t, source.Spec{Repo: dir, Ref: first}).FS); got != "a.hold.hcl=one" {
		t.Errorf("listing %q", got)
	}
	refused(t, source.Spec{Repo: dir, Ref: strings.Repeat("ab", 20)}, "no commit abab", "partial clone", "git fetch --refetch")
	if text, err := os.ReadFile(ran); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something ran or was traced: %s %v", text, err)
	}
}

func TestWithoutTheGitProgram(t *testing.T) {
	r := newRepo(t)
	r.commit("first", "a.hold.hcl", "one")
	shared := filepath.Join(t.TempDir(), "shared")
	r.git("clone", "-q", "--shared", r.dir, shared)
	old := filepath.Join(t.TempDir(), "old")
	r.git("clone", "-q", r.dir, old)
	(&repo{t, old}).git("-c", "pack.indexVersion=1", "repack", "-adq")
	t.Setenv("PATH", t.TempDir())
	for _, dir := range []string{shared, old} {
		refused(t, source.Spec{Repo: dir}, "there is no git program")
		s := open(t, source.Spec{Dir: dir})
		if got := listing(t, s.FS); got != "a.hold.hcl=one" || !s.Info.Dirty || s.Info.Commit != "" || s.Unknown == nil {
			t.Errorf("%q, %+v, %v", got, s.Info, s.Unknown)
		}
	}
}

// What is wrong with the repository around a directory does not keep its files
// from being read.
func TestDirInABrokenRepository(t *testing.T) {
	for name, tc := range map[string]struct {
		make func(r *repo)
		why  string
	}{
		"pipe": {func(r *repo) {
			if err := errors.Join(os.RemoveAll(r.dir+"/.git"), exec.Command("mkfifo", r.dir+"/.git").Run()); err != nil {
				r.t.Fatal(err)
			}
		}, "neither a directory nor a link file"},
		"file": {func(r *repo) {
			if err := os.RemoveAll(r.dir + "/.git"); err != nil {
				r.t.Fatal(err)
			}
			r.write(".git", "x")
		}, "not a link file of git"},
		"link to what is not mounted": {func(r *repo) {
			if err := os.RemoveAll(r.dir + "/.git"); err != nil {
				r.t.Fatal(err)
			}
			r.write(".git", "gitdir: /nonexistent/.git/worktrees/x")
		}, "git worktree repair"},
		"HEAD":           {func(r *repo) { r.write(".git/HEAD", "garbage") }, "HEAD"},
		"config":         {func(r *repo) { r.write(".git/config", "[core\n") }, "config file is damaged in line 1"},
		"missing commit": {func(r *repo) { r.write(".git/refs/heads/main", strings.Repeat("12", 20)+"\n") }, "object is missing"},
		"object format":  {func(r *repo) { r.git("config", "extensions.objectFormat", "sha3") }, "object format sha3"},
		"ref storage":    {func(r *repo) { r.git("config", "extensions.refStorage", "reftable") }, "git refs migrate"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t)
			r.commit("c", "a.hold.hcl", "one")
			tc.make(r)
			s := open(t, source.Spec{Dir: r.dir})
			if got := listing(t, s.FS); got != "a.hold.hcl=one" || s.Info.Commit != "" || !s.Info.Dirty {
				t.Errorf("%q %+v", got, s.Info)
			}
			if s.Unknown == nil || !strings.Contains(s.Unknown.Error(), tc.why) {
				t.Errorf("the reason is %v, want %q", s.Unknown, tc.why)
			}
			if d, err := s.Descends(context.Background(), strings.Repeat("12", 20)); d != source.DescentUnknown || err != nil {
				t.Errorf("descent %q, %v", d, err)
			}
		})
	}
}

// Clones of which only a part is checked out, with the extensions of the config that git makes for them.
func TestSparseCheckout(t *testing.T) {
	r := newRepo(t)
	r.git("config", "uploadpack.allowFilter", "true")
	head := r.commit("c", "conf/a.hold.hcl", "one", "other/z.hold.hcl", "z")
	r.git("update-ref", "refs/heads/HEAD", r.git("commit-tree", "-m", "not what HEAD means", head+"^{tree}"))
	for name, args := range map[string][]string{"sparse": nil, "sparse and partial": {"--filter=blob:none"}, "without trees": {"--filter=tree:0"}} {
		t.Run(name, func(t *testing.T) {
			clone := &repo{t, filepath.Join(t.TempDir(), "clone")}
			r.git(append(append([]string{"clone", "-q", "--sparse"}, args...), "file://"+r.dir, clone.dir)...)
			clone.git("sparse-checkout", "set", "conf")
			if clone.git("config", "extensions.worktreeConfig") != "true" {
				t.Fatal("git did not set the extension")
			}
			for _, spec := range []source.Spec{{Dir: clone.dir + "/conf"}, {Repo: clone.dir, Path: "conf"}, {Repo: clone.dir, Ref: "HEAD", Path: "conf"}} {
				s := open(t, spec)
				if got := listing(t, s.FS); got != "a.hold.hcl=one" || s.Info.Commit != head || s.Info.Dirty || s.Unknown != nil {
					t.Errorf("%+v: %q, %+v, %v", spec, got, s.Info, s.Unknown)
				}
			}
		})
	}
}

// A bare repository beside its work trees, which a file .git makes look like one.
func TestBareBesideWorkTrees(t *testing.T) {
	r := newRepo(t)
	head := r.commit("c", "conf/a.hold.hcl", "one")
	top := t.TempDir()
	r.git("clone", "-q", "--bare", r.dir, top+"/.bare")
	writeFile(t, top+"/.git", "gitdir: ./.bare\n")
	(&repo{t, top}).git("worktree", "add", "-q", "main", "main")
	for _, spec := range []source.Spec{{Dir: top + "/main/conf"}, {Repo: top + "/main", Path: "conf"}, {Repo: top, Path: "conf"}} {
		if s := open(t, spec); s.Info.Commit != head || s.Info.Dirty {
			t.Errorf("%+v: %+v, %v", spec, s.Info, s.Unknown)
		}
	}
}

// A checkout as CI systems make it for a pull request.
func TestPullRequestCheckout(t *testing.T) {
	r := newRepo(t)
	first := r.commit("first", "a.hold.hcl", "1")
	r.git("switch", "-q", "-c", "feature")
	tip := r.commit("change", "a.hold.hcl", "2")
	r.git("switch", "-q", "main")
	main := r.commit("main goes on", "b.hold.hcl", "3")

	checkout := &repo{t, t.TempDir()}
	checkout.git("init", "-q", "-b", "main")
	checkout.git("remote", "add", "origin", "file://"+r.dir)
	checkout.git("fetch", "-q", "--depth=1", "origin", "+refs/heads/feature:refs/remotes/pull/7/merge")
	checkout.git("checkout", "-q", "refs/remotes/pull/7/merge")
	spec := source.Spec{Repo: checkout.dir}
	if s := open(t, spec); s.Info.Commit != tip {
		t.Errorf("info %+v", s.Info)
	}
	spec.Ref = "origin/main"
	refused(t, spec, "no branch, tag or commit origin/main here", "git fetch --depth=1 origin +refs/heads/main:refs/remotes/origin/main")
	spec.Ref = "merge"
	refused(t, spec, "did you mean pull/7/merge?")
	spec.Ref = "zzz"
	refused(t, spec, "branches and tags: origin/feature, pull/7/merge")
	spec.Ref = "FETCH_HEAD"
	if s := open(t, spec); s.Info.Commit != tip || s.Info.Ref != "FETCH_HEAD" {
		t.Errorf("FETCH_HEAD: %+v", s.Info)
	}
	// What the message says to type is right.
	checkout.git("fetch", "-q", "--depth=1", "origin", "+refs/heads/main:refs/remotes/origin/main")
	spec.Ref = "origin/main"
	if s := open(t, spec); s.Info.Commit != main {
		t.Errorf("origin/main: %+v", s.Info)
	}
	spec.Ref = "main"
	refused(t, spec, "did you mean origin/main?")
	spec.Ref = "origin/main"
	if _, err := source.Fork(context.Background(), spec, tip); err == nil || !strings.Contains(err.Error(), "git fetch --unshallow") || !strings.Contains(err.Error(), "fetch-depth: 0") {
		t.Errorf("the fork in a shallow clone: %v", err)
	}

	checkout.git("update-ref", "-d", "refs/remotes/origin/main")
	_, err := source.Fork(context.Background(), spec, tip)
	if how := "git fetch --unshallow origin +refs/heads/main:refs/remotes/origin/main"; err == nil || !strings.Contains(err.Error(), how) {
		t.Errorf("the fork without the branch: %v", err)
	}
	checkout.git("fetch", "-q", "--unshallow", "origin", "+refs/heads/main:refs/remotes/origin/main")
	if got, err := source.Fork(context.Background(), spec, tip); got != first || err != nil {
		t.Errorf("the fork: %s, %v; want %s", got, err, first)
	}

	only := &repo{t, t.TempDir()}
	only.git("init", "-q", "-b", "main")
	only.git("fetch", "-q", "file://"+r.dir, "feature")
	only.git("checkout", "-q", "FETCH_HEAD")
	refused(t, source.Spec{Repo: only.dir, Ref: "origin/main"}, "git fetch origin +refs/heads/main:refs/remotes/origin/main")
}

func TestPartialClone(t *testing.T) {
	r := newRepo(t)
	r.git("config", "uploadpack.allowFilter", "true")
	old := r.commit("first", "a.hold.hcl", "1")
	r.commit("second", "a.hold.hcl", "2")
	clone := &repo{t, filepath.Join(t.TempDir(), "partial")}
	r.git("clone", "-q", "--filter=blob:none", "file://"+r.dir, clone.dir)
	if s := open(t, source.Spec{Dir: clone.dir}); s.Info.Dirty || s.Unknown != nil {
		t.Errorf("the checkout: %+v, %v", s.Info, s.Unknown)
	}
	refused(t, source.Spec{Repo: clone.dir, Ref: old}, "a.hold.hcl", "partial clone", "git fetch --refetch --no-filter")
	clone.git("fetch", "-q", "--refetch", "--no-filter")
	if got := listing(t, open(t, source.Spec{Repo: clone.dir, Ref: old}).FS); got != "a.hold.hcl=1" {
		t.Errorf("after what the message says: %q", got)
	}
}

func TestFork(t *testing.T) {
	r := newRepo(t)
	fork := r.commit("first", "a.hold.hcl", "1")
	r.git("switch", "-q", "-c", "feature")
	tip := r.commit("change", "a.hold.hcl", "2")
	r.git("switch", "-q", "main")
	main := r.commit("main goes on", "b.hold.hcl", "3")
	r.git("switch", "-q", "-c", "merge")
	r.git("merge", "-q", "--no-edit", "feature")
	merge := r.git("rev-parse", "HEAD")
	r.git("switch", "-q", "--orphan", "apart")
	apart := r.commit("apart", "x.hold.hcl", "x")
	r.git("switch", "-q", "main")
	url := serveHTTPS(t, r)
	for _, tc := range []struct{ ref, commit, want, words string }{
		{"main", tip, fork, ""},
		{"feature", main, fork, ""},
		{"main", merge, main, ""}, // as pull requests are merged for a check
		{"main", main, main, ""},
		{"main", fork, fork, ""},
		{"main", apart, "", "no commit in common"},
		{"mian", tip, "", "did you mean main?"},
	} {
		for _, repo := range []string{r.dir, url} {
			got, err := source.Fork(context.Background(), source.Spec{Repo: repo, Ref: tc.ref}, tc.commit)
			if got != tc.want || (err != nil) != (tc.words != "") || err != nil && !strings.Contains(err.Error(), tc.words) {
				t.Errorf("%s: %s from %s: %q, %v; want %q %s", repo, tc.commit[:7], tc.ref, got, err, tc.want, tc.words)
			}
		}
	}
}

// The fork is the one that git merge-base says, whatever the clocks said and
// however branches were merged.
func TestForkAsGitSays(t *testing.T) {
	r := newRepo(t)
	var all []string
	var stream strings.Builder
	date := func(i int) int { return 1_700_000_000 + (i*7919)%13*1000 } // not in order
	for i := range 60 {
		stream.WriteString("commit refs/heads/c" + num(i) + "\nmark :" + num(i+1) + "\ncommitter Ben <b@example.net> " + num(date(i)) + " +0000\ndata 1\nm\n")
		if i > 0 {
			stream.WriteString("from :" + num(max(1, i-i*i%5)) + "\n")
		}
		if i > 8 && i%4 == 0 {
			stream.WriteString("merge :" + num(i-3-i%3) + "\n")
		}
		stream.WriteString("M 644 inline a.hold.hcl\ndata 2\n" + num(10+i%90) + "\n\n")
	}
	r.gitIn(stream.String(), "fast-import", "--quiet")
	for i := range 60 {
		all = append(all, r.git("rev-parse", "c"+num(i)))
	}
	for i := 3; i < 60; i += 5 {
		for j := 1; j < 60; j += 7 {
			want := strings.Fields(r.git("merge-base", "--all", all[i], all[j]))
			got, err := source.Fork(context.Background(), source.Spec{Repo: r.dir, Ref: "c" + num(j)}, all[i])
			if err != nil || !slices.Contains(want, got) {
				t.Errorf("%d and %d: %s, %v; want one of %v", i, j, got, err, want)
			}
		}
	}
}

func num(i int) string { return strconv.Itoa(i) }

// What git calls clean is clean, and is read as it was committed.
func TestCheckoutsThatGitChanges(t *testing.T) {
	r := newRepo(t)
	head := r.commit("c", "a.hold.hcl", "# $Id$\none\ntwo\n", ".gitattributes", "*.hcl ident\n")
	clone := &repo{t, filepath.Join(t.TempDir(), "clone")}
	r.git("clone", "-q", "-c", "core.autocrlf=true", r.dir, clone.dir)
	raw, err := os.ReadFile(clone.dir + "/a.hold.hcl")
	if err != nil || !strings.Contains(string(raw), "\r\n") || !strings.Contains(string(raw), "$Id: ") {
		t.Fatalf("git did not change the file: %q, %v", raw, err)
	}
	s := open(t, source.Spec{Dir: clone.dir})
	if got := listing(t, s.FS); s.Info.Dirty || s.Info.Commit != head || !strings.Contains(got, "# $Id$\none\ntwo\n") {
		t.Errorf("%q, %+v", got, s.Info)
	}
	clone.write("a.hold.hcl", strings.Replace(string(raw), "two", "2", 1))
	if s := open(t, source.Spec{Dir: clone.dir}); !s.Info.Dirty {
		t.Error("a changed file is clean")
	}
}

func TestCommitEncodings(t *testing.T) {
	for name, tc := range map[string]struct{ encoding, subject, author string }{
		"latin 1":           {"ISO-8859-1", "Gr\xfc\xdfe", "J\xfcrgen"},
		"shift jis":         {"Shift_JIS", "\x93\xfa\x96\x7b", "A"},
		"koi8":              {"KOI8-R", "\xf0\xd2\xc9\xd7\xc5\xd4", "A"},
		"utf-8":             {"", "Grüße 日本", "Jürgen"},
		"not what it says":  {"", "Gr\xfc\xdfe", "J\xfcrgen"},
		"unknown":           {"x-none", "Gr\xfc\xdfe", "J\xfcrgen"},
		"utf-8, said aloud": {"UTF-8", "Grüße", "Jürgen"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t)
			tree := r.commit("c", "a.hold.hcl", "one")
			tree = r.git("rev-parse", tree+"^{tree}")
			header := ""
			if tc.encoding != "" {
				header = "encoding " + tc.encoding + "\n"
			}
			raw := "tree " + tree + "\nauthor " + tc.author + " <a@example.net> 1700000000 +0000\ncommitter B <b@example.net> 1700000000 +0000\n" + header + "\n" + tc.subject + "\n"
			r.git("update-ref", "refs/heads/main", r.gitIn(raw, "hash-object", "-t", "commit", "-w", "--stdin"))
			want := map[string]string{"shift jis": "日本 A", "koi8": "Привет A", "utf-8": "Grüße 日本 Jürgen"}[name]
			if want == "" {
				want = "Grüße Jürgen"
			}
			s := open(t, source.Spec{Repo: r.dir})
			if got := s.Info.Subject + " " + strings.TrimSuffix(s.Info.Author, " <a@example.net>"); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// A commit claims a time that cannot be written down: it is read all the same, and its record too.
func TestCommitTimes(t *testing.T) {
	r := newRepo(t)
	tree := r.git("rev-parse", r.commit("c", "a.hold.hcl", "one")+"^{tree}")
	for date, want := range map[string]string{
		"1700000000 +0000": `"time":"2023-11-14T22:13:20Z"`, "253402300800 +0000": `"dirty"`, "99999999999999 +0000": `"dirty"`,
		"9999999999999999999999 +0000": `"dirty"`, "-1 +0000": `"dirty"`, "1700000000 +9999": `"time":"2023-11-14T22:13:20Z"`, "": `"dirty"`,
	} {
		raw := "tree " + tree + "\nauthor A <a@example.net> " + date + "\ncommitter B <b@example.net> " + date + "\n\nm\n"
		r.git("update-ref", "refs/heads/odd", r.gitIn(raw, "hash-object", "-t", "commit", "-w", "--literally", "--stdin"))
		s := open(t, source.Spec{Repo: r.dir, Ref: "odd"})
		if got, err := json.Marshal(s.Info); err != nil || !strings.Contains(string(got), want) {
			t.Errorf("%q: %s, %v", date, got, err)
		}
	}
}

// Names that begin with a dot are what editors and systems leave behind.
func TestDotNames(t *testing.T) {
	r := newRepo(t)
	head := r.commit("c", "a.hold.hcl", "one", "._a.hold.hcl", "\x00\x05\x16\x07", ".old.holdvars.hcl", "x")
	symlink(t, "joe@h.1:2", r.dir+"/.#a.hold.hcl")
	r.write(".~a.hold.json", "{")
	s := open(t, source.Spec{Dir: r.dir})
	if s.Info.Dirty || s.Info.Commit != head {
		t.Errorf("info %+v", s.Info)
	}
	for _, name := range []string{".#a.hold.hcl", "._a.hold.hcl", ".old.holdvars.hcl"} {
		if source.IsConfig(name) {
			t.Errorf("%s is taken for configuration", name)
		}
	}
	r.git("add", "-A")
	r.git("commit", "-q", "-m", "a lock file, committed")
	open(t, source.Spec{Repo: r.dir})
}

// A Kubernetes ConfigMap or Secret is mounted as links through ..data.
func TestMountedConfigMap(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir+"/..2026_01_01/a.hold.hcl", "one")
	writeFile(t, dir+"/..2026_01_02/a.hold.hcl", "two")
	writeFile(t, dir+"/..2026_01_02/big/x", "x")
	symlink(t, "..2026_01_02", dir+"/..data")
	symlink(t, "..data/a.hold.hcl", dir+"/a.hold.hcl")
	for _, d := range []string{dir, dir + "/..data"} {
		if got := listing(t, open(t, source.Spec{Dir: d}).FS); !strings.Contains(got, "a.hold.hcl=two") || strings.Contains(got, "one") {
			t.Errorf("%s: %q", d, got)
		}
	}
	symlink(t, "..data/big", dir+"/big") // of keys with a slash
	writeFile(t, dir+"/..2026_01_02/big/b.hold.hcl", "three")
	if got := listing(t, open(t, source.Spec{Dir: dir + "/big"}).FS); got != "b.hold.hcl=three x=x" {
		t.Errorf("a folder of it: %q", got)
	}
	for name, target := range map[string]string{
		"b.hold.hcl": "..data/../..2026_01_01/a.hold.hcl", "c.hold.hcl": "a.hold.hcl", "d.hold.hcl": "..data/a.hold.hcl",
		"e.hold.hcl": "/etc/hostname", "big.hold.hcl": "..data/big", "f.hold.hcl": "..data/f.hold.hcl",
	} {
		symlink(t, target, dir+"/"+name)
		refused(t, source.Spec{Dir: dir}, name+" is a symbolic link")
		if err := os.Remove(dir + "/" + name); err != nil {
			t.Fatal(err)
		}
	}
	outside := t.TempDir()
	writeFile(t, outside+"/a.hold.hcl", "evil")
	for _, target := range []string{outside, "../" + filepath.Base(outside), ".."} {
		if err := os.Remove(dir + "/..data"); err != nil {
			t.Fatal(err)
		}
		symlink(t, target, dir+"/..data")
		refused(t, source.Spec{Dir: dir}, "a.hold.hcl is a symbolic link")
	}
}

func TestPointerOfLFS(t *testing.T) {
	r := newRepo(t)
	r.commit("c", "a.hold.hcl", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n")
	for _, spec := range []source.Spec{{Repo: r.dir}, {Dir: r.dir}} {
		refused(t, spec, "a.hold.hcl is a pointer of Git LFS", "git lfs")
	}
}
