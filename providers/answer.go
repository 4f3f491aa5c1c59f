package providers

import (
	"context"
	"io"
	"iter"
	"sync/atomic"
	"time"
)

// DefaultTimeout is how long one call on a store may stay unanswered where its specification says nothing.
const DefaultTimeout = 5 * time.Minute

const (
	patience = 10 * time.Second // for a call whose time is over, to end by itself
	longer   = 6                // times the limit may pass until all that was written of a file is on the medium
)

// answering is a store that always answers. A call into a file system whose server is gone ends neither with its context nor by
// itself: it is left behind with its goroutine then, and its caller gets ErrNoAnswer, as does every later one. What was left behind
// may still take effect, should the server come back while the process lives.
type answering struct {
	store Store
	name  string
	limit time.Duration // of a call that takes moments
	gone  atomic.Bool   // a call was left behind
}

// answer opens a store that always answers.
func answer(ctx context.Context, name string, limit time.Duration, open func(context.Context) (Store, error)) (Store, error) {
	a := &answering{name: name, limit: limit}
	s, err := ask(ctx, a, "open", limit, open, Store.Close)
	if err != nil {
		return nil, err
	}
	a.store = s
	return a, nil
}

func (a *answering) silent(op string) error {
	return &Error{Op: op, Target: a.name, Err: ErrNoAnswer, Hint: "A mounted file system whose server is gone waits for ever: look at the mount and its server"}
}

type answered[T any] struct {
	value T
	err   error
}

// ask makes a call with a time limit (0: only that of ctx). What a call opens is open beyond it, so that call gets ctx without the
// limit; late closes what comes too late.
func ask[T any](ctx context.Context, a *answering, op string, limit time.Duration, call func(context.Context) (T, error), late func(T) error) (T, error) {
	if a.gone.Load() {
		var none T
		return none, a.silent(op)
	}
	during, limited, cancel := ctx, ctx, context.CancelFunc(func() {})
	if limit > 0 {
		limited, cancel = context.WithTimeout(ctx, limit)
	}
	if late == nil {
		during = limited
	}
	answers, left := make(chan answered[T]), make(chan struct{})
	go func() {
		defer cancel()
		v, err := call(during)
		select {
		case answers <- answered[T]{v, err}:
		case <-left:
			if err == nil && late != nil {
				_ = late(v) // nobody is there to tell
			}
		}
	}()
	got, ok := await(limited, answers)
	if !ok {
		a.gone.Store(true)
		close(left)
		return got.value, a.silent(op)
	}
	return got.value, got.err
}

// await receives a value, or gives up when the context ended and patience with it.
func await[T any](ctx context.Context, from <-chan T) (v T, ok bool) {
	select {
	case v = <-from:
		return v, true
	case <-ctx.Done():
	}
	grace := time.NewTimer(patience)
	defer grace.Stop()
	select {
	case v = <-from:
		return v, true
	case <-grace.C:
		return v, false
	}
}

// pulled is what an iterator gave, if it gave anything.
type pulled[T any] struct {
	value T
	err   error
	more  bool
}

// each makes a call that yields values. It has no limit but ctx: nobody knows how long a look at a whole store takes.
func each[T any](ctx context.Context, a *answering, op string, call func(context.Context) iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		next, stop := iter.Pull2(call(ctx))
		for {
			got, err := ask(ctx, a, op, 0, func(context.Context) (p pulled[T], _ error) {
				p.value, p.err, p.more = next()
				return p, nil
			}, func(pulled[T]) error { stop(); return nil })
			switch {
			case err != nil:
				yield(got.value, err)
				return
			case !got.more:
				return
			case !yield(got.value, got.err):
				stop()
				return
			}
		}
	}
}

// did makes a call that has no result.
func did(ctx context.Context, a *answering, op string, limit time.Duration, call func(context.Context) error) error {
	_, err := ask(ctx, a, op, limit, func(ctx context.Context) (struct{}, error) { return struct{}{}, call(ctx) }, nil)
	return err
}

func (a *answering) Stat(ctx context.Context) (StoreInfo, error) {
	return ask(ctx, a, "stat", a.limit, a.store.Stat, nil)
}

func (a *answering) Init(ctx context.Context, identity string) error {
	return did(ctx, a, "initialise", a.limit, func(ctx context.Context) error { return a.store.Init(ctx, identity) })
}

func (a *answering) Adopt(ctx context.Context, identity string) error {
	return did(ctx, a, "adopt", a.limit, func(ctx context.Context) error { return a.store.Adopt(ctx, identity) })
}

func (a *answering) Stage(ctx context.Context, ref ArtifactRef) (Stage, error) {
	s, err := ask(ctx, a, "stage", 0, func(ctx context.Context) (Stage, error) { return a.store.Stage(ctx, ref) }, nil)
	if err != nil {
		return nil, err
	}
	return answeringStage{s, ctx, a}, nil
}

func (a *answering) Staged(ctx context.Context, id ArtifactID, name string) (io.ReadCloser, error) {
	return a.reader(ctx, func(ctx context.Context) (io.ReadCloser, error) { return a.store.Staged(ctx, id, name) })
}

func (a *answering) Commit(ctx context.Context, m Manifest) (Manifest, error) {
	return ask(ctx, a, "commit", 0, func(ctx context.Context) (Manifest, error) { return a.store.Commit(ctx, m) }, nil)
}

func (a *answering) Discard(ctx context.Context, id ArtifactID) error {
	return did(ctx, a, "discard", 0, func(ctx context.Context) error { return a.store.Discard(ctx, id) })
}

func (a *answering) Get(ctx context.Context, ref ArtifactRef) (Manifest, error) {
	return ask(ctx, a, "read", a.limit, func(ctx context.Context) (Manifest, error) { return a.store.Get(ctx, ref) }, nil)
}

func (a *answering) Open(ctx context.Context, m Manifest, name string) (io.ReadCloser, error) {
	return a.reader(ctx, func(ctx context.Context) (io.ReadCloser, error) { return a.store.Open(ctx, m, name) })
}

func (a *answering) Stored(ctx context.Context, m Manifest, name string) (io.ReadCloser, error) {
	return a.reader(ctx, func(ctx context.Context) (io.ReadCloser, error) { return a.store.Stored(ctx, m, name) })
}

func (a *answering) List(ctx context.Context) iter.Seq2[Manifest, error] {
	return each(ctx, a, "list", a.store.List)
}

func (a *answering) Delete(ctx context.Context, ref ArtifactRef) error {
	return did(ctx, a, "delete", 0, func(ctx context.Context) error { return a.store.Delete(ctx, ref) })
}

func (a *answering) Sweep(ctx context.Context, keep func(ArtifactID) bool) (Swept, error) {
	return ask(ctx, a, "sweep", 0, func(ctx context.Context) (Swept, error) { return a.store.Sweep(ctx, keep) }, nil)
}

func (a *answering) Check(ctx context.Context) iter.Seq2[Finding, error] {
	return each(ctx, a, "check", a.store.Check)
}

func (a *answering) Recover(ctx context.Context) iter.Seq2[Recovered, error] {
	return each(ctx, a, "recover", a.store.Recover)
}

func (a *answering) Close() error {
	if a.gone.Load() {
		return nil // what was left behind still has it
	}
	return did(context.Background(), a, "close", a.limit, func(context.Context) error { return a.store.Close() })
}

// answeringStage ends with the context that it was made with, and so does what is written to it.
type answeringStage struct {
	Stage
	ctx context.Context
	a   *answering
}

func (s answeringStage) Create(name string) (io.WriteCloser, error) {
	w, err := ask(s.ctx, s.a, "create", s.a.limit, func(context.Context) (io.WriteCloser, error) { return s.Stage.Create(name) }, io.WriteCloser.Close)
	if err != nil {
		return nil, err
	}
	return &answeringWriter{ctx: s.ctx, a: s.a, to: w}, nil
}

// longestCall is how many bytes one call reads or writes.
const longestCall = 1 << 20

// buffer is what a call reads into or writes from: its caller uses its own again when the call was left behind.
type buffer []byte

func (b *buffer) take(n int) []byte {
	n = min(n, longestCall)
	if n > len(*b) {
		*b = make([]byte, n)
	}
	return (*b)[:n]
}

type answeringWriter struct {
	ctx context.Context
	a   *answering
	to  io.WriteCloser
	buf buffer
}

func (w *answeringWriter) Write(p []byte) (done int, err error) {
	for done < len(p) && err == nil {
		if w.a.gone.Load() {
			return done, w.a.silent("write")
		}
		buf := w.buf.take(len(p) - done)
		copy(buf, p[done:])
		var n int
		n, err = ask(w.ctx, w.a, "write", w.a.limit, func(context.Context) (int, error) { return w.to.Write(buf) }, nil)
		done += n
	}
	return done, err
}

// Close waits for what is not on the medium yet.
func (w *answeringWriter) Close() error {
	return did(w.ctx, w.a, "write", longer*w.a.limit, func(context.Context) error { return w.to.Close() })
}

func (a *answering) reader(ctx context.Context, open func(context.Context) (io.ReadCloser, error)) (io.ReadCloser, error) {
	r, err := ask(ctx, a, "read", a.limit, open, io.ReadCloser.Close)
	if err != nil {
		return nil, err
	}
	return &answeringReader{ctx: ctx, a: a, from: r}, nil
}

type answeringReader struct {
	ctx  context.Context
	a    *answering
	from io.ReadCloser
	buf  buffer
}

func (r *answeringReader) Read(p []byte) (int, error) {
	buf := r.buf.take(len(p))
	n, err := ask(r.ctx, r.a, "read", r.a.limit, func(context.Context) (int, error) { return r.from.Read(buf) }, nil)
	return copy(p, buf[:n]), err
}

func (r *answeringReader) Close() error {
	if r.a.gone.Load() {
		return nil // what was left behind may still read
	}
	return did(r.ctx, r.a, "read", r.a.limit, func(context.Context) error { return r.from.Close() })
}
