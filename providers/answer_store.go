package providers

import (
	"context"
	"io"
	"iter"
	"time"
)

// DefaultTimeout is how long one call on a store may stay unanswered where its specification says nothing.
const DefaultTimeout = 5 * time.Minute

const (
	storePatience = 10 * time.Second
	longer        = 6 // times the limit may pass until all that was written of a file is on the medium
)

// answeringStore is a store whose calls end.
type answeringStore struct {
	line
	store Store
	limit time.Duration // of a call that takes moments
}

func answerStore(ctx context.Context, address string, limit time.Duration, open func(context.Context) (Store, error)) (Store, error) {
	s := &answeringStore{line: line{to: address, silence: ErrStoreNoAnswer, patience: storePatience}, limit: limit}
	var err error
	s.store, err = ask(ctx, &s.line, "open", limit, open, Store.Close)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *answeringStore) Stat(ctx context.Context) (StoreInfo, error) {
	return ask(ctx, &s.line, "stat", s.limit, s.store.Stat, nil)
}

func (s *answeringStore) Init(ctx context.Context, identity string) error {
	return did(ctx, &s.line, "initialise", s.limit, func(ctx context.Context) error { return s.store.Init(ctx, identity) })
}

func (s *answeringStore) Adopt(ctx context.Context, identity string) error {
	return did(ctx, &s.line, "adopt", s.limit, func(ctx context.Context) error { return s.store.Adopt(ctx, identity) })
}

func (s *answeringStore) Stage(ctx context.Context, ref ArtifactRef) (Stage, error) {
	stage, err := ask(ctx, &s.line, "stage", 0, func(ctx context.Context) (Stage, error) { return s.store.Stage(ctx, ref) }, nil)
	if err != nil {
		return nil, err
	}
	return answeringStage{stage, ctx, s}, nil
}

func (s *answeringStore) Staged(ctx context.Context, id ArtifactID, name string) (io.ReadCloser, error) {
	return s.reader(ctx, func(ctx context.Context) (io.ReadCloser, error) { return s.store.Staged(ctx, id, name) })
}

func (s *answeringStore) Commit(ctx context.Context, m Manifest) (Manifest, error) {
	return ask(ctx, &s.line, "commit", 0, func(ctx context.Context) (Manifest, error) { return s.store.Commit(ctx, m) }, nil)
}

func (s *answeringStore) Discard(ctx context.Context, id ArtifactID) error {
	return did(ctx, &s.line, "discard", 0, func(ctx context.Context) error { return s.store.Discard(ctx, id) })
}

func (s *answeringStore) Get(ctx context.Context, ref ArtifactRef) (Manifest, error) {
	return ask(ctx, &s.line, "read", s.limit, func(ctx context.Context) (Manifest, error) { return s.store.Get(ctx, ref) }, nil)
}

func (s *answeringStore) Open(ctx context.Context, m Manifest, name string) (io.ReadCloser, error) {
	return s.reader(ctx, func(ctx context.Context) (io.ReadCloser, error) { return s.store.Open(ctx, m, name) })
}

func (s *answeringStore) Stored(ctx context.Context, m Manifest, name string) (io.ReadCloser, error) {
	return s.reader(ctx, func(ctx context.Context) (io.ReadCloser, error) { return s.store.Stored(ctx, m, name) })
}

func (s *answeringStore) List(ctx context.Context) iter.Seq2[Manifest, error] {
	return each(ctx, &s.line, "list", s.store.List)
}

func (s *answeringStore) Delete(ctx context.Context, ref ArtifactRef) error {
	return did(ctx, &s.line, "delete", 0, func(ctx context.Context) error { return s.store.Delete(ctx, ref) })
}

func (s *answeringStore) Sweep(ctx context.Context, keep func(ArtifactID) bool) (Swept, error) {
	return ask(ctx, &s.line, "sweep", 0, func(ctx context.Context) (Swept, error) { return s.store.Sweep(ctx, keep) }, nil)
}

func (s *answeringStore) Check(ctx context.Context) iter.Seq2[Finding, error] {
	return each(ctx, &s.line, "check", s.store.Check)
}

func (s *answeringStore) Recover(ctx context.Context) iter.Seq2[Recovered, error] {
	return each(ctx, &s.line, "recover", s.store.Recover)
}

func (s *answeringStore) Close() error { return s.hangUp(s.limit, s.store.Close) }

// answeringStage ends with the context that it was made with, and so does what is written to it.
type answeringStage struct {
	Stage
	ctx context.Context
	s   *answeringStore
}

func (g answeringStage) Create(name string) (io.WriteCloser, error) {
	if g.ctx.Err() != nil {
		return nil, context.Cause(g.ctx)
	}
	w, err := ask(g.ctx, &g.s.line, "create", g.s.limit, func(context.Context) (io.WriteCloser, error) { return g.Stage.Create(name) }, io.WriteCloser.Close)
	if err != nil {
		return nil, err
	}
	return &answeringWriter{ctx: g.ctx, s: g.s, to: w}, nil
}

// longestCall is how many bytes one call reads or writes.
const longestCall = 256 << 10

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
	s   *answeringStore
	to  io.WriteCloser
	buf buffer
}

func (w *answeringWriter) Write(p []byte) (done int, err error) {
	for done < len(p) && err == nil {
		switch {
		case w.s.gone.Load():
			return done, w.s.silent("write")
		case w.ctx.Err() != nil:
			return done, context.Cause(w.ctx)
		}
		buf := w.buf.take(len(p) - done)
		copy(buf, p[done:])
		var n int
		n, err = ask(w.ctx, &w.s.line, "write", w.s.limit, func(context.Context) (int, error) { return w.to.Write(buf) }, nil)
		done += n
	}
	return done, err
}

// Close waits for what is not on the medium yet.
func (w *answeringWriter) Close() error {
	return did(w.ctx, &w.s.line, "write", longer*w.s.limit, func(context.Context) error { return w.to.Close() })
}

func (s *answeringStore) reader(ctx context.Context, open func(context.Context) (io.ReadCloser, error)) (io.ReadCloser, error) {
	r, err := ask(ctx, &s.line, "read", s.limit, open, io.ReadCloser.Close)
	if err != nil {
		return nil, err
	}
	return &answeringReader{ctx: ctx, s: s, from: r}, nil
}

// answeringReader makes few calls, however little of it is asked for at a time: a call that can be left behind is not cheap.
type answeringReader struct {
	ctx  context.Context
	s    *answeringStore
	from io.ReadCloser
	buf  buffer
	rest []byte // of the last call
	err  error  // of the last call, told after the rest
}

func (r *answeringReader) Read(p []byte) (int, error) {
	switch {
	case r.ctx.Err() != nil:
		return 0, context.Cause(r.ctx)
	case len(p) == 0:
		return 0, nil
	}
	if len(r.rest) == 0 && r.err == nil {
		buf := r.buf.take(longestCall)
		var n int
		n, r.err = ask(r.ctx, &r.s.line, "read", r.s.limit, func(context.Context) (int, error) { return r.from.Read(buf) }, nil)
		r.rest = buf[:n]
	}
	if len(r.rest) == 0 {
		return 0, r.err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *answeringReader) Close() error {
	if r.s.gone.Load() {
		return nil // what was left behind may still read
	}
	return did(r.ctx, &r.s.line, "read", r.s.limit, func(context.Context) error { return r.from.Close() })
}
