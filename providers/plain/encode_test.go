package plain_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"filippo.io/age"

	"github.com/holdfast-dr/holdfast/config/sampletest"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

type ageKey struct{ secret, public string }

func newKey(t testing.TB) ageKey {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	check(t, err)
	return ageKey{id.String(), id.Recipient().String()}
}

// secrets gives the secret "secret.key".
func secrets(value string) func(context.Context, providers.Secret) (string, error) {
	return func(_ context.Context, ref providers.Secret) (string, error) {
		if ref != "secret.key" {
			return "", errors.New("no such secret")
		}
		return value, nil
	}
}

var readsWithKey = &plain.Decrypt{Identity: "secret.key"}

func encrypts(keys ...ageKey) *plain.Encrypt {
	e := new(plain.Encrypt)
	for _, k := range keys {
		e.Recipients = append(e.Recipients, k.public)
	}
	return e
}

func TestStoreThatEncodes(t *testing.T) {
	key := newKey(t)
	settings := map[string]plain.Settings{
		"compressed": {Compress: "zstd"},
		"encrypted":  {Encrypt: encrypts(key), Decrypt: readsWithKey},
		"both":       {Compress: "zstd", Encrypt: encrypts(newKey(t), key), Decrypt: readsWithKey},
	}
	for _, name := range sampletest.Of(t, slices.Sorted(maps.Keys(settings)), 2) {
		t.Run(name, func(t *testing.T) {
			providertest.Store(t, placeWith(settings[name], providers.Env{Secret: secrets(key.secret)}))
		})
	}
}

func TestStoredNames(t *testing.T) {
	names := []string{"backupmanifest.xml", "dp.tgz", "export.tar", "x", "x.zst", "x.zst.zst", strings.Repeat("long", 80)}
	for _, c := range []struct {
		set  plain.Settings
		want []string
	}{
		{plain.Settings{Compress: "none"}, []string{"backupmanifest.xml", "dp.tgz", "export.tar", "x", "x.zst", "x.zst.zst", ""}},
		{plain.Settings{Compress: "zstd"}, []string{"backupmanifest.xml.zst", "dp.tgz", "export.tar.zst", "x.zst", "%=x.zst", "x.zst.zst", ".zst"}},
		{plain.Settings{Encrypt: encrypts(newKey(t))}, []string{"backupmanifest.xml.age", "dp.tgz.age", "export.tar.age", "x.age", "x.zst.age", "x.zst.zst.age", ".age"}},
		{plain.Settings{Compress: "zstd", Encrypt: encrypts(newKey(t))}, []string{"backupmanifest.xml.zst.age", "dp.tgz.age", "export.tar.zst.age", "x.zst.age", "%=x.zst.age", "x.zst.zst.age", ".zst.age"}},
	} {
		for _, action := range []providers.Action{providers.SecureBackup, providers.ExportDomain} {
			c.set.Path = filepath.Join(t.TempDir(), "store")
			s := newStore(t, &c.set)
			var files []providertest.Content
			for _, n := range names {
				files = append(files, providertest.Content{Name: n, Data: []byte(n)})
			}
			m := providertest.Put(t, s, providertest.NewRef("d", "a", action), files...)
			for i, f := range m.Files {
				base := filepath.Base(f.Path)
				if i == len(names)-1 {
					if !strings.HasPrefix(base, "long") && action == providers.SecureBackup || !strings.HasSuffix(base, c.want[i]) || len(base) > 255 {
						t.Errorf("a long name became %q", base)
					}
					continue
				}
				want := c.want[i]
				if action == providers.ExportDomain {
					want = "a-export-2017-06-26-22-48-00-000-persisted." + strings.TrimPrefix(want, "backupmanifest.")
				}
				if base != want {
					t.Errorf("%s: %s became %q, want %q", action, names[i], base, want)
				}
			}
		}
	}
}

func TestEncryptedManifest(t *testing.T) {
	key, path := newKey(t), filepath.Join(t.TempDir(), "store")
	s := newStore(t, &plain.Settings{Path: path, Compress: "zstd", Encrypt: encrypts(key)})
	content := []byte(strings.Repeat("content ", 1000))
	m := providertest.Put(t, s, export(0), providertest.Content{Name: "export.tar", Data: content})
	stored, err := os.ReadFile(filepath.Join(path, m.Files[0].Path))
	check(t, err)
	storedSum, contentSum := sha256.Sum256(stored), sha256.Sum256(content)
	f := m.Files[0]
	if f.Size != int64(len(stored)) || f.SHA256 != hex.EncodeToString(storedSum[:]) || bytes.Contains(stored, content[:20]) {
		t.Errorf("stored are %d bytes with %x, manifest %+v", len(stored), storedSum, f)
	}
	if f.ContentSize != int64(len(content)) || f.ContentSHA256 != hex.EncodeToString(contentSum[:]) || f.Compression != "zstd" {
		t.Errorf("content is %d bytes with %x, manifest %+v", len(content), contentSum, f)
	}
	if f.Encryption == nil || f.Encryption.Scheme != "age" || !slices.Equal(f.Encryption.Recipients, []string{key.public}) {
		t.Errorf("encryption %+v", f.Encryption)
	}
	if got := f.Content(); got.Size != f.ContentSize || got.SHA256 != f.ContentSHA256 || got.Transformed() || got.Path != f.Path {
		t.Errorf("content %+v", got)
	}
	data, err := json.Marshal(providertest.Put(t, newStore(t, &plain.Settings{Path: filepath.Join(t.TempDir(), "store")}), export(0), crashFiles...))
	check(t, err)
	for _, field := range []string{"content_size", "content_sha256", "compression", "encryption"} {
		if bytes.Contains(data, []byte(field)) {
			t.Errorf("the manifest of an ordinary artifact has %s", field)
		}
	}
}

// Who writes and who verifies need no key; who reads needs the right one, and is told which that would be.
func TestKeysOfAStore(t *testing.T) {
	first, second := newKey(t), newKey(t)
	path := filepath.Join(t.TempDir(), "store")
	writes := plain.Settings{Path: path, Encrypt: encrypts(first)}
	m := providertest.Put(t, newStore(t, &writes), export(0), crashFiles...)
	writes.Encrypt = encrypts(second) // rotated
	later := providertest.Put(t, openStore(t, &writes, identity), export(1), crashFiles...)

	reads := plain.Settings{Path: path, Decrypt: readsWithKey}
	for name, c := range map[string]struct {
		set    plain.Settings
		secret func(context.Context, providers.Secret) (string, error)
		says   []string // to who reads the first artifact; none when it can be read
	}{
		"no key":       {plain.Settings{Path: path}, nil, []string{first.public, "no private key is configured", "decrypt block"}},
		"first key":    {reads, secrets(first.secret), nil},
		"both keys":    {reads, secrets("# old\n" + first.secret + "\n# new\n" + second.secret + "\n"), nil},
		"rotated away": {reads, secrets(second.secret), []string{first.public, "the private keys configured are those of " + second.public}},
		"not a key":    {reads, secrets("hunter2"), []string{"secret.key is no key"}},
		"no resolver":  {reads, nil, []string{"secret.key"}},
	} {
		s := openEnv(t, &c.set, providers.Env{Identity: identity, Secret: c.secret})
		for _, m := range []providers.Manifest{m, later} {
			for _, f := range m.Files {
				r, err := s.Stored(t.Context(), m, f.Name)
				check(t, err)
				data, err := io.ReadAll(r)
				check(t, errors.Join(err, r.Close()))
				if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != f.SHA256 {
					t.Errorf("%s: stored bytes of %q are others", name, f.Name)
				}
			}
		}
		if c.says == nil {
			providertest.CheckArtifact(t, s, m.ArtifactRef, crashFiles...)
			continue
		}
		_, err := s.Open(t.Context(), m, "listing")
		if !errors.Is(err, providers.ErrNoKey) {
			t.Errorf("%s: open gives %v", name, err)
			continue
		}
		for _, want := range append(c.says, path) {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", name, err, want)
			}
		}
		if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "AGE-SECRET") {
			t.Errorf("%s: the error tells the secret: %v", name, err)
		}
	}
}

// A secret that cannot be resolved is its own error, and is asked for again.
func TestSecretNotToBeHad(t *testing.T) {
	key, path := newKey(t), filepath.Join(t.TempDir(), "store")
	m := providertest.Put(t, newStore(t, &plain.Settings{Path: path, Encrypt: encrypts(key)}), export(0), crashFiles...)
	down := errors.New("vault is sealed")
	s := openEnv(t, &plain.Settings{Path: path, Decrypt: readsWithKey}, providers.Env{Identity: identity, Secret: func(context.Context, providers.Secret) (string, error) {
		return key.secret, down
	}})
	if _, err := s.Open(t.Context(), m, "listing"); !errors.Is(err, down) || errors.Is(err, providers.ErrNoKey) || !errors.Is(err, providers.ErrSecret) {
		t.Errorf("got %v", err)
	}
	for _, cause := range []error{fs.ErrNotExist, fs.ErrPermission, syscall.EIO, syscall.ENOSPC} {
		down = fmt.Errorf("open key: %w", cause)
		_, err := s.Open(t.Context(), m, "listing")
		if !errors.Is(err, providers.ErrSecret) || errors.Is(err, providers.ErrNotFound) || errors.Is(err, providers.ErrNoSpace) || errors.Is(err, providers.ErrMedium) {
			t.Errorf("%v is told as one of the store: %v", cause, err)
		}
	}
	down = nil
	providertest.CheckArtifact(t, s, m.ArtifactRef, crashFiles...)
}

// Changing the settings changes what is written next and nothing else.
func TestSettingsChange(t *testing.T) {
	key, path := newKey(t), filepath.Join(t.TempDir(), "store")
	content := providertest.Content{Name: "export.tar", Data: bytes.Repeat([]byte("content"), 1000)}
	settings := []plain.Settings{{Path: path}, {Path: path, Compress: "zstd"}, {Path: path, Encrypt: encrypts(key)}, {Path: path}}
	newStore(t, &settings[0])
	var refs []providers.ArtifactRef
	for i, set := range settings {
		refs = append(refs, export(i))
		providertest.Put(t, openStore(t, &set, identity), refs[i], content)
	}
	s := openEnv(t, &plain.Settings{Path: path, Decrypt: readsWithKey}, providers.Env{Identity: identity, Secret: secrets(key.secret)})
	for _, ref := range refs {
		providertest.CheckArtifact(t, s, ref, content)
	}
}

// A file that was not closed, or whose writing failed, is not staged.
func TestUnfinishedEncodedFile(t *testing.T) {
	s := newStore(t, &plain.Settings{Path: filepath.Join(t.TempDir(), "store"), Compress: "zstd", Encrypt: encrypts(newKey(t))})
	stage, err := s.Stage(t.Context(), export(0))
	check(t, err)
	w, err := stage.Create("export.tar")
	check(t, err)
	_, err = w.Write([]byte("content"))
	check(t, err)
	plain.SetFail(s, func(point string) error { return errCrash })
	if err := w.Close(); !errors.Is(err, errCrash) || len(stage.Files()) != 0 {
		t.Errorf("closed with %v, staged %v", err, stage.Files())
	}
	if _, err := w.Write([]byte("late")); err == nil {
		t.Error("a closed file took more")
	}
	if err := w.Close(); err == nil {
		t.Error("closed twice")
	}
}
