package sqlite

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
)

// When a process closes any descriptor of a file, the kernel drops all POSIX
// locks the process holds on it, and SQLite's go with them
// (https://sqlite.org/howtocorrupt.html, section 2.2). So nothing here opens a
// file that SQLite has open in this process, other than through SQLite: holdfast's own files
// are told by their identity before they are opened, and sources by the list below.
var sources struct {
	sync.Mutex
	open []fs.FileInfo
}

// hold notes that SQLite opens the file. The caller calls release when SQLite has closed it.
func hold(info fs.FileInfo) (release func()) {
	sources.Lock()
	defer sources.Unlock()
	sources.open = append(sources.open, info)
	return func() {
		sources.Lock()
		defer sources.Unlock()
		for i, o := range sources.open {
			if o == info {
				sources.open = append(sources.open[:i:i], sources.open[i+1:]...)
				return
			}
		}
	}
}

const magic = "SQLite format 3\x00"

// isDatabase looks for SQLite's mark at the start of a file. One that is open as a source is a database.
func isDatabase(path string, info fs.FileInfo) (bool, error) {
	sources.Lock()
	defer sources.Unlock()
	for _, o := range sources.open {
		if os.SameFile(o, info) {
			return true, nil
		}
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(f, head); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return false, nil
		}
		return false, err
	}
	return string(head) == magic, nil
}

// companions end the names of the files that SQLite keeps beside a database.
var companions = []string{"-wal", "-shm", "-journal"}

// own are holdfast's own files, under any name.
type own []fs.FileInfo

func ownFiles(protected []string) (own, error) {
	var files own
	for _, path := range protected {
		for _, suffix := range append([]string{""}, companions...) {
			info, err := os.Stat(path + suffix)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("find own file: %w", err)
			}
			files = append(files, info)
		}
	}
	return files, nil
}

func (o own) has(info fs.FileInfo) bool {
	for _, f := range o {
		if os.SameFile(f, info) {
			return true
		}
	}
	return false
}

func errOwn(path string) error {
	return fmt.Errorf("%s is an open file of holdfast itself, which is never opened a second time", path)
}
