package plain_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

func TestPlantedLinks(t *testing.T) {
	for _, at := range []string{"d", "d/domain", "d/domain/a", ".holdfast/tmp", ".holdfast/catalog", ".holdfast/catalog/2017", ".holdfast/heads", ".holdfast/heads/lock", ".holdfast/heads/" + writer + ".json"} {
		for _, target := range []string{"outside", "inside"} {
			t.Run(at+" "+target, func(t *testing.T) {
				path, outside := filepath.Join(t.TempDir(), "store"), t.TempDir()
				s := newStore(t, &plain.Settings{Path: path})
				if target == "inside" {
					outside = filepath.Join(path, "elsewhere")
					check(t, os.Mkdir(outside, 0o700))
				}
				link := filepath.Join(path, at)
				check(t, os.RemoveAll(link))
				check(t, os.MkdirAll(filepath.Dir(link), 0o700))
				check(t, os.Symlink(outside, link))
				m, err := stageBytes(t.Context(), s, export(0), 10)
				if err == nil {
					_, err = s.Commit(t.Context(), m)
				}
				if err == nil || !strings.Contains(err.Error(), "symbolic link") {
					t.Errorf("got %v", err)
				}
				if left := tree(t, outside); len(left) != 0 {
					t.Errorf("behind the link: %v", left)
				}
			})
		}
	}
}

func TestLinkedStagedFile(t *testing.T) {
	for _, action := range []providers.Action{providers.SecureBackup, providers.ExportDomain} {
		path := filepath.Join(t.TempDir(), "store")
		s := newStore(t, &plain.Settings{Path: path})
		secret := filepath.Join(t.TempDir(), "secret")
		check(t, os.WriteFile(secret, []byte("x"), 0o600))
		m := providertest.PutStaged(t, s, providertest.NewRef("d", "a", action), providertest.Content{Name: "export.zip", Data: []byte("x")})
		staged := filepath.Join(path, ".holdfast/tmp", string(m.ID), "files/export.zip")
		check(t, os.Remove(staged))
		check(t, os.Symlink(secret, staged))
		if r, err := s.Staged(t.Context(), m.ID, "export.zip"); err == nil {
			r.Close()
			t.Error("a linked staged file was opened")
		}
		if _, err := s.Commit(t.Context(), m); err == nil {
			t.Error("a linked staged file was committed")
		}
	}
}

func TestListNamesWhatIsWrong(t *testing.T) {
	const manifest = "d/domain/a/a-export-2017-06-26-22-48-00-000-persisted.holdfast.json"
	const data = "d/domain/a/a-export-2017-06-26-22-48-00-000-persisted.zip"
	edit := func(old, new string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			content, err := os.ReadFile(filepath.Join(path, manifest))
			check(t, err)
			changed := strings.Replace(string(content), old, new, 1)
			if changed == string(content) {
				t.Fatalf("no %s in %s", old, content)
			}
			check(t, os.WriteFile(filepath.Join(path, manifest), []byte(changed), 0o600))
		}
	}
	for name, c := range map[string]struct {
		damage func(t *testing.T, path string)
		named  string
	}{
		"truncated":        {func(t *testing.T, p string) { check(t, os.Truncate(filepath.Join(p, manifest), 100)) }, manifest},
		"empty":            {func(t *testing.T, p string) { check(t, os.Truncate(filepath.Join(p, manifest), 0)) }, manifest},
		"other schema":     {edit(`"schema": 1`, `"schema": 2`), manifest},
		"path upwards":     {edit(data, "../../../../../../etc/passwd"), manifest},
		"absolute path":    {edit(data, "/etc/passwd"), manifest},
		"path of another":  {edit(data, strings.Replace(data, "-22-48-", "-23-48-", 1)), manifest},
		"dots":             {edit(data, data[:len("d/domain/a/")]+".."), manifest},
		"other device":     {edit(`"device": "d"`, `"device": "e"`), manifest},
		"other action":     {edit(`"export_domain"`, `"secure_backup"`), manifest},
		"bad id":           {edit(`"id": "`, `"id": "../`), manifest},
		"no files":         {edit(`"files": [`, `"files": [], "was": [`), manifest},
		"file missing":     {func(t *testing.T, p string) { check(t, os.Remove(filepath.Join(p, data))) }, data},
		"file shorter":     {func(t *testing.T, p string) { check(t, os.Truncate(filepath.Join(p, data), 1)) }, data},
		"file is a link":   {linkTo(data), data},
		"manifest is link": {linkTo(manifest), manifest},
		"manifest is a pipe": {func(t *testing.T, p string) {
			check(t, os.Remove(filepath.Join(p, manifest)))
			check(t, unix.Mkfifo(filepath.Join(p, manifest), 0o600))
		}, manifest},
		"device is a link": {func(t *testing.T, p string) { check(t, os.Symlink("d", filepath.Join(p, "linked"))) }, "linked"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store")
			s := newStore(t, &plain.Settings{Path: path})
			bad := providertest.Put(t, s, export(0), providertest.Content{Name: "export.zip", Data: []byte("data")})
			good := providertest.Put(t, s, export(1), providertest.Content{Name: "export.zip", Data: []byte("data")})
			c.damage(t, path)
			var ids []providers.ArtifactID
			var errs []error
			for m, err := range s.List(t.Context()) {
				if err != nil {
					errs = append(errs, err)
				} else {
					ids = append(ids, m.ID)
				}
			}
			if len(errs) != 1 || !strings.Contains(errs[0].Error(), filepath.Join(path, "")+"/") || !strings.Contains(errs[0].Error(), c.named) {
				t.Errorf("errors %v, want one that names %s", errs, c.named)
			}
			if !slices.Contains(ids, good.ID) || slices.Contains(ids, bad.ID) != (name == "device is a link") {
				t.Errorf("listed %v; good is %s, bad %s", ids, good.ID, bad.ID)
			}
			providertest.CheckArtifact(t, s, good.ArtifactRef, providertest.Content{Name: "export.zip", Data: []byte("data")})
			if r, err := s.Open(t.Context(), bad, "export.zip"); err == nil {
				r.Close()
				if strings.HasPrefix(name, "file ") {
					t.Error("the damaged file was opened without an error")
				}
			}
		})
	}
}

func linkTo(name string) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		aside := filepath.Join(t.TempDir(), "aside")
		check(t, os.Rename(filepath.Join(path, name), aside))
		check(t, os.Symlink(aside, filepath.Join(path, name)))
	}
}

// A manifest that claims the file of another artifact cannot have it deleted.
func TestDeleteByForgedManifest(t *testing.T) {
	for _, action := range []providers.Action{providers.SecureBackup, providers.ExportDomain} {
		path := filepath.Join(t.TempDir(), "store")
		s := newStore(t, &plain.Settings{Path: path})
		refs := []providers.ArtifactRef{providertest.NewRef("d", "a", action), providertest.NewRef("d", "a", action)}
		forged := providertest.Put(t, s, refs[0], crashFiles...)
		other := providertest.Put(t, s, refs[1], crashFiles...)
		manifest := filepath.Join(path, filepath.Dir(forged.Files[0].Path), "holdfast-manifest.json")
		if action == providers.ExportDomain {
			manifest = filepath.Join(path, strings.TrimSuffix(forged.Files[0].Path, ".zip")+".holdfast.json")
		}
		data, err := os.ReadFile(manifest)
		check(t, err)
		data = []byte(strings.ReplaceAll(string(data), forged.Files[1].Path, other.Files[1].Path))
		check(t, os.WriteFile(manifest, data, 0o600))
		if err := s.Delete(t.Context(), refs[0]); !errors.Is(err, providers.ErrCorrupt) {
			t.Errorf("%s: delete: %v", action, err)
		}
		providertest.CheckArtifact(t, s, refs[1], crashFiles...)
	}
}

// A damaged manifest is neither found nor silently taken for deleted.
func TestDamagedManifestIsNotGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	s := newStore(t, &plain.Settings{Path: path})
	m := providertest.Put(t, s, export(0), providertest.Content{Name: "export.zip", Data: []byte("data")})
	check(t, os.Truncate(filepath.Join(path, strings.TrimSuffix(m.Files[0].Path, ".zip")+".holdfast.json"), 7))
	if _, err := s.Get(t.Context(), m.ArtifactRef); !errors.Is(err, providers.ErrCorrupt) {
		t.Errorf("get: %v", err)
	}
	if err := s.Delete(t.Context(), m.ArtifactRef); !errors.Is(err, providers.ErrCorrupt) {
		t.Errorf("delete: %v", err)
	}
	if _, err := s.Get(t.Context(), export(2)); !errors.Is(err, providers.ErrNotFound) {
		t.Errorf("get of an artifact that has nothing to do with it: %v", err)
	}
	next := export(0)
	providertest.Put(t, s, next, providertest.Content{Name: "export.zip", Data: []byte("other")})
	providertest.CheckArtifact(t, s, next, providertest.Content{Name: "export.zip", Data: []byte("other")})
}

func TestDeleteTouchesOnlyItsOwn(t *testing.T) {
	for _, action := range []providers.Action{providers.SecureBackup, providers.ExportDomain} {
		path, outside := filepath.Join(t.TempDir(), "store"), filepath.Join(t.TempDir(), "outside")
		s := newStore(t, &plain.Settings{Path: path})
		m := providertest.Put(t, s, providertest.NewRef("d", "a", action), crashFiles...)
		check(t, os.WriteFile(outside, []byte("main"), 0o600))
		first := filepath.Join(path, m.Files[0].Path)
		check(t, os.Remove(first))
		check(t, os.Symlink(outside, first))
		stranger := filepath.Join(filepath.Dir(first), "stranger")
		check(t, os.WriteFile(stranger, nil, 0o600))
		check(t, s.Delete(t.Context(), m.ArtifactRef))
		for _, kept := range []string{outside, stranger} {
			if _, err := os.Lstat(kept); err != nil {
				t.Errorf("%s: %v", action, err)
			}
		}
		for _, f := range m.Files {
			if _, err := os.Lstat(filepath.Join(path, f.Path)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %s is left: %v", action, f.Path, err)
			}
		}
	}
}

// Another directory at the path is not the store, even with a copied marker,
// for what was staged before; for new work it is.
func TestSwappedDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	s := newStore(t, &plain.Settings{Path: path})
	m, err := stageBytes(t.Context(), s, export(0), 10)
	check(t, err)
	check(t, os.Rename(path, path+".aside"))
	if _, err := s.Commit(t.Context(), m); !errors.Is(err, providers.ErrIdentity) {
		t.Errorf("commit without a directory: %v", err)
	}
	check(t, os.CopyFS(path, os.DirFS(path+".aside")))
	if _, err := s.Commit(t.Context(), m); !errors.Is(err, providers.ErrIdentity) {
		t.Errorf("commit into a copy of the store: %v", err)
	}
	again, err := stageBytes(t.Context(), s, export(1), 10)
	check(t, err)
	_, err = s.Commit(t.Context(), again)
	check(t, err)
	if files := artifactFiles(t, path+".aside"); len(files) != 0 {
		t.Errorf("the old directory got %v", files)
	}
}

func TestMarker(t *testing.T) {
	for name, c := range map[string]struct{ content, want string }{
		"torn":         {`{"identity": "2f`, "unexpected end"},
		"newer layout": {`{"identity": "` + identity + `", "layout": 2}`, "layout version 2"},
		"other":        {`{"identity": "6f2b", "layout": 1}`, `"6f2b" is there`},
		"no identity":  {`{"layout": 1}`, "identity"},
	} {
		path := filepath.Join(t.TempDir(), "store")
		s := newStore(t, &plain.Settings{Path: path})
		check(t, os.WriteFile(filepath.Join(path, ".holdfast/store.json"), []byte(c.content), 0o600))
		_, err := s.Get(t.Context(), export(0))
		if !errors.Is(err, providers.ErrIdentity) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if err := openStore(t, &plain.Settings{Path: path}, "").Init(t.Context(), identity); err == nil {
			t.Errorf("%s: init accepted it", name)
		}
	}
}

func TestInit(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(path string) error
		want    error
	}{
		"absent":            {func(string) error { return nil }, nil},
		"empty":             {func(p string) error { return os.MkdirAll(p, 0o700) }, nil},
		"only lost+found":   {func(p string) error { return os.MkdirAll(p+"/lost+found/x", 0o700) }, nil},
		"broken off":        {brokenOffInit, nil},
		"a hidden file":     {func(p string) error { os.MkdirAll(p, 0o700); return os.WriteFile(p+"/.x", nil, 0o600) }, providers.ErrNotEmpty},
		"staging there":     {func(p string) error { return os.MkdirAll(p+"/.holdfast/tmp/01X", 0o700) }, providers.ErrNotEmpty},
		"a file":            {func(p string) error { return os.WriteFile(p, nil, 0o600) }, errAny},
		"a pipe":            {func(p string) error { return unix.Mkfifo(p, 0o600) }, errAny},
		"below a file":      {func(p string) error { return os.WriteFile(filepath.Dir(p), nil, 0o600) }, errAny},
		"a link to nothing": {func(p string) error { return os.Symlink("nothing", p) }, errAny},
		"a linked .holdfast": {func(p string) error {
			return errors.Join(os.MkdirAll(p, 0o700), os.Symlink("/tmp", p+"/.holdfast"))
		}, errAny},
	} {
		path := filepath.Join(t.TempDir(), "parent", "store")
		if name != "below a file" {
			check(t, os.Mkdir(filepath.Dir(path), 0o700))
		}
		check(t, c.prepare(path))
		s := openStore(t, &plain.Settings{Path: path}, "")
		err := s.Init(t.Context(), identity)
		switch {
		case c.want == errAny && (err == nil || !strings.Contains(err.Error(), path)):
			t.Errorf("%s: %v", name, err)
		case c.want != errAny && !errors.Is(err, c.want):
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		case err == nil:
			providertest.Put(t, s, export(0), providertest.Content{Name: "export.zip", Data: []byte("data")})
		}
	}
}

var errAny = errors.New("any error")

func brokenOffInit(path string) error {
	return errors.Join(os.MkdirAll(path+"/.holdfast/tmp", 0o700), os.WriteFile(path+"/.holdfast/init-"+identity, []byte("{"), 0o600))
}

func TestSettingsCheck(t *testing.T) {
	for name, c := range map[string]struct {
		set  plain.Settings
		want []string
	}{
		"good":     {plain.Settings{Path: "/data/backup/store", FreeSpace: &plain.FreeSpace{MinPercent: 10, MinBytes: 5 << 30}, Mount: &plain.Mount{Required: true}}, nil},
		"relative": {plain.Settings{Path: "store"}, []string{"path"}},
		"missing":  {plain.Settings{}, []string{"path"}},
		"root":     {plain.Settings{Path: "/."}, []string{"path"}},
		"zero":     {plain.Settings{Path: "/a\x00b"}, []string{"path"}},
		"space":    {plain.Settings{Path: "/a", FreeSpace: &plain.FreeSpace{MinPercent: 100, MinBytes: -1, MinInodes: -1}}, []string{"free_space.min_percent", "free_space.min_inodes", "free_space.min_bytes"}},
	} {
		var got []string
		c.set.Check(func(path, problem string) { got = append(got, path) })
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: problems at %v, want %v", name, got, c.want)
		}
		if _, err := plain.StoreType().Open(t.Context(), "nas", &c.set, providers.Env{}); (err == nil) != (c.want == nil) {
			t.Errorf("%s: open gives %v", name, err)
		}
	}
}

func TestErrorsOfTheSystem(t *testing.T) {
	s := openStore(t, &plain.Settings{Path: "/data/backup/store"}, identity)
	for errno, c := range map[unix.Errno]struct {
		want  error
		retry bool
		hint  string
	}{
		unix.ENOSPC: {providers.ErrNoSpace, false, "Free space"},
		unix.EDQUOT: {providers.ErrNoSpace, false, "quota"},
		unix.ENOENT: {providers.ErrNotFound, false, ""},
		unix.EACCES: {fs.ErrPermission, false, "user holdfast runs as"},
		unix.EROFS:  {providers.ErrReadOnly, false, "read-only"},
		unix.EIO:    {providers.ErrMedium, false, "medium"},
		unix.ESTALE: {providers.ErrUnavailable, true, "server"},
	} {
		err := plain.Fault(s, &fs.PathError{Op: "openat", Path: "file", Err: errno})
		if !errors.Is(err, c.want) || !errors.Is(err, errno) || providers.Retryable(err) != c.retry {
			t.Errorf("%v became %v, retry %v", errno, err, providers.Retryable(err))
		}
		if !strings.Contains(err.Error(), "write /data/backup/store/d/file: ") || !strings.Contains(err.Error(), c.hint) || strings.Contains(err.Error(), "openat") {
			t.Errorf("%v reads %q", errno, err)
		}
		if plain.Fault(s, err) != err {
			t.Errorf("%v is told twice", errno)
		}
	}
}
