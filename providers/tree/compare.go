package tree

import (
	"context"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/config/glob"
	"github.com/holdfast-dr/holdfast/providers"
)

// counts are one directory's share of a difference, summed under one lock per directory.
type counts struct {
	srcFiles, srcBytes   int64
	dstFiles             int64
	copyFiles, copyBytes int64
	deleteFiles          int64
}

const sampleSize = 20

// sample keeps the first paths in sorted order, whatever order they come in.
type sample []string

func (s *sample) add(dir, name string) {
	if full := len(*s) == sampleSize; full && dir != "" && dir > (*s)[sampleSize-1] {
		return
	}
	path := join(dir, name)
	i, _ := slices.BinarySearch(*s, path)
	if i == sampleSize {
		return
	}
	*s = slices.Insert(*s, i, path)
	*s = (*s)[:min(len(*s), sampleSize)]
}

// comparison counts what a pass would do.
type comparison struct {
	mu   sync.Mutex
	diff providers.MirrorDiff
}

func compare(ctx context.Context, s *sides, exclude glob.Matcher) (providers.MirrorDiff, error) {
	c := &comparison{}
	err := run(ctx, s, exclude, func(*walk) visitor { return c })
	return c.diff, err
}

func (c *comparison) visit(b *both, e *entry) (bool, error) {
	n := &b.counts
	switch {
	case !e.inSrc:
		if e.dst.isDir() {
			return true, nil
		}
		n.dstFiles++
		c.deletes(b, e)
		return false, nil
	case e.src.isDir():
		if e.inDst && !e.dst.isDir() {
			n.dstFiles++
			c.deletes(b, e)
		}
		return true, nil
	}
	n.srcFiles++
	if e.src.isFile() {
		n.srcBytes += e.src.size
	}
	displaced := e.inDst && e.dst.isDir()
	if e.inDst && !displaced {
		n.dstFiles++
		same, err := sameContent(b, e)
		if err != nil {
			return false, c.fail(join(b.path, e.name), err)
		}
		if same {
			return false, nil
		}
	}
	n.copyFiles++
	if e.src.isFile() {
		n.copyBytes += e.src.size
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	(*sample)(&c.diff.CopySample).add(b.path, e.name)
	return displaced, nil
}

func (c *comparison) deletes(b *both, e *entry) {
	b.counts.deleteFiles++
	c.mu.Lock()
	defer c.mu.Unlock()
	(*sample)(&c.diff.DeleteSample).add(b.path, e.name)
}

func (c *comparison) leftover(*both, string) error { return nil }

func (c *comparison) leave(b *both) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.diff.SourceFiles += b.counts.srcFiles
	c.diff.SourceBytes += b.counts.srcBytes
	c.diff.TargetFiles += b.counts.dstFiles
	c.diff.CopyFiles += b.counts.copyFiles
	c.diff.CopyBytes += b.counts.copyBytes
	c.diff.DeleteFiles += b.counts.deleteFiles
	return nil
}

// fail ends a comparison: numbers that leave something out would be wrong ones.
func (c *comparison) fail(path string, err error) error { return at(path, err) }

// sameContent compares two entries that are not directories, without regard to mode and owner.
func sameContent(b *both, e *entry) (bool, error) {
	if e.src.kind() != e.dst.kind() {
		return false, nil
	}
	switch e.src.kind() {
	case unix.S_IFREG:
		return e.src.size == e.dst.size && e.src.mtime == e.dst.mtime, nil
	case unix.S_IFLNK:
		if e.src.size != e.dst.size {
			return false, nil
		}
		to, err := b.src.readlink(e.name)
		if err != nil {
			return false, err
		}
		has, err := b.dst.readlink(e.name)
		return to == has, err
	default:
		return e.src.rdev == e.dst.rdev, nil
	}
}

// sameOwner compares what is mended without copying data.
func sameOwner(src, dst *info) bool {
	perm := src.perm()
	if src.uid != dst.uid || src.gid != dst.gid {
		if privileged {
			return false
		}
		perm &^= unix.S_ISUID | unix.S_ISGID // meant for the owner, who cannot be set
	}
	return src.kind() == unix.S_IFLNK || perm == dst.perm()
}
