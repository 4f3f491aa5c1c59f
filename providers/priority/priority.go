// Package priority lets work give way to other programs. The kernel knows the priority of threads: a goroutine that joins gets a thread of its
// own, which ends with it, and the programs that it starts inherit.
package priority

import (
	"context"
	"runtime"

	"golang.org/x/sys/unix"
)

// Priority is how much work gives way; the zero Priority does not.
type Priority struct {
	Nice   int    // 1 to 19, as of nice(1)
	IONice string // "idle" or "best-effort" (its last level), as of ionice(1)
}

type key struct{}

// With gives a context whose work gives way.
func With(ctx context.Context, p Priority) context.Context {
	if p == (Priority{}) {
		return ctx
	}
	return context.WithValue(ctx, key{}, p)
}

// Given reports whether work of the context gives way.
func Given(ctx context.Context) bool { return ctx.Value(key{}) != nil }

// Join makes the rest of a goroutine give way as the context says, and reports whether it does. The goroutine must end when that work ends, and
// may not be unlocked from its thread. What the kernel refuses is left as it is.
func Join(ctx context.Context) bool {
	p, ok := ctx.Value(key{}).(Priority)
	if !ok {
		return false
	}
	runtime.LockOSThread()
	if p.Nice > 0 {
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, p.Nice)
	}
	if class := classes[p.IONice]; class != 0 {
		_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, whoThread, 0, class)
	}
	return true
}

// As ioprio_set(2) has it: a class above 13 bits of level.
const whoThread = 1

var classes = map[string]uintptr{"idle": 3 << 13, "best-effort": 2<<13 | 7}
