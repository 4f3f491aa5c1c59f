package database

import (
	"errors"
	"os"
	"path/filepath"
	"time"
)

// reserve is a file that only takes room. When the disk is full it is given back, so that the outcomes of what is running
// can still be written while people make room.
type reserve struct {
	path string
	next time.Time // when to look again whether there is room for it
}

const (
	reserveBytes = 16 << 20
	reserveRoom  = 4 * reserveBytes // it is made only where so much is free
	reservePause = time.Minute
)

// fill makes the file if there is room. It is a precaution: not having it is no error.
func (r *reserve) fill() {
	r.next = time.Now().Add(reservePause)
	if _, err := os.Lstat(r.path); err == nil {
		return
	}
	if free, err := freeBytes(filepath.Dir(r.path)); err != nil || free < reserveRoom {
		return
	}
	f, err := os.OpenFile(r.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return
	}
	if err := errors.Join(allocate(f, reserveBytes), f.Close()); err != nil {
		os.Remove(r.path)
	}
}

// refill makes the file again some time after it was spent.
func (r *reserve) refill() {
	if time.Now().After(r.next) {
		r.fill()
	}
}

// spend gives the room back and reports whether there was any.
func (r *reserve) spend() bool {
	r.next = time.Now().Add(reservePause)
	return os.Remove(r.path) == nil
}
