package source_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-dr/holdfast/config/source"
)

func TestHostileTrees(t *testing.T) {
	const zero = "1111111111111111111111111111111111111111"
	for _, tc := range []struct {
		name    string
		entries func(r *repo, good string) []string
		listed  string   // when it opens
		words   []string // when it is refused
	}{
		{"link named like configuration", func(r *repo, good string) []string {
			return []string{"120000 " + r.blob("/etc/passwd") + " a.hold.hcl", "100644 " + good + " b.hold.hcl"}
		}, "", []string{"a.hold.hcl is a symbolic link", "never followed"}},
		{"variables link", func(r *repo, _ string) []string {
			return []string{"120000 " + r.blob("x") + " prod.holdvars.hcl"}
		}, "", []string{"prod.holdvars.hcl is a symbolic link"}},
		{"json link", func(r *repo, _ string) []string {
			return []string{"120000 " + r.blob("x") + " A.HOLD.json"}
		}, "", []string{"A.HOLD.json is a symbolic link"}},
		{"submodule named like configuration", func(*repo, string) []string {
			return []string{"160000 " + zero + " a.hold.hcl"}
		}, "", []string{"a.hold.hcl is a git submodule"}},
		{"folder named like configuration", func(r *repo, good string) []string {
			return []string{"40000 " + r.commitTree("100644 "+good+" x") + " a.hold.hcl"}
		}, "", []string{"a.hold.hcl is a folder"}},
		{"other links and submodules", func(r *repo, good string) []string {
			return []string{"100644 " + good + " a.hold.hcl", "120000 " + r.blob("/etc") + " etc", "160000 " + zero + " sub"}
		}, "a.hold.hcl=good", nil},
		{"executable", func(_ *repo, good string) []string { return []string{"100755 " + good + " a.hold.hcl"} }, "a.hold.hcl=good", nil},
		{"group writable", func(_ *repo, good string) []string { return []string{"100664 " + good + " a.hold.hcl"} }, "a.hold.hcl=good", nil},
		{"device mode", func(_ *repo, good string) []string { return []string{"60000 " + good + " a.hold.hcl"} }, "", []string{"a.hold.hcl"}},
		{"dot dot and git names", func(_ *repo, good string) []string {
			return []string{"100644 " + good + " ..", "100644 " + good + " .", "100644 " + good + " .GIT", "100644 " + good + " .git.",
				"100644 " + good + " ../../x", "100644 " + good + " git~1", "100644 " + good + " a\\b", "100644 " + good + " ok"}
		}, "ok=good", nil},
		{"path in a name", func(_ *repo, good string) []string {
			return []string{"100644 " + good + " ../a.hold.hcl"}
		}, "", []string{`"../a.hold.hcl" is not an acceptable file name`}},
		{"backslash", func(_ *repo, good string) []string { return []string{"100644 " + good + " x\\a.hold.hcl"} }, "", []string{"not an acceptable file name"}},
		{"escape sequence", func(_ *repo, good string) []string { return []string{"100644 " + good + " \x1b[2Ja.hold.hcl"} }, "", []string{`"\x1b[2Ja.hold.hcl" is not`}},
		{"direction override", func(_ *repo, good string) []string { return []string{"100644 " + good + " \u202ea.hold.hcl"} }, "", []string{`\u202e`}},
		{"not UTF-8", func(_ *repo, good string) []string { return []string{"100644 " + good + " \xff.hold.hcl"} }, "", []string{`\xff`}},
		{"same name twice", func(r *repo, good string) []string {
			return []string{"100644 " + good + " a.hold.hcl", "100644 " + r.blob("evil") + " a.hold.hcl"}
		}, "", []string{"same name"}},
		{"names that differ in case", func(r *repo, good string) []string {
			return []string{"100644 " + r.blob("evil") + " A.hold.hcl", "100644 " + good + " a.hold.hcl"}
		}, "", []string{`"A.hold.hcl" and "a.hold.hcl" are the same name`}},
		{"large file", func(r *repo, good string) []string {
			return []string{"100644 " + r.blob(strings.Repeat("x", 17<<20)) + " a.hold.hcl"}
		}, "", []string{"a.hold.hcl has 17825792 bytes", "limit of 16777216"}},
		{"largest file", func(r *repo, good string) []string {
			return []string{"100644 " + r.blob(strings.Repeat("x", 16<<20)) + " a.hold.hcl"}
		}, "a.hold.hcl=" + strings.Repeat("x", 16<<20), nil},
		{"large file elsewhere", func(r *repo, good string) []string {
			return []string{"40000 " + r.commitTree("100644 "+r.blob(strings.Repeat("x", 17<<20))+" big") + " d", "100644 " + good + " a.hold.hcl"}
		}, "a.hold.hcl=good d/", nil},
		{"missing file", func(*repo, string) []string { return []string{"100644 " + zero + " a.hold.hcl"} }, "", []string{"a.hold.hcl", "object is missing", zero}},
		{"tree in place of a file", func(r *repo, good string) []string {
			return []string{"100644 " + r.commitTree("100644 "+good+" x") + " a.hold.hcl"}
		}, "", []string{"a.hold.hcl", "is a tree, not a blob"}},
		{"blob in place of a folder, unused", func(_ *repo, good string) []string {
			return []string{"100644 " + good + " a.hold.hcl", "40000 " + good + " d"}
		}, "a.hold.hcl=good d/", nil},
		{"too many entries", func(_ *repo, good string) []string {
			return numbered("100644 "+good+" %05d.hold.hcl", 10_001)
		}, "", []string{"more than 10000 entries"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRepo(t)
			r.commitTree(tc.entries(r, r.blob("good"))...)
			if tc.words != nil {
				refused(t, source.Spec{Repo: r.dir}, tc.words...)
				return
			}
			if got := listing(t, open(t, source.Spec{Repo: r.dir}).FS); got != tc.listed {
				t.Errorf("listing %.200q, want %.200q", got, tc.listed)
			}
		})
	}
}

func numbered(format string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(format, i)
	}
	return all
}

func TestTotalLimit(t *testing.T) {
	r := newRepo(t)
	mebibyte := r.blob(strings.Repeat("x", 1<<20))
	r.commitTree(numbered("100644 "+mebibyte+" %05d.hold.hcl", 65)...)
	refused(t, source.Spec{Repo: r.dir}, "more than 67108864 bytes together")
}

func TestPathThroughLinks(t *testing.T) {
	r := newRepo(t)
	r.commit("c", "real/a.hold.hcl", "x")
	if err := os.Symlink("real", r.dir+"/link"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc", r.dir+"/out"); err != nil {
		t.Fatal(err)
	}
	r.git("update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("12", 20)+",module")
	r.git("add", "-A", "link", "out")
	r.git("commit", "-q", "-m", "links")
	refused(t, source.Spec{Repo: r.dir, Path: "link"}, "path link is a symbolic link")
	refused(t, source.Spec{Repo: r.dir, Path: "out/ssh"}, "path out is a symbolic link")
	refused(t, source.Spec{Repo: r.dir, Path: "module"}, "path module is a git submodule")
	refused(t, source.Spec{Dir: r.dir, Path: "link"}, "path link is a symbolic link")
	refused(t, source.Spec{Dir: r.dir, Path: "out"}, "path out is a symbolic link")
	for name, spec := range map[string]source.Spec{"git": {Repo: r.dir}, "dir": {Dir: r.dir}} {
		fsys := open(t, spec).FS
		for _, p := range []string{"link/a.hold.hcl", "out/hostname", "link", "module/x", "../x", "/etc/hostname"} {
			if f, err := fsys.Open(p); err == nil {
				f.Close()
				t.Errorf("%s: %s was opened", name, p)
			}
		}
	}
}

func TestDeepTree(t *testing.T) {
	r := newRepo(t)
	tree := r.commitTree("100644 " + r.blob("x") + " f")
	for range 60 {
		tree = r.commitTree("40000 " + tree + " d")
	}
	s := open(t, source.Spec{Repo: r.dir})
	if _, err := fs.ReadDir(s.FS, strings.TrimSuffix(strings.Repeat("d/", 32), "/")); err != nil {
		t.Errorf("32 folders: %v", err)
	}
	if _, err := fs.ReadDir(s.FS, strings.TrimSuffix(strings.Repeat("d/", 33), "/")); err == nil || !strings.Contains(err.Error(), "deeper than 32") {
		t.Errorf("33 folders: %v", err)
	}
	big := newRepo(t)
	big.commitTree("40000 "+big.commitTree("100644 "+big.blob(strings.Repeat("x", 17<<20))+" f")+" d", "100644 "+big.blob("y")+" a.hold.hcl")
	if _, err := fs.ReadFile(open(t, source.Spec{Repo: big.dir}).FS, "d/f"); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("a large file in a subfolder: %v", err)
	}
}

// TestDamage flips bytes all over the files that git wrote, and cuts them off.
// Whatever happens, nothing panics and no other content is handed out.
func TestDamage(t *testing.T) {
	for name, tc := range map[string]struct{ pack, program bool }{
		"loose": {}, "packed": {pack: true}, "loose, with the program": {false, true}, "packed, with the program": {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t)
			text := strings.Repeat("backup_plan \"nightly\" {}\n", 20)
			r.commit("one", "conf/a.hold.hcl", text, "conf/b.hold.hcl", text+"# more\n")
			r.commit("two", "conf/a.hold.hcl", text+"# later\n")
			if tc.pack {
				r.git("gc", "-q")
			}
			samples := 250
			if tc.program {
				samples = 7 // each starts git anew
			} else {
				t.Setenv("PATH", t.TempDir())
			}
			spec := source.Spec{Repo: r.dir, Path: "conf"}
			want := listing(t, open(t, spec).FS)
			var opened, refused int
			err := filepath.WalkDir(r.dir+"/.git/objects", func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				sound, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				if err := os.Chmod(path, 0o644); err != nil {
					return err
				}
				broken := bytes.Clone(sound)
				try := func(content []byte, what string) {
					if err := os.WriteFile(path, content, 0o644); err != nil {
						t.Fatal(err)
					}
					s, err := source.Open(context.Background(), spec)
					if err != nil {
						refused++
						return
					}
					opened++
					if got := listing(t, s.FS); got != want {
						t.Errorf("%s %s: other content was handed out: %.100q", path, what, got)
					}
					s.Close()
				}
				step := max(1, len(sound)/samples)
				for i := 0; i < len(sound); i += step {
					broken[i] ^= 0xff
					try(broken, fmt.Sprintf("byte %d", i))
					broken[i] = sound[i]
				}
				for i := 0; i < len(sound); i += 7 * step {
					try(sound[:i], fmt.Sprintf("cut to %d", i))
				}
				return os.WriteFile(path, sound, 0o644)
			})
			if err != nil {
				t.Fatal(err)
			}
			if refused == 0 {
				t.Error("no damage was noticed")
			}
			t.Logf("%d damages refused, %d did not matter", refused, opened)
		})
	}
}

func TestDamagedFiles(t *testing.T) {
	for name, content := range map[string]string{
		"HEAD": "garbage", "config": "[core\n x = \x00", "refs/heads/main": "nonsense\n", "packed-refs": "x\n",
	} {
		r := newRepo(t)
		r.commit("c", "a.hold.hcl", "x")
		if name == "packed-refs" {
			if err := os.Remove(r.dir + "/.git/refs/heads/main"); err != nil {
				t.Fatal(err)
			}
		}
		writeFile(t, r.dir+"/.git/"+name, content)
		err := refused(t, source.Spec{Repo: r.dir})
		if strings.Contains(err.Error(), "library cannot handle") {
			t.Errorf("%s: the library panicked: %v", name, err)
		}
	}
}
