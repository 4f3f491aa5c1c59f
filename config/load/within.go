package load

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime/metrics"
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/diag"
)

// limits end what the bounds on single expressions did not foresee. What they stop was
// far from any configuration that people write: 100,000 objects take seconds.
type limits struct {
	time   time.Duration
	memory uint64 // bytes of the heap, beyond what is there before
}

var usual = limits{time: 2 * time.Minute, memory: 3 << 30}

// Within is Load that ends with the context, whatever the configuration computes,
// and within bounds of time and memory. After an error it may go on computing for a while,
// so that a command had better end.
func Within(ctx context.Context, fsys fs.FS, opts Options) (*config.Document, diag.List, error) {
	l := newLoader(opts)
	var list diag.List
	err := within(ctx, usual, func() { list = l.load(fsys) })
	if err != nil {
		l.eval.Budget.Stop()
		return nil, nil, fmt.Errorf("work out the configuration: %w", err)
	}
	return l.doc, list, nil
}

func within(ctx context.Context, most limits, work func()) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		work()
	}()
	before := heap()
	deadline := time.NewTimer(most.time)
	defer deadline.Stop()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-deadline.C:
			return fmt.Errorf("it takes more than %v; look for expressions that compute much", most.time)
		case <-look.C:
			if now := heap(); now > before+most.memory {
				return errors.New("it takes too much memory; look for expressions that compute much")
			}
		}
	}
}

// heap is the memory of objects, also of those that are garbage already.
func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
