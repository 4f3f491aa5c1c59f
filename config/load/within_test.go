package load

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

func TestWithinEnds(t *testing.T) {
	stop := errors.New("interrupted")
	for name, c := range map[string]struct {
		most limits
		stop bool
		grow int
		want string
	}{
		"when it is told to": {most: usual, stop: true, want: "interrupted"},
		"after its time":     {most: limits{time: time.Millisecond, memory: 1 << 40}, want: "takes more than 1ms"},
		"out of memory":      {most: limits{time: time.Hour, memory: 64 << 20}, grow: 1 << 20, want: "too much memory"},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		over := make(chan struct{})
		started := make(chan struct{})
		if c.stop {
			go func() { <-started; cancel(stop) }()
		}
		var held [][]byte
		err := within(ctx, c.most, func() {
			close(started)
			for {
				select {
				case <-over:
					return
				default:
					held = append(held, make([]byte, c.grow))
					time.Sleep(time.Millisecond)
				}
			}
		})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		close(over)
		cancel(nil)
	}
}

func TestWithinOfACanceledContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	doc, _, err := Within(ctx, fstest.MapFS{}, Options{})
	if doc != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", doc, err)
	}
}
