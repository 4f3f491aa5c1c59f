package providers

import (
	"context"
	"iter"
	"sync/atomic"
	"time"
)

// line leads to something that may never answer: a call into a file system whose server is gone ends neither with its context nor
// by itself. It is left behind with its goroutine then, some time after its own is over, and its caller gets an error, as does every later
// one. What was left behind may still take effect, should the server come back while the process lives.
type line struct {
	to       string // an address
	silence  error  // wraps ErrNoAnswer
	patience time.Duration
	gone     atomic.Bool // a call was left behind
}

func (l *line) silent(op string) error {
	return &Error{Op: op, Target: l.to, Err: l.silence, Hint: "A mounted file system whose server is gone waits for ever: look at the mount and its server"}
}

type answered[T any] struct {
	value T
	err   error
}

// ask makes a call with a time limit (0: only that of ctx). What a call opens is open beyond it, so that call gets ctx without the
// limit; late closes what comes too late.
func ask[T any](ctx context.Context, l *line, op string, limit time.Duration, call func(context.Context) (T, error), late func(T) error) (T, error) {
	if l.gone.Load() {
		var none T
		return none, l.silent(op)
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
	got, ok := await(limited, l.patience, answers)
	if !ok {
		l.gone.Store(true)
		close(left)
		return got.value, l.silent(op)
	}
	return got.value, got.err
}

// await receives a value, or gives up when the context ended and patience with it.
func await[T any](ctx context.Context, patience time.Duration, from <-chan T) (v T, ok bool) {
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
func each[T any](ctx context.Context, l *line, op string, call func(context.Context) iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		next, stop := iter.Pull2(call(ctx))
		for {
			got, err := ask(ctx, l, op, 0, func(context.Context) (p pulled[T], _ error) {
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
func did(ctx context.Context, l *line, op string, limit time.Duration, call func(context.Context) error) error {
	_, err := ask(ctx, l, op, limit, func(ctx context.Context) (struct{}, error) { return struct{}{}, call(ctx) }, nil)
	return err
}

// hangUp closes what is at the other end. What was left behind still has it.
func (l *line) hangUp(limit time.Duration, closes func() error) error {
	if l.gone.Load() {
		return nil
	}
	return did(context.Background(), l, "close", limit, func(context.Context) error { return closes() })
}
