package priority_test

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers/priority"
	"github.com/holdfast-dr/holdfast/providers/process"
)

// TestJoin: work gives way, the programs it starts do, and nothing else does.
func TestJoin(t *testing.T) {
	nice := func() int {
		raw, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
		if err != nil {
			t.Error(err)
		}
		return 20 - raw // the call of the kernel, unlike that of the library
	}
	before := nice()
	ctx := priority.With(t.Context(), priority.Priority{Nice: 15, IONice: "idle"})
	done := make(chan int)
	go func() {
		if !priority.Join(ctx) {
			t.Error("not joined")
		}
		done <- nice()
	}()
	if got := <-done; got != 15 {
		t.Errorf("nice %d, want 15", got)
	}
	res, err := process.Run(ctx, process.Spec{Argv: []string{"sh", "-c", "nice; ionice"}})
	if err != nil || !strings.HasPrefix(res.Stdout, "15\n") || !strings.Contains(res.Stdout, "idle") {
		t.Errorf("program: %q, %v", res.Stdout, err)
	}
	for range 20 {
		done := make(chan int)
		go func() { done <- nice() }()
		if got := <-done; got != before {
			t.Errorf("other work has nice %d, had %d", got, before)
		}
	}
	res, err = process.Run(t.Context(), process.Spec{Argv: []string{"nice"}})
	if err != nil || strings.HasPrefix(res.Stdout, "15") {
		t.Errorf("another program: %q, %v", res.Stdout, err)
	}
	if priority.Join(t.Context()) || priority.Given(priority.With(t.Context(), priority.Priority{})) {
		t.Error("joined without a priority")
	}
}
