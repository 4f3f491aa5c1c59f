package plain

import (
	"os"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain/chain"
	"github.com/holdfast-dr/holdfast/providers/plain/disk"
)

var (
	WriterID = writerID
	Sum      = chain.Sum
)

// SetFail makes a store ask f before every change to the medium.
func SetFail(s providers.Store, f func(point string) error) { s.(*store).fail = f }

// Fault is what a store makes of an error of the operating system.
func Fault(s providers.Store, err error) error { return s.(*store).fault("write", "d/file", err) }

// WatchSync has f called after each sync that succeeded, until the returned function is called.
func WatchSync(f func(*os.File)) (stop func()) {
	real := disk.Sync
	disk.Sync = func(file *os.File) error {
		err := real(file)
		if err == nil {
			f(file)
		}
		return err
	}
	return func() { disk.Sync = real }
}
