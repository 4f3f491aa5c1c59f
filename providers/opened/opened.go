// Package opened keeps those who read files as bytes and SQLite out of each other's way within this process.
//
// When a process closes any descriptor of a file, the kernel drops all POSIX locks the process holds on that file, and
// SQLite's go with them: another process may then write under a reader that believes it is alone
// (https://sqlite.org/howtocorrupt.html, section 2.2). So a database that is open in SQLite is not opened by a walker,
// and one that a walker has open is not opened in SQLite. Holdfast's own databases stay open for as long as it runs: Own tells them.
package opened

import (
	"context"
	"sync"
)

// Inode names a file, whatever it is called.
type Inode struct{ Dev, Ino uint64 }

var files = struct {
	sync.Mutex
	users   map[Inode]int // readers, or -1 for SQLite
	changed chan struct{} // closed when a file becomes free; nil while nobody waits
}{users: map[Inode]int{}}

// Database waits until nobody else has the file open and takes it for SQLite. The caller calls release after SQLite has closed it.
func Database(ctx context.Context, f Inode) (release func(), err error) {
	return take(ctx, f, func(users int) (int, bool) { return -1, users == 0 })
}

// Read waits until SQLite does not have the file open. The caller calls release after it has closed its descriptor.
func Read(ctx context.Context, f Inode) (release func(), err error) {
	return take(ctx, f, reader)
}

// TryRead is Read without waiting; false means that SQLite has the file open.
func TryRead(f Inode) (release func(), ok bool) {
	files.Lock()
	defer files.Unlock()
	return try(f, reader)
}

func reader(users int) (int, bool) { return users + 1, users >= 0 }

func take(ctx context.Context, f Inode, next func(users int) (int, bool)) (func(), error) {
	for {
		files.Lock()
		release, ok := try(f, next)
		if !ok && files.changed == nil {
			files.changed = make(chan struct{})
		}
		changed := files.changed
		files.Unlock()
		if ok {
			return release, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-changed:
		}
	}
}

// try is called with the lock held.
func try(f Inode, next func(users int) (int, bool)) (func(), bool) {
	users, ok := next(files.users[f])
	if !ok {
		return nil, false
	}
	files.users[f] = users
	return func() { give(f) }, true
}

func give(f Inode) {
	files.Lock()
	defer files.Unlock()
	if files.users[f] > 1 {
		files.users[f]--
		return
	}
	delete(files.users, f)
	if files.changed != nil {
		close(files.changed)
		files.changed = nil
	}
}
