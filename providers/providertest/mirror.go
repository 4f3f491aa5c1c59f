package providertest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
)

// MirrorSides are two fresh endpoints and the directories of this machine in
// which the suite finds their content. The target is empty or does not exist.
type MirrorSides struct {
	Source, Target       string // endpoint URLs
	SourceDir, TargetDir string
}

// Mirror checks an implementation against the contract of providers.Mirror.
// Each call of sides gives endpoints nobody used before.
func Mirror(t *testing.T, open func(t *testing.T) providers.Mirror, sides func(t *testing.T) MirrorSides) {
	run := func(name string, f func(t *testing.T, m *mirrorCase)) {
		t.Run(name, func(t *testing.T) {
			s := sides(t)
			m := &mirrorCase{t: t, Mirror: open(t), MirrorSides: s, req: providers.MirrorRequest{
				Mirror: "mirror.contract", Source: s.Source, Target: s.Target, MaxDeletePercent: 50,
			}}
			t.Cleanup(func() {
				if err := m.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			f(t, m)
		})
	}
	run("first and unchanged pass", mirrorFirst)
	run("changes", mirrorChanges)
	run("types that change", mirrorTypes)
	run("deletes", mirrorDeletes)
	run("empty and missing source", mirrorSource)
	run("excluded paths", mirrorExclude)
	run("planted links", mirrorPlanted)
	run("killed pass", mirrorKilled)
	run("identity", mirrorIdentity)
	run("direction", mirrorDirection)
}

type mirrorCase struct {
	t *testing.T
	providers.Mirror
	MirrorSides
	req providers.MirrorRequest
}

// put writes files and their parents into a tree, all with an old time, so that every change shows.
func (m *mirrorCase) put(root string, files map[string]string) {
	m.t.Helper()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(root, name)
		must(m.t, os.MkdirAll(filepath.Dir(path), 0o750))
		must(m.t, os.WriteFile(path, []byte(files[name]), 0o640))
		old := time.Date(2024, 5, 6, 7, 8, 9, 123456789, time.UTC)
		must(m.t, os.Chtimes(path, old, old))
	}
}

func (m *mirrorCase) copy() providers.MirrorResult {
	m.t.Helper()
	res, err := m.Copy(m.t.Context(), m.req, nil)
	must(m.t, err)
	return res
}

func (m *mirrorCase) compare() providers.MirrorDiff {
	m.t.Helper()
	before := m.tree(m.TargetDir)
	diff, err := m.Compare(m.t.Context(), m.req)
	must(m.t, err)
	sameTree(m.t, "the target after a comparison", m.tree(m.TargetDir), before)
	return diff
}

// refused wants an error from every operation, and an untouched target.
func (m *mirrorCase) refused(want error) {
	m.t.Helper()
	before := m.tree(m.TargetDir)
	if _, err := m.Compare(m.t.Context(), m.req); !errors.Is(err, want) {
		m.t.Errorf("compare: %v, want %v", err, want)
	}
	if _, err := m.Copy(m.t.Context(), m.req, nil); !errors.Is(err, want) {
		m.t.Errorf("copy: %v, want %v", err, want)
	}
	if _, err := m.Prune(m.t.Context(), m.req); err == nil {
		m.t.Error("prune was not refused")
	}
	sameTree(m.t, "the target after a refused pass", m.tree(m.TargetDir), before)
}

// tree describes every entry below a root but the implementation's own at the top.
func (m *mirrorCase) tree(root string) map[string]string {
	m.t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if path == root && errors.Is(err, fs.ErrNotExist) {
			return fs.SkipAll
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil || name == "." || strings.HasPrefix(name, ".holdfast-mirror") {
			return err
		}
		i, err := e.Info()
		if err != nil {
			return err
		}
		text := i.Mode().String()
		switch {
		case i.Mode().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += fmt.Sprintf(" %s %q", i.ModTime().UTC(), b)
		case i.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += " " + to
		case i.IsDir():
			text += " " + i.ModTime().UTC().String()
		}
		all[name] = text
		return nil
	})
	must(m.t, err)
	return all
}

func (m *mirrorCase) same() {
	m.t.Helper()
	sameTree(m.t, "the target", m.tree(m.TargetDir), m.tree(m.SourceDir))
}

func sameTree(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for name := range maps.Keys(want) {
		if got[name] != want[name] {
			t.Errorf("%s has %s as %q, want %q", what, name, got[name], want[name])
		}
	}
	for name := range maps.Keys(got) {
		if _, ok := want[name]; !ok {
			t.Errorf("%s has %s: %q", what, name, got[name])
		}
	}
}

func mirrorFirst(t *testing.T, m *mirrorCase) {
	m.put(m.SourceDir, map[string]string{"a": "alpha", "dir/b": "beta", "dir/sub/c": "", "z \n\xff": "odd name"})
	must(t, os.Symlink("../nowhere", filepath.Join(m.SourceDir, "dir", "link")))
	must(t, os.Mkdir(filepath.Join(m.SourceDir, "empty"), 0o710))
	must(t, os.Chmod(filepath.Join(m.SourceDir, "a"), 0o400))

	diff := m.compare()
	want := []string{"a", "dir/b", "dir/link", "dir/sub/c", "z \n\xff"}
	if !diff.First || diff.SourceFiles != 5 || diff.CopyFiles != 5 || diff.CopyBytes != 17 || diff.SourceBytes != 17 || diff.DeleteFiles != 0 || !slices.Equal(diff.CopySample, want) {
		t.Errorf("first comparison: %+v", diff)
	}
	var files, bytes atomic.Int64
	res, err := m.Copy(t.Context(), m.req, func(f, b int64) { files.Add(f); bytes.Add(b) })
	must(t, err)
	if res.Files != 5 || res.CopiedFiles != 5 || res.CopiedBytes != 17 || files.Load() != 5 || bytes.Load() != 17 {
		t.Errorf("first pass: %+v, progress %d files, %d bytes", res, files.Load(), bytes.Load())
	}
	m.same()

	if diff := m.compare(); diff.First || diff.CopyFiles != 0 || diff.DeleteFiles != 0 || diff.TargetFiles != 5 || len(diff.CopySample) != 0 {
		t.Errorf("comparison after the pass: %+v", diff)
	}
	if res := m.copy(); res.Files != 5 || res.CopiedFiles != 0 || res.CopiedBytes != 0 {
		t.Errorf("second pass: %+v", res)
	}
	if res, err := m.Prune(t.Context(), m.req); err != nil || res.DeletedFiles != 0 {
		t.Errorf("prune: %+v, %v", res, err)
	}
	m.same()
}

func mirrorChanges(t *testing.T, m *mirrorCase) {
	m.put(m.SourceDir, map[string]string{"a": "one", "b": "one", "dir/c": "one", "d": "one"})
	must(t, os.Symlink("a", filepath.Join(m.SourceDir, "link")))
	m.copy()

	must(t, os.WriteFile(filepath.Join(m.SourceDir, "a"), []byte("two"), 0o600)) // same size, other time
	m.put(m.SourceDir, map[string]string{"b": "three", "dir/new/e": "new"})
	must(t, os.Chmod(filepath.Join(m.SourceDir, "d"), 0o444)) // no data to copy
	must(t, os.Chmod(filepath.Join(m.SourceDir, "dir"), 0o700))
	must(t, os.Remove(filepath.Join(m.SourceDir, "link")))
	must(t, os.Symlink("b", filepath.Join(m.SourceDir, "link")))

	if diff := m.compare(); diff.CopyFiles != 4 || diff.CopyBytes != 11 || !slices.Equal(diff.CopySample, []string{"a", "b", "dir/new/e", "link"}) {
		t.Errorf("comparison: %+v", diff)
	}
	if res := m.copy(); res.CopiedFiles != 4 || res.CopiedBytes != 11 || res.Files != 6 {
		t.Errorf("pass: %+v", res)
	}
	m.same()
}

func mirrorTypes(t *testing.T, m *mirrorCase) {
	m.put(m.SourceDir, map[string]string{"file-to-dir": "f", "dir-to-file/x": "x", "dir-to-file/y/z": "z", "file-to-link": "f", "dir-to-link/x": "x", "keep1": "", "keep2": "", "keep3": "", "keep4": "", "keep5": ""})
	must(t, os.Symlink("keep1", filepath.Join(m.SourceDir, "link-to-file")))
	must(t, os.Symlink("/nowhere", filepath.Join(m.SourceDir, "link-to-dir")))
	m.copy()
	for _, name := range []string{"file-to-dir", "dir-to-file", "file-to-link", "dir-to-link", "link-to-file", "link-to-dir"} {
		must(t, os.RemoveAll(filepath.Join(m.SourceDir, name)))
	}
	m.put(m.SourceDir, map[string]string{"file-to-dir/x": "x", "dir-to-file": "f", "link-to-file": "f", "link-to-dir/x": "x"})
	must(t, os.Symlink("keep1", filepath.Join(m.SourceDir, "file-to-link")))
	must(t, os.Symlink("keep1", filepath.Join(m.SourceDir, "dir-to-link")))
	if diff := m.compare(); diff.CopyFiles != 6 {
		t.Errorf("comparison: %+v", diff)
	}
	m.copy()
	if res, err := m.Prune(t.Context(), m.req); err != nil {
		t.Errorf("prune: %+v, %v", res, err)
	}
	m.same()
}

func mirrorDeletes(t *testing.T, m *mirrorCase) {
	m.put(m.SourceDir, map[string]string{"a": "", "b": "", "c/d": "", "c/e/f": "", "g": ""})
	must(t, os.Symlink(m.SourceDir, filepath.Join(m.SourceDir, "c", "link")))
	m.copy()
	full := m.tree(m.TargetDir)
	must(t, os.RemoveAll(filepath.Join(m.SourceDir, "c")))

	if diff := m.compare(); diff.DeleteFiles != 3 || diff.TargetFiles != 6 || !slices.Equal(diff.DeleteSample, []string{"c/d", "c/e/f", "c/link"}) {
		t.Errorf("comparison: %+v", diff)
	}
	if res := m.copy(); res.DeletedFiles != 0 || res.Clean {
		t.Errorf("a copy deleted, or saw nothing to delete: %+v", res)
	}
	sameTree(t, "the target after a copy", m.tree(m.TargetDir), full)

	m.req.MaxDeletePercent = 0
	if res, err := m.Prune(t.Context(), m.req); err != nil || res.DeletedFiles != 0 {
		t.Errorf("prune with 0 %%: %+v, %v", res, err)
	}
	m.req.MaxDeletePercent = 49
	if res, err := m.Prune(t.Context(), m.req); !errors.Is(err, providers.ErrTooManyDeletes) || res.DeletedFiles != 0 {
		t.Errorf("prune with 49 %%: %+v, %v", res, err)
	} else if !strings.Contains(err.Error(), "6 files") || !strings.Contains(err.Error(), "max_percent") {
		t.Errorf("the error tells neither the numbers nor what to do: %v", err)
	}
	sameTree(t, "the target after refused prunes", m.tree(m.TargetDir), full)

	m.req.MaxDeletePercent = 50
	if res, err := m.Prune(t.Context(), m.req); err != nil || res.DeletedFiles != 3 {
		t.Errorf("prune with 50 %%: %+v, %v", res, err)
	}
	if res := m.copy(); !res.Clean {
		t.Errorf("a copy after everything was deleted: %+v", res)
	}
	m.same()
	must(t, os.Mkdir(filepath.Join(m.TargetDir, "empty"), 0o750))
	if res := m.copy(); res.Clean {
		t.Errorf("a copy beside a directory that the source does not have: %+v", res)
	}
}

func mirrorSource(t *testing.T, m *mirrorCase) {
	m.put(m.SourceDir, map[string]string{"a": "", "dir/b": ""})
	m.copy()
	full := m.tree(m.TargetDir)
	m.req.MaxDeletePercent = 100
	must(t, os.Remove(filepath.Join(m.SourceDir, "a")))
	must(t, os.RemoveAll(filepath.Join(m.SourceDir, "dir")))
	if _, err := m.Copy(t.Context(), m.req, nil); !errors.Is(err, providers.ErrEmptySource) {
		t.Errorf("copy of an empty source: %v", err)
	}
	if res, err := m.Prune(t.Context(), m.req); !errors.Is(err, providers.ErrEmptySource) || res.DeletedFiles != 0 {
		t.Errorf("prune with an empty source: %+v, %v", res, err)
	}
	must(t, os.RemoveAll(m.SourceDir))
	for what, call := range map[string]func() error{
		"compare": func() error { _, err := m.Compare(t.Context(), m.req); return err },
		"copy":    func() error { _, err := m.Copy(t.Context(), m.req, nil); return err },
		"prune":   func() error { _, err := m.Prune(t.Context(), m.req); return err },
	} {
		if err := call(); err == nil {
			t.Errorf("%s with a missing source: no error", what)
		}
	}
	must(t, os.Mkdir(m.SourceDir, 0o750))
	if _, err := m.Copy(t.Context(), m.req, nil); err == nil {
		t.Error("a bare mount point in place of the source passed as the source")
	}
	got := m.tree(m.TargetDir)
	for name := range full {
		if _, ok := got[name]; !ok {
			t.Errorf("%s is gone", name)
		}
	}
}

func mirrorExclude(t *testing.T, m *mirrorCase) {
	m.req.Exclude = []string{"cache", "**/*.tmp", "dir/only/"}
	m.put(m.SourceDir, map[string]string{"a": "a", "cache/x": "x", "dir/b.tmp": "b", "dir/c": "c", "dir/only/d": "d"})
	if diff := m.compare(); diff.SourceFiles != 2 || diff.CopyFiles != 2 {
		t.Errorf("comparison: %+v", diff)
	}
	m.copy()
	m.put(m.TargetDir, map[string]string{"cache/mine": "1", "dir/mine.tmp": "2", "gone/mine.tmp": "3", "gone/other": "4", "dir/only/mine": "5"})
	if diff := m.compare(); diff.DeleteFiles != 1 || diff.TargetFiles != 3 {
		t.Errorf("comparison: %+v", diff)
	}
	m.copy()
	if res, err := m.Prune(t.Context(), m.req); err != nil || res.DeletedFiles != 1 {
		t.Errorf("prune: %+v, %v", res, err)
	}
	var files []string
	for name, text := range m.tree(m.TargetDir) {
		if !strings.HasPrefix(text, "d") {
			files = append(files, name)
		}
	}
	slices.Sort(files)
	want := []string{"a", "cache/mine", "dir/c", "dir/mine.tmp", "dir/only/mine", "gone/mine.tmp"}
	if !slices.Equal(files, want) {
		t.Errorf("the target has %q, want %q", files, want)
	}
}

func mirrorPlanted(t *testing.T, m *mirrorCase) {
	m.put(m.SourceDir, map[string]string{"a": "a", "dir/b": "b", "old/c": "c", "keep1": "", "keep2": "", "keep3": "", "keep4": ""})
	m.copy()
	outside := t.TempDir()
	m.put(outside, map[string]string{"file": "precious", "dir/b": "precious", "dir/c": "precious"})
	before := m.tree(outside)
	must(t, os.Remove(filepath.Join(m.TargetDir, "a")))
	must(t, os.Symlink(filepath.Join(outside, "file"), filepath.Join(m.TargetDir, "a")))
	for _, name := range []string{"dir", "old"} {
		must(t, os.RemoveAll(filepath.Join(m.TargetDir, name)))
		must(t, os.Symlink(filepath.Join(outside, "dir"), filepath.Join(m.TargetDir, name)))
	}
	must(t, os.RemoveAll(filepath.Join(m.SourceDir, "old")))

	m.copy()
	if _, err := m.Prune(t.Context(), m.req); err != nil {
		t.Errorf("prune: %v", err)
	}
	sameTree(t, "the directory outside", m.tree(outside), before)
	m.same()
}

func mirrorKilled(t *testing.T, m *mirrorCase) {
	files := map[string]string{}
	for i := range 200 {
		files[fmt.Sprintf("dir%d/file%d", i%7, i)] = strings.Repeat("x", i*100)
	}
	m.put(m.SourceDir, files)
	ctx, kill := context.WithCancel(t.Context())
	var done atomic.Int64
	_, err := m.Copy(ctx, m.req, func(files, _ int64) {
		if done.Add(files) >= 50 {
			kill()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled copy: %v", err)
	}
	if res := m.copy(); res.Files != 200 || res.CopiedFiles > 150 || res.CopiedFiles == 0 {
		t.Errorf("the next pass: %+v, after %d files", res, done.Load())
	}
	m.same()
}

func mirrorIdentity(t *testing.T, m *mirrorCase) {
	m.put(m.SourceDir, map[string]string{"a": "a"})
	m.put(m.TargetDir, map[string]string{"foreign": "f"})
	m.refused(providers.ErrNotEmpty)
	must(t, os.Remove(filepath.Join(m.TargetDir, "foreign")))
	m.copy()

	mine := m.req
	m.req.Mirror = "mirror.other"
	m.refused(providers.ErrIdentity)
	m.req = mine

	// The target is not mounted: an empty directory is where it was.
	away := m.TargetDir + ".away"
	must(t, os.Rename(m.TargetDir, away))
	must(t, os.Mkdir(m.TargetDir, 0o750))
	m.refused(providers.ErrIdentity)
	must(t, os.Remove(m.TargetDir))
	must(t, os.Rename(away, m.TargetDir))
	m.copy()
}

func mirrorDirection(t *testing.T, m *mirrorCase) {
	m.put(m.SourceDir, map[string]string{"a": "a", "b": "b"})
	m.req.Epoch = 3
	m.copy()
	forward := m.req

	// The roles changed, the failover's epoch did not: a mistake.
	m.req.Source, m.req.Target = m.req.Target, m.req.Source
	m.SourceDir, m.TargetDir = m.TargetDir, m.SourceDir
	m.refused(providers.ErrIdentity)

	m.req.Epoch = 4
	m.put(m.SourceDir, map[string]string{"a": "written after the switchover"})
	if diff := m.compare(); diff.First && diff.TargetFiles == 0 || diff.CopyFiles != 1 {
		t.Errorf("comparison in the other direction: %+v", diff)
	}
	if res := m.copy(); res.CopiedFiles != 1 {
		t.Errorf("pass in the other direction: %+v", res)
	}
	m.same()

	// The old direction, by somebody who missed the switchover.
	m.req = forward
	m.SourceDir, m.TargetDir = m.TargetDir, m.SourceDir
	m.refused(providers.ErrStaleEpoch)
}
