package files_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/files"
)

// interrupted is an artifact of which something happens to the archive when a part of it was read.
type interrupted struct {
	providers.Source
	after  int
	happen func() error
}

func (s interrupted) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	r, err := s.Source.Open(ctx, name)
	if err != nil || name != archiveName {
		return r, err
	}
	return &interruptedFile{ReadCloser: r, interrupted: s}, nil
}

type interruptedFile struct {
	io.ReadCloser
	interrupted
	read int
}

func (f *interruptedFile) Read(p []byte) (int, error) {
	if f.read >= f.after {
		if err := f.happen(); err != nil {
			return 0, err
		}
	}
	n, err := f.ReadCloser.Read(p[:min(len(p), 64<<10)])
	f.read += n
	return n, err
}

// A file too large for memory passes through several goroutines. None outlives the restore, however it ends.
func TestLargeFile(t *testing.T) {
	random, data := rand.New(rand.NewPCG(1, 2)), make([]byte, 5<<20+123)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	large := file("large", string(data))
	wrong := large
	wrong.line = wrong.listed()
	wrong.line["sha256"] = strings.Repeat("0", 64)
	gone := errors.New("the store is gone")
	for name, test := range map[string]struct {
		member  member
		cut     int // bytes at the end of the archive
		happen  func(cancel func()) error
		want    error
		corrupt bool
	}{
		"whole":         {member: large},
		"other content": {member: wrong, want: providers.ErrCorrupt, corrupt: true},
		"cut off":       {member: large, cut: 2 << 20, want: providers.ErrCorrupt, corrupt: true},
		"store fails":   {member: large, happen: func(func()) error { return gone }, want: gone},
		"cancelled":     {member: large, happen: func(cancel func()) error { cancel(); return nil }, want: context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				art, dir := artifact(t, test.member, file("small", "behind it")), t.TempDir()
				if test.cut > 0 {
					whole := art.Bytes(archiveName)
					art.Set(archiveName, whole[:len(whole)-test.cut])
				}
				src := interrupted{Source: art, after: 2 << 20, happen: func() error {
					if test.happen == nil {
						return nil
					}
					return test.happen(cancel)
				}}
				dev := openDevice(t, providers.Env{}, &files.Root{Name: "content", Path: "/nowhere"})
				err := dev.Restore(ctx, providers.RestoreRequest{Action: providers.ExportDomain, Domain: "content", Dir: dir}, src)
				if !errors.Is(err, test.want) || errors.Is(err, providers.ErrCorrupt) != test.corrupt {
					t.Fatalf("got %v, want %v", err, test.want)
				}
				path := filepath.Join(dir, "large")
				if test.want == nil {
					got, err := os.ReadFile(path)
					must(t, err)
					if !bytes.Equal(got, data) {
						t.Error("the content differs")
					}
				} else if info, err := os.Stat(path); err == nil && info.Mode().Perm() != 0o600 {
					t.Errorf("a file that is not whole has the mode %v", info.Mode())
				}
			})
		})
	}
}
