package plain_test

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain"
)

// medium is what a loss of power leaves of a directory tree. A file has the content of its last sync. Names that were given, taken
// or moved since the last sync of their directory are pending: each of them may have reached the medium or not, in any
// order, and a rename as a whole. A sync of one directory makes durable what was done to that one alone: then also half
// a rename. Real file systems keep more order than that.
type medium struct {
	path    string
	root    uint64
	files   map[uint64][]byte
	dirs    map[uint64]map[string]node // what is durable
	seen    map[uint64]map[string]node // what there was at the last look
	pending []change
}

type node struct {
	ino uint64
	dir bool
}

type entry struct {
	dir  uint64
	name string
	node
}

// change is one operation on names: what it took away and what it added.
type change struct{ gone, new []entry }

func inode(info fs.FileInfo) uint64 { return info.Sys().(*syscall.Stat_t).Ino }

func newMedium(t testing.TB, path string) *medium {
	t.Helper()
	m := &medium{path: path, files: map[uint64][]byte{}, dirs: map[uint64]map[string]node{}}
	info, err := os.Stat(path)
	check(t, err)
	m.root, m.seen = inode(info), m.tree(t)
	for dir, names := range m.seen {
		m.dirs[dir] = maps.Clone(names)
	}
	check(t, filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			m.files[inode(info)], err = os.ReadFile(p)
		}
		return err
	}))
	return m
}

// tree lists all directories as they are now.
func (m *medium) tree(t testing.TB) map[uint64]map[string]node {
	t.Helper()
	now := map[uint64]map[string]node{}
	check(t, filepath.WalkDir(m.path, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		entries, err := os.ReadDir(p)
		if err != nil {
			return err
		}
		names := map[string]node{}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil {
				return err
			}
			names[e.Name()] = node{inode(info), e.IsDir()}
		}
		now[inode(info)] = names
		return nil
	}))
	return now
}

// look finds what was done to names since the last look. A file that lost one name and got one was renamed; what had the new name
// before is gone with it.
func (m *medium) look(t testing.TB) {
	t.Helper()
	now := m.tree(t)
	gone, added := less(m.seen, now), less(now, m.seen)
	m.seen = now
	take := func(from *[]entry, which func(entry) bool) (taken []entry) {
		*from = slices.DeleteFunc(*from, func(e entry) bool {
			if which(e) {
				taken = append(taken, e)
				return true
			}
			return false
		})
		return taken
	}
	for _, a := range added {
		c := change{new: []entry{a}}
		c.gone = append(take(&gone, func(e entry) bool { return e.ino == a.ino }), take(&gone, func(e entry) bool { return e.dir == a.dir && e.name == a.name })...)
		m.pending = append(m.pending, c)
	}
	for _, g := range gone {
		m.pending = append(m.pending, change{gone: []entry{g}})
	}
}

// less lists what is in a and not in b, in a fixed order.
func less(a, b map[uint64]map[string]node) []entry {
	var found []entry
	for dir, names := range a {
		for name, n := range names {
			if other, ok := b[dir][name]; !ok || other != n {
				found = append(found, entry{dir, name, n})
			}
		}
	}
	slices.SortFunc(found, func(x, y entry) int { return cmp.Or(cmp.Compare(x.dir, y.dir), cmp.Compare(x.name, y.name)) })
	return found
}

// synced makes durable what a sync of a file or a directory does.
func (m *medium) synced(t testing.TB, f *os.File) {
	t.Helper()
	info, err := f.Stat()
	check(t, err)
	if !info.IsDir() {
		m.files[inode(info)], err = os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
		check(t, err)
		return
	}
	var open []change
	for _, c := range m.pending {
		here := func(e entry) bool { return e.dir == inode(info) }
		done, rest := c.split(here)
		done.apply(m.dirs)
		if len(rest.gone)+len(rest.new) > 0 {
			open = append(open, rest)
		}
	}
	m.pending = open
}

// split parts what a change did to some names from what it did to others.
func (c change) split(which func(entry) bool) (in, out change) {
	part := func(all []entry) (in, out []entry) {
		for _, e := range all {
			if which(e) {
				in = append(in, e)
			} else {
				out = append(out, e)
			}
		}
		return in, out
	}
	in.gone, out.gone = part(c.gone)
	in.new, out.new = part(c.new)
	return in, out
}

func (c change) apply(dirs map[uint64]map[string]node) {
	for _, e := range c.gone {
		if dirs[e.dir][e.name] == e.node {
			delete(dirs[e.dir], e.name)
		}
	}
	for _, e := range c.new {
		if dirs[e.dir] == nil {
			dirs[e.dir] = map[string]node{}
		}
		dirs[e.dir][e.name] = e.node
	}
}

// image is one thing a loss of power may leave, by path. Two names with one number are one file.
type image map[string]kept

type kept struct {
	node
	data []byte
}

// images are what a loss of power now may leave: nothing that is pending, all of it, each change alone, all but each.
func (m *medium) images() []image {
	subsets := [][]change{nil, m.pending}
	for i := range m.pending {
		subsets = append(subsets, m.pending[i:i+1], slices.Delete(slices.Clone(m.pending), i, i+1))
	}
	var all []image
	for _, subset := range subsets {
		dirs := map[uint64]map[string]node{}
		for dir, names := range m.dirs {
			dirs[dir] = maps.Clone(names)
		}
		for _, c := range subset {
			c.apply(dirs)
		}
		left := image{}
		m.gather(left, dirs, m.root, "")
		all = append(all, left)
	}
	return all
}

func (m *medium) gather(into image, dirs map[uint64]map[string]node, dir uint64, at string) {
	for name, n := range dirs[dir] {
		p := filepath.Join(at, name)
		into[p] = kept{n, m.files[n.ino]}
		if n.dir {
			m.gather(into, dirs, n.ino, p)
		}
	}
}

func (i image) key() string {
	h := sha256.New()
	for _, p := range slices.Sorted(maps.Keys(i)) {
		fmt.Fprintf(h, "%s\x00%d\x00%v\x00%d\x00%s", p, i[p].ino, i[p].dir, len(i[p].data), i[p].data)
	}
	return string(h.Sum(nil))
}

func (i image) write(t testing.TB, to string) {
	t.Helper()
	check(t, os.MkdirAll(to, 0o700))
	first := map[uint64]string{}
	for _, p := range slices.Sorted(maps.Keys(i)) { // a directory before what is in it
		at, f := filepath.Join(to, p), i[p]
		switch {
		case f.dir:
			check(t, os.Mkdir(at, 0o700))
		case first[f.ino] != "":
			check(t, os.Link(first[f.ino], at))
		default:
			first[f.ino] = at
			check(t, os.WriteFile(at, f.data, 0o600))
		}
	}
}

// place names the call that asked for a sync, by the lines from package disk up to the store.
func place() string {
	var pcs [24]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	var lines []string
	for {
		f, more := frames.Next()
		in := strings.Contains(f.File, "/providers/plain/") && !strings.HasSuffix(f.File, "_test.go")
		if in {
			lines = append(lines, fmt.Sprintf("%s %s:%d+%x", f.Function[strings.LastIndex(f.Function, ".")+1:], filepath.Base(f.File), f.Line, f.PC-f.Entry)) // two calls may share a line
		}
		if !more || in && !strings.Contains(f.File, "/disk/") {
			return strings.Join(lines, " < ")
		}
	}
}

// story is something a store does while the power may fail.
type story struct {
	at    scene
	act   func(watched func(providers.Store) providers.Store)
	check func(t testing.TB, left scene, done bool) // of what a loss of power left; done says that act had returned
}

// told is what came of a story.
type told struct {
	places map[string]int // where a sync was asked for
	images int            // different things that a loss of power may have left
	broken string         // what was wrong with one of them
}

// tell lets a story happen, with the power failing before each change and before and after each sync. The syncs of one place, if it is
// named, do nothing. It ends at the first thing that is wrong.
func (s story) tell(t testing.TB, weak string) told {
	t.Helper()
	m := newMedium(t, s.at.path)
	out := told{places: map[string]int{}}
	type left struct {
		image
		when string
		done bool
	}
	var all []left
	seen := map[string]bool{}
	note := func(when string, done bool) {
		for _, i := range m.images() {
			if key := fmt.Sprint(done, i.key()); !seen[key] {
				seen[key] = true
				all = append(all, left{i, when, done})
			}
		}
	}
	stop := plain.WatchSync(func(f *os.File) {
		where := place()
		out.places[where]++
		m.look(t)
		note("before "+where, false)
		if where != weak {
			m.synced(t, f)
		}
		note("after "+where, false)
	})
	s.act(func(s providers.Store) providers.Store {
		plain.SetFail(s, func(point string) error {
			m.look(t)
			note("before "+point, false)
			return nil
		})
		return s
	})
	stop()
	m.look(t)
	note("at the end", true)
	out.images = len(all)
	base := filepath.Join(filepath.Dir(s.at.path), "left")
	for _, l := range all {
		at := s.at
		at.path = base
		v := &verdict{TB: t}
		v.run(func() {
			l.write(v, base)
			s.check(v, at, l.done)
		})
		check(t, os.RemoveAll(base))
		if len(v.problems) > 0 {
			out.broken = fmt.Sprintf("power lost %s: %s", l.when, strings.Join(v.problems, "; "))
			return out
		}
	}
	return out
}

// verdict collects what a check finds instead of failing the test.
type verdict struct {
	testing.TB
	problems []string
	cleanup  []func()
}

func (v *verdict) run(do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for _, f := range slices.Backward(v.cleanup) {
				f()
			}
		}()
		do()
	}()
	<-done
}

func (v *verdict) Helper()          {}
func (v *verdict) Cleanup(f func()) { v.cleanup = append(v.cleanup, f) }
func (v *verdict) Failed() bool     { return len(v.problems) > 0 }
func (v *verdict) Fail()            { v.problems = append(v.problems, "failed") }
func (v *verdict) FailNow()         { v.Fail(); runtime.Goexit() }
func (v *verdict) Error(args ...any) {
	v.problems = append(v.problems, strings.TrimSpace(fmt.Sprintln(args...)))
}
func (v *verdict) Errorf(format string, args ...any) {
	v.problems = append(v.problems, fmt.Sprintf(format, args...))
}
func (v *verdict) Fatal(args ...any) { v.Error(args...); runtime.Goexit() }
func (v *verdict) Fatalf(format string, args ...any) {
	v.Errorf(format, args...)
	runtime.Goexit()
}
