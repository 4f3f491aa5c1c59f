package plain_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

// mount mounts a memory file system and gives its directory.
func mount(t *testing.T, options string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), `mo unt\point`)
	check(t, os.Mkdir(path, 0o700))
	mountAt(t, path, options)
	return path
}

func mountAt(t *testing.T, path, options string) {
	t.Helper()
	err := unix.Mount("tmpfs", path, "tmpfs", 0, options)
	if errors.Is(err, unix.EPERM) && os.Getenv("CI") == "" {
		t.Skip("mounting needs root")
	}
	check(t, err)
	t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
}

func unmount(t *testing.T, path string) {
	t.Helper()
	check(t, unix.Unmount(path, unix.MNT_DETACH))
}

func export(id int) providers.ArtifactRef {
	ref := providertest.NewRef("d", "a", providers.ExportDomain)
	ref.Started = ref.Started.Add(time.Duration(id) * time.Hour)
	return ref
}

// stageBytes stages one file of n bytes.
func stageBytes(ctx context.Context, s providers.Store, ref providers.ArtifactRef, n int64) (providers.Manifest, error) {
	stage, err := s.Stage(ctx, ref)
	if err != nil {
		return providers.Manifest{}, err
	}
	w, err := stage.Create("export.tar")
	if err != nil {
		return providers.Manifest{}, err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{w}, io.LimitReader(zeros{}, n), make([]byte, 32<<10))
	if closed := w.Close(); err == nil {
		err = closed
	}
	return providers.Manifest{Schema: 1, ArtifactRef: ref, Files: stage.Files()}, err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestDiskFull(t *testing.T) {
	s := newStore(t, &plain.Settings{Path: mount(t, "size=4m")})
	old := export(0)
	providertest.Put(t, s, old, providertest.Content{Name: "export.zip", Data: []byte("old")})
	before, err := s.Stat(t.Context())
	check(t, err)

	ref := export(1)
	_, err = stageBytes(t.Context(), s, ref, 8<<20)
	if !errors.Is(err, providers.ErrNoSpace) || !strings.Contains(err.Error(), string(ref.ID)) {
		t.Errorf("writing 8 MiB into 4: %v", err)
	}
	providertest.CheckArtifact(t, s, old, providertest.Content{Name: "export.zip", Data: []byte("old")})
	check(t, s.Discard(t.Context(), ref.ID))
	after, err := s.Stat(t.Context())
	check(t, err)
	if after.FreeBytes != before.FreeBytes || after.FreeInodes != before.FreeInodes {
		t.Errorf("free before %d bytes, %d inodes; after %d, %d", before.FreeBytes, before.FreeInodes, after.FreeBytes, after.FreeInodes)
	}
	if _, err := s.Get(t.Context(), ref); !errors.Is(err, providers.ErrNotFound) {
		t.Errorf("the broken off artifact: %v", err)
	}
}

// At each number of pages or inodes left, an artifact is committed whole or
// refused as ErrNoSpace; then room is made, and the same call or a new attempt succeeds.
func TestFullAtEachStep(t *testing.T) {
	for _, c := range []struct {
		name, options string
		fill          func(t *testing.T, path string, left int)
	}{
		{"blocks", "size=1m", fillBlocks},
		{"inodes", "size=1m,nr_inodes=60", fillInodes},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused := 0
			for left := range 24 {
				path := mount(t, c.options)
				s := newStore(t, &plain.Settings{Path: path})
				c.fill(t, path, left)
				ref := export(left)
				m, err := stageBytes(t.Context(), s, ref, 5000)
				staged := err == nil
				if staged {
					_, err = s.Commit(t.Context(), m)
				}
				if err != nil && !errors.Is(err, providers.ErrNoSpace) {
					t.Fatalf("%d left: %v", left, err)
				}
				if err != nil {
					refused++
				}
				for _, err := range s.List(t.Context()) {
					check(t, err)
				}
				check(t, os.RemoveAll(filepath.Join(path, "filler")))
				if !staged {
					check(t, s.Discard(t.Context(), ref.ID))
					m, err = stageBytes(t.Context(), s, ref, 5000)
					check(t, err)
				}
				_, err = s.Commit(t.Context(), m)
				check(t, err)
				if ids := providertest.ListIDs(t, s); !slices.Equal(ids, []providers.ArtifactID{ref.ID}) {
					t.Errorf("%d left: listed %v", left, ids)
				}
				check(t, s.Close())
				unmount(t, path)
			}
			if refused < 3 || refused == 24 {
				t.Errorf("%d of 24 attempts were refused: not tested", refused)
			}
		})
	}
}

func fillBlocks(t *testing.T, path string, left int) {
	check(t, os.Mkdir(filepath.Join(path, "filler"), 0o700))
	var st unix.Statfs_t
	check(t, unix.Statfs(path, &st))
	check(t, os.WriteFile(filepath.Join(path, "filler/blocks"), make([]byte, (int64(st.Bavail)-int64(left))*int64(st.Bsize)), 0o600))
}

func fillInodes(t *testing.T, path string, left int) {
	check(t, os.Mkdir(filepath.Join(path, "filler"), 0o700))
	var st unix.Statfs_t
	check(t, unix.Statfs(path, &st))
	for i := range int(st.Ffree) - left {
		check(t, os.WriteFile(filepath.Join(path, "filler", fmt.Sprint(i)), nil, 0o600))
	}
}

func TestFreeSpaceLimits(t *testing.T) {
	path := mount(t, "size=200m")
	free := &plain.FreeSpace{}
	newStore(t, &plain.Settings{Path: path, FreeSpace: free})
	for name, c := range map[string]struct {
		limit plain.FreeSpace
		size  int64
		ok    bool
	}{
		"no limit":           {plain.FreeSpace{}, 1 << 20, true},
		"enough":             {plain.FreeSpace{MinBytes: 10 << 20, MinPercent: 10}, 1 << 20, true},
		"too little at once": {plain.FreeSpace{MinBytes: 201 << 20}, 1, false},
		"too little percent": {plain.FreeSpace{MinPercent: 99}, 70 << 20, false},
		"too little later":   {plain.FreeSpace{MinBytes: 150 << 20}, 130 << 20, false},
		"enough inodes":      {plain.FreeSpace{MinInodes: 1}, 1, true},
		"too few inodes":     {plain.FreeSpace{MinInodes: 1 << 30}, 1, false},
	} {
		*free = c.limit
		s := openStore(t, &plain.Settings{Path: path, FreeSpace: free}, identity)
		ref := export(0)
		_, err := stageBytes(t.Context(), s, ref, c.size)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, providers.ErrNoSpace) {
			t.Errorf("%s: %v", name, err)
		}
		check(t, s.Discard(t.Context(), ref.ID))
	}
	if got := (&plain.FreeSpace{MinPercent: 10, MinBytes: unit.Size(5)}).Bytes(1 << 62); got != (1<<62)/10 {
		t.Errorf("10 %% of 2^62 is %d", got)
	}
}

// A store that is unmounted at any time never lets a byte reach the directory below it.
func TestUnmounted(t *testing.T) {
	for _, when := range []string{"before open", "before stage", "while writing", "before commit", "before delete"} {
		for _, required := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, required %v", when, required), func(t *testing.T) {
				path := mount(t, "size=4m")
				set := &plain.Settings{Path: path, Mount: &plain.Mount{Required: required}}
				s := newStore(t, set)
				if _, err := s.Stat(t.Context()); err != nil {
					t.Fatal(err)
				}
				old := export(0)
				kept := providertest.Put(t, s, old, providertest.Content{Name: "export.zip", Data: []byte("old")})
				ref := export(1)
				var err error
				switch when {
				case "before open":
					unmount(t, path)
					s = openStore(t, set, identity)
					_, err = s.Get(t.Context(), old)
				case "before stage":
					unmount(t, path)
					_, err = s.Stage(t.Context(), ref)
				case "while writing":
					stage, stageErr := s.Stage(t.Context(), ref)
					check(t, stageErr)
					w, createErr := stage.Create("export.zip")
					check(t, createErr)
					unmount(t, path)
					_, writeErr := w.Write(make([]byte, 1<<20))
					check(t, writeErr)
					check(t, w.Close())
					_, err = s.Commit(t.Context(), providers.Manifest{Schema: 1, ArtifactRef: ref, Files: stage.Files()})
				case "before commit":
					m, stageErr := stageBytes(t.Context(), s, ref, 1000)
					check(t, stageErr)
					unmount(t, path)
					_, err = s.Commit(t.Context(), m)
				case "before delete":
					unmount(t, path)
					err = s.Delete(t.Context(), kept.ArtifactRef)
				}
				if !errors.Is(err, providers.ErrIdentity) || !strings.Contains(err.Error(), "mounted") {
					t.Errorf("got %v", err)
				}
				if left, err := os.ReadDir(path); err != nil || len(left) != 0 {
					t.Errorf("below the mount point: %v, %v", left, err)
				}
				info, err := s.Stat(t.Context())
				check(t, err)
				if info.Initialised || info.Mounted || !info.Empty {
					t.Errorf("stat of the bare mount point: %+v", info)
				}
				if (info.Unmounted != "") != required {
					t.Errorf("stat of the bare mount point says %q", info.Unmounted)
				}
				initErr := openStore(t, set, "").Init(t.Context(), identity)
				if required && (!errors.Is(initErr, providers.ErrUnavailable) || !strings.Contains(initErr.Error(), "mount.required")) {
					t.Errorf("init of the bare mount point: %v", initErr)
				}
			})
		}
	}
}

func TestMountDemands(t *testing.T) {
	set := &plain.Settings{Path: mount(t, "size=1m"), Mount: &plain.Mount{Required: true}}
	s := newStore(t, set)
	info, err := s.Stat(t.Context())
	check(t, err)
	if !info.Mounted || info.Remote || info.TotalBytes != 1<<20 || info.FreeBytes <= 0 || info.FreeInodes <= 0 {
		t.Errorf("stat of a mounted store: %+v", info)
	}
	remote := openStore(t, &plain.Settings{Path: set.Path, Mount: &plain.Mount{Required: true, Remote: true}}, identity)
	if _, err := remote.Stage(t.Context(), export(0)); !errors.Is(err, providers.ErrIdentity) || !strings.Contains(err.Error(), "mount.remote") {
		t.Errorf("a local file system where a remote one is demanded: %v", err)
	}

	bound := filepath.Join(t.TempDir(), "bound")
	check(t, os.Mkdir(bound, 0o700))
	check(t, unix.Mount(t.TempDir(), bound, "", unix.MS_BIND, ""))
	t.Cleanup(func() { _ = unix.Unmount(bound, unix.MNT_DETACH) })
	newStore(t, &plain.Settings{Path: bound, Mount: &plain.Mount{Required: true}})

	link := filepath.Join(t.TempDir(), "link")
	check(t, os.Symlink(set.Path, link))
	linked := openStore(t, &plain.Settings{Path: link, Mount: &plain.Mount{Required: true}}, identity)
	_, err = linked.Stage(t.Context(), export(0))
	check(t, err)

	below := openStore(t, &plain.Settings{Path: filepath.Join(set.Path, "sub"), Mount: &plain.Mount{Required: true}}, "")
	if err := below.Init(t.Context(), "other"); !errors.Is(err, providers.ErrUnavailable) {
		t.Errorf("init of a missing mount point: %v", err)
	}
	if info, err := below.Stat(t.Context()); err != nil || !info.Empty || info.Mounted || info.TotalBytes != 1<<20 {
		t.Errorf("stat of a missing mount point: %+v, %v", info, err)
	}
}

func TestReadOnly(t *testing.T) {
	path := mount(t, "size=1m")
	s := newStore(t, &plain.Settings{Path: path})
	ref := export(0)
	m, err := stageBytes(t.Context(), s, ref, 10)
	check(t, err)
	check(t, unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	if _, err := s.Commit(t.Context(), m); !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("commit to a read-only store: %v", err)
	}
	check(t, unix.Mount("", path, "", unix.MS_REMOUNT, ""))
	_, err = s.Commit(t.Context(), m)
	check(t, err)
}
