package observe

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dr/holdfast/reconcile"
)

// A call that does not even end with its context costs its own answer, and so much time, but nothing else.
func TestWithin(t *testing.T) {
	for name, c := range map[string]struct {
		ask  func(ctx context.Context, never <-chan struct{}) string
		want string
		took time.Duration
	}{
		"answers":      {func(context.Context, <-chan struct{}) string { return "here" }, "here", 0},
		"ends in time": {func(ctx context.Context, _ <-chan struct{}) string { <-ctx.Done(); return "gave up" }, "gave up", timeout},
		"ends a bit later": {func(ctx context.Context, _ <-chan struct{}) string {
			<-ctx.Done()
			time.Sleep(time.Second)
			return "late"
		}, "late", timeout + time.Second},
		"never ends": {func(_ context.Context, never <-chan struct{}) string { <-never; return "too late" }, "silent", timeout + patience},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				never := make(chan struct{})
				began := time.Now()
				got := within(t.Context(), func(ctx context.Context) string { return c.ask(ctx, never) }, "silent")
				if took := time.Since(began); got != c.want || took != c.took {
					t.Errorf("got %q after %v, want %q after %v", got, took, c.want, c.took)
				}
				close(never)
			})
		})
	}
	if seen := unanswered(reconcile.Seen{}); !strings.Contains(seen.Error, "no answer within 1m0s") {
		t.Errorf("got %q", seen.Error)
	}
}
