package archive

import (
	"os"
	"sync/atomic"

	"github.com/holdfast-dr/holdfast/providers"
)

// losses counts what a restore did not put back as it was.
type losses struct{ owners, bits, xattrs, devices atomic.Int64 }

// note counts what only root can set.
func (l *losses) note(asRoot bool, n node) {
	if asRoot {
		return
	}
	if n.uid != os.Geteuid() || n.gid != os.Getegid() {
		l.owners.Add(1)
	}
	if n.mode&^0o777 != 0 {
		l.bits.Add(1)
	}
}

// tell gives a warning for each kind of loss.
func (l *losses) tell(req providers.RestoreRequest) {
	for _, loss := range []struct {
		n    int64
		text string
	}{
		{l.owners.Load(), "the owner or group of %d entries was not restored: only root can set it"},
		{l.bits.Load(), "setuid, setgid or sticky bits of %d entries were not restored: only root can set them"},
		{l.xattrs.Load(), "%d extended attributes were not restored: the file system or the kernel does not take them"},
		{l.devices.Load(), "%d device nodes were left out: they are never made"},
	} {
		if loss.n > 0 {
			req.Warnf(loss.text, loss.n)
		}
	}
}
