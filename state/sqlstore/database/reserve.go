package database

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
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
	reserveShare = 4       // of what is free it takes one part in so many, at most
	leastRoom    = 1 << 20 // without a reserve, nothing new is begun where less is free
	reservePause = time.Minute
)

// fill makes the file if there is room, smaller where there is little.
func (r *reserve) fill() {
	r.next = time.Now().Add(reservePause)
	if r.there() {
		return
	}
	free, err := freeBytes(filepath.Dir(r.path))
	if err != nil || free < leastRoom {
		return
	}
	f, err := os.OpenFile(r.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return
	}
	if err := errors.Join(allocate(f, min(reserveBytes, free/reserveShare)), f.Close()); err != nil {
		os.Remove(r.path)
	}
}

func (r *reserve) there() bool {
	_, err := os.Lstat(r.path)
	return err == nil
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

// Room says why nothing new should be begun: what becomes of it could not be written. It wraps ENOSPC; nil: there is room.
func (d *DB) Room() error {
	if d.readOnly || d.reserve.there() {
		return nil
	}
	dir := filepath.Dir(d.path)
	if free, err := freeBytes(dir); err != nil || free >= leastRoom {
		return err
	}
	return fmt.Errorf("%w in %s, where the state is: less than %d MiB are free, so what becomes of this could not be recorded; make room first",
		&fullError{}, dir, leastRoom>>20)
}

// fullError is a disk without room, in the words of the engine's own.
type fullError struct{}

func (*fullError) Error() string { return "disk full" }
func (*fullError) Unwrap() error { return syscall.ENOSPC }
