package providers_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
)

// silentStore answers until it is told to be silent; then no call ends, whatever its context says.
type silentStore struct {
	providers.Store
	silent chan struct{} // closed: silent
	back   chan struct{} // closed: it answers again
	closed int
	files  []*silentFile
}

func (s *silentStore) wait() {
	select {
	case <-s.silent:
		<-s.back
	default:
	}
}

func (s *silentStore) Stat(context.Context) (providers.StoreInfo, error) {
	s.wait()
	return providers.StoreInfo{Initialised: true}, nil
}

func (s *silentStore) Stage(context.Context, providers.ArtifactRef) (providers.Stage, error) {
	s.wait()
	return silentStage{s: s}, nil
}

func (s *silentStore) Commit(_ context.Context, m providers.Manifest) (providers.Manifest, error) {
	s.wait()
	return m, nil
}

func (s *silentStore) Open(ctx context.Context, _ providers.Manifest, _ string) (io.ReadCloser, error) {
	s.wait()
	return &silentFile{s: s, ctx: ctx}, nil
}

func (s *silentStore) List(context.Context) iter.Seq2[providers.Manifest, error] {
	return func(yield func(providers.Manifest, error) bool) {
		for _, id := range []providers.ArtifactID{"1", "2", "3"} {
			s.wait()
			if !yield(providers.Manifest{ArtifactRef: providers.ArtifactRef{ID: id}}, nil) {
				return
			}
		}
	}
}

func (s *silentStore) Close() error {
	s.closed++
	return nil
}

type silentStage struct {
	providers.Stage
	s *silentStore
}

func (g silentStage) Create(string) (io.WriteCloser, error) {
	g.s.wait()
	f := &silentFile{s: g.s, ctx: context.Background()}
	g.s.files = append(g.s.files, f)
	return f, nil
}

type silentFile struct {
	s    *silentStore
	ctx  context.Context
	n    int
	got  []byte
	ends int
}

func (f *silentFile) Read(p []byte) (int, error) {
	f.s.wait()
	if err := f.ctx.Err(); err != nil {
		return 0, err
	}
	if f.n++; f.n == 3 {
		return 0, io.EOF
	}
	return copy(p, "bytes"), nil
}

func (f *silentFile) Write(p []byte) (int, error) {
	f.s.wait()
	f.got = append(f.got, p...)
	return len(p), nil
}

func (f *silentFile) Close() error {
	f.s.wait()
	f.ends++
	return nil
}

// open opens a store through the opener, as everybody does.
func open(t *testing.T, body string) (*silentStore, providers.Store) {
	t.Helper()
	s := &silentStore{silent: make(chan struct{}), back: make(chan struct{})}
	opener := &providers.Opener{
		Registry: &providers.Registry{Stores: []providers.StoreType{{
			Type: "silent", Settings: func() any { return new(struct{}) },
			Open: func(context.Context, string, any, providers.Env) (providers.Store, error) { return s, nil },
		}}},
		Lookup: func(string) (providers.Spec, error) {
			return providers.Spec{Type: "silent", Body: json.RawMessage(body)}, nil
		},
	}
	store, err := opener.Store(t.Context(), "store.nas")
	if err != nil {
		t.Fatal(err)
	}
	return s, store
}

// Whatever a caller waits for when a store falls silent, it gets an error that names the store and says what to do, in time.
func TestSilence(t *testing.T) {
	const limit = time.Minute
	calls := map[string]struct {
		prepare func(*testing.T, providers.Store) func(context.Context, providers.Store) error
		takes   time.Duration
	}{
		"stat": {func(*testing.T, providers.Store) func(context.Context, providers.Store) error {
			return func(ctx context.Context, s providers.Store) error { _, err := s.Stat(ctx); return err }
		}, limit},
		"write": {func(t *testing.T, s providers.Store) func(context.Context, providers.Store) error {
			w := create(t, s)
			return func(context.Context, providers.Store) error { _, err := w.Write([]byte("more")); return err }
		}, limit},
		"sync": {func(t *testing.T, s providers.Store) func(context.Context, providers.Store) error {
			w := create(t, s)
			return func(context.Context, providers.Store) error { return w.Close() }
		}, 6 * limit},
		"read": {func(t *testing.T, s providers.Store) func(context.Context, providers.Store) error {
			r, err := s.Open(t.Context(), providers.Manifest{}, "f")
			if err != nil {
				t.Fatal(err)
			}
			return func(context.Context, providers.Store) error { _, err := r.Read(make([]byte, 8)); return err }
		}, limit},
		"commit": {func(*testing.T, providers.Store) func(context.Context, providers.Store) error {
			return func(ctx context.Context, s providers.Store) error {
				ctx, cancel := context.WithTimeout(ctx, 2*limit)
				defer cancel()
				_, err := s.Commit(ctx, providers.Manifest{})
				return err
			}
		}, 2 * limit},
		"list": {func(*testing.T, providers.Store) func(context.Context, providers.Store) error {
			return func(ctx context.Context, s providers.Store) (err error) {
				ctx, cancel := context.WithTimeout(ctx, 3*limit)
				defer cancel()
				for _, err = range s.List(ctx) {
				}
				return err
			}
		}, 3 * limit},
	}
	for name, c := range calls {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, store := open(t, `{"timeout": "1m"}`)
				call := c.prepare(t, store)
				close(s.silent)
				began := time.Now()
				err := call(t.Context(), store)
				if took := time.Since(began); took < c.takes || took > c.takes+30*time.Second {
					t.Errorf("took %s, want %s and a moment", took, c.takes)
				}
				if !errors.Is(err, providers.ErrNoAnswer) || !strings.Contains(err.Error(), "store.nas") || providers.Retryable(err) {
					t.Errorf("error %v", err)
				}
				// The next one does not wait at all.
				began = time.Now()
				if _, err := store.Stat(t.Context()); !errors.Is(err, providers.ErrNoAnswer) || time.Since(began) > 0 {
					t.Errorf("after %s: %v", time.Since(began), err)
				}
				if err := store.Close(); err != nil || s.closed != 0 {
					t.Errorf("closed %d times under a call that is left behind: %v", s.closed, err)
				}
				close(s.back)
			})
		})
	}
}

func create(t *testing.T, s providers.Store) io.WriteCloser {
	t.Helper()
	stage, err := s.Stage(t.Context(), providers.ArtifactRef{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := stage.Create("f")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := w.Write([]byte("some")); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	return w
}

// A store that answers is not noticed: values, errors and iterators that are left early come through, and nothing stays behind.
func TestAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := open(t, `{}`)
		var ids string
		for m, err := range store.List(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if ids += string(m.ID); len(ids) == 2 {
				break
			}
		}
		if ids != "12" {
			t.Errorf("listed %q", ids)
		}
		r, err := store.Open(t.Context(), providers.Manifest{}, "f")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * providers.DefaultTimeout) // a reader stays open beyond the call that opened it
		if b, err := io.ReadAll(r); string(b) != "bytesbytes" || err != nil {
			t.Errorf("read %q, %v", b, err)
		}
		w := create(t, store)
		big := strings.Repeat("x", 3<<20+1)
		if n, err := io.WriteString(w, big); n != len(big) || err != nil {
			t.Errorf("wrote %d of %d, %v", n, len(big), err)
		}
		if err := errors.Join(r.Close(), w.Close(), store.Close()); err != nil || s.closed != 1 {
			t.Errorf("closed %d times, %v", s.closed, err)
		}
	})
}

// A person who stops waiting does not wait for the limit.
func TestSilenceCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := open(t, `{"timeout": "30d"}`)
		close(s.silent)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		_, err := store.Commit(ctx, providers.Manifest{})
		if took := time.Since(began); !errors.Is(err, providers.ErrNoAnswer) || took > time.Minute {
			t.Errorf("after %s: %v", took, err)
		}
		close(s.back)
	})
}

// What a call opens after it was left behind is closed.
func TestSilenceLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := open(t, `{"timeout": "1m"}`)
		stage, err := store.Stage(t.Context(), providers.ArtifactRef{})
		if err != nil {
			t.Fatal(err)
		}
		close(s.silent)
		if _, err := stage.Create("f"); !errors.Is(err, providers.ErrNoAnswer) {
			t.Fatal(err)
		}
		close(s.back)
		synctest.Wait()
		if len(s.files) != 1 || s.files[0].ends != 1 {
			t.Errorf("files that were opened too late: %v", s.files)
		}
	})
}

type silentDevice struct {
	providers.Device
	back chan struct{}
}

func (d silentDevice) Capture(context.Context, providers.CaptureRequest, providers.Sink) (providers.CaptureResult, error) {
	<-d.back
	return providers.CaptureResult{}, nil
}

type silentMirror struct {
	providers.Mirror
	back chan struct{}
}

func (m silentMirror) Copy(context.Context, providers.MirrorRequest, providers.Progress) (providers.MirrorResult, error) {
	<-m.back
	return providers.MirrorResult{}, nil
}

// Captures and mirror passes take as long as they take. When their time is over, they end even if the source does not answer.
func TestSilentSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := make(chan struct{})
		opener := &providers.Opener{
			Registry: &providers.Registry{
				Devices: []providers.DeviceType{{
					Type: "silent", Settings: func() any { return new(struct{}) },
					Open: func(context.Context, string, any, providers.Env) (providers.Device, error) {
						return silentDevice{back: back}, nil
					},
				}},
				Mirrors: []providers.MirrorType{{Source: "a", Target: "b", Open: func(context.Context, string, providers.Env) (providers.Mirror, error) {
					return silentMirror{back: back}, nil
				}}},
			},
			Lookup: func(string) (providers.Spec, error) {
				return providers.Spec{Type: "silent", Body: json.RawMessage(`{}`)}, nil
			},
		}
		d, err := opener.Device(t.Context(), "device.web")
		if err != nil {
			t.Fatal(err)
		}
		m, err := opener.Mirror(t.Context(), "mirror.web", "a://x", "b://y")
		if err != nil {
			t.Fatal(err)
		}
		for name, call := range map[string]func(context.Context) error{
			"capture": func(ctx context.Context) error {
				_, err := d.Capture(ctx, providers.CaptureRequest{}, nil)
				return err
			},
			"copy": func(ctx context.Context) error {
				_, err := m.Copy(ctx, providers.MirrorRequest{}, nil)
				return err
			},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Hour)
			began := time.Now()
			err := call(ctx)
			took := time.Since(began)
			cancel()
			if !errors.Is(err, providers.ErrNoAnswer) || errors.Is(err, providers.ErrStoreNoAnswer) || took < 10*time.Hour || took > 10*time.Hour+10*time.Minute {
				t.Errorf("%s: after %s: %v", name, took, err)
			}
		}
		if err := errors.Join(d.Close(), m.Close()); err != nil { // neither is called
			t.Error(err)
		}
		close(back)
	})
}
