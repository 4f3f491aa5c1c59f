package archive

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/attribute"
)

// losses counts what a restore did not put back as it was.
type losses struct {
	owners, bits, flags, devices, incomplete atomic.Int64

	mu     sync.Mutex
	xattrs map[string]int64 // by kind
}

func (l *losses) note(lost attribute.Lost) {
	if lost.Owner {
		l.owners.Add(1)
	}
	if lost.Bits {
		l.bits.Add(1)
	}
	if len(lost.Xattrs) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.xattrs == nil {
		l.xattrs = map[string]int64{}
	}
	for _, name := range lost.Xattrs {
		l.xattrs[attribute.Kind(name)]++
	}
}

// tell gives a warning for each kind of loss.
func (l *losses) tell(req providers.RestoreRequest) {
	for _, loss := range []struct {
		n    int64
		text string
	}{
		{l.owners.Load(), "the owner or group of %d entries was not restored: only root can set it, where the file system has it"},
		{l.bits.Load(), "setuid and setgid bits of %d entries were not restored: they have another owner"},
		{l.flags.Load(), "the flags of %d entries (immutable, append-only, nodump, noatime) were not restored: the file system has none, or only root can set them"},
		{l.incomplete.Load(), "%d files were left out: they could not be read to their end when they were captured"},
		{l.devices.Load(), "%d device nodes were left out: they are never made"},
	} {
		if loss.n > 0 {
			req.Warnf(loss.text, loss.n)
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(l.xattrs)) {
		req.Warnf("%d extended attributes (%s) were not restored: the file system or the kernel does not take them", l.xattrs[kind], kind)
	}
}
