package plain

import (
	"os"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain/chain"
)

var (
	Escape   = escape
	Unescape = unescape
	WriterID = writerID
	Sum      = chain.Sum
	Names    = func(ref providers.ArtifactRef, files []providers.File) []string { return shifted(ref, 0).names(files) }
)

// SetFail makes a store ask f before every change to the medium.
func SetFail(s providers.Store, f func(point string) error) { s.(*store).fail = f }

// MoveByLink is how files are moved where the kernel cannot rename without replacing.
func MoveByLink(dir *os.Root, name, newName string) error {
	f, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	return moveByLink(dir, int(f.Fd()), name, dir, int(f.Fd()), newName)
}

// Fault is what a store makes of an error of the operating system.
func Fault(s providers.Store, err error) error { return s.(*store).fault("write", "d/file", err) }

// WatchSync has f called after each sync that succeeded, until the returned function is called.
func WatchSync(f func(*os.File)) (stop func()) {
	real := syncFile
	syncFile = func(file *os.File) error {
		err := real(file)
		if err == nil {
			f(file)
		}
		return err
	}
	return func() { syncFile = real }
}
