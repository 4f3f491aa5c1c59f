package plain_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

// Content is read ahead. However reading ends, no goroutine stays behind, and content that differs never ends well.
func TestOpenReadsAhead(t *testing.T) {
	key, data := newKey(t), make([]byte, 4<<20+321)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range data {
		data[i] = byte(random.Uint32() & 0x3f)
	}
	for kind, set := range map[string]plain.Settings{
		"as captured": {}, "compressed": {Compress: "zstd"}, "encrypted": {Encrypt: encrypts(key), Decrypt: readsWithKey},
		"both": {Compress: "zstd", Encrypt: encrypts(key), Decrypt: readsWithKey},
	} {
		for name, test := range map[string]struct {
			damage func(stored []byte) []byte
			read   int64 // bytes
			want   error
		}{
			"closed at once":       {read: 0},
			"closed early":         {read: 1},
			"closed within":        {read: 3 << 20},
			"read to its end":      {read: 1 << 30, want: io.EOF},
			"differs in a bit":     {damage: func(b []byte) []byte { b[len(b)/2] ^= 1; return b }, read: 1 << 30, want: providers.ErrCorrupt},
			"differs at the end":   {damage: func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, read: 1 << 30, want: providers.ErrCorrupt},
			"has become zeros":     {damage: func(b []byte) []byte { clear(b[len(b)/2:]); return b }, read: 1 << 30, want: providers.ErrCorrupt},
			"closed before an end": {damage: func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, read: 3 << 20},
		} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					set.Path = filepath.Join(t.TempDir(), "store")
					env := providers.Env{Secret: secrets(key.secret)}
					check(t, openEnv(t, &set, env).Init(t.Context(), identity))
					env.Identity = identity
					s := openEnv(t, &set, env)
					m := providertest.Put(t, s, export(0), providertest.Content{Name: "export.tar", Data: data})
					if test.damage != nil {
						path := filepath.Join(set.Path, m.Files[0].Path)
						stored, err := os.ReadFile(path)
						check(t, err)
						check(t, os.WriteFile(path, test.damage(stored), 0o600))
					}
					r, err := s.Open(t.Context(), m, "export.tar")
					check(t, err)
					if _, err := io.CopyN(io.Discard, r, test.read); !errors.Is(err, test.want) {
						t.Errorf("got %v, want %v", err, test.want)
					}
					synctest.Wait() // what reads ahead has done all it can
					check(t, r.Close())
				})
			})
		}
	}
}
