package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/holdfast-dr/holdfast/providers/opened"
)

// hold takes a database and, when it is there, its shared memory file for SQLite; see package opened.
func hold(ctx context.Context, path string, info fs.FileInfo) (release func(), err error) {
	free, err := opened.Database(ctx, inodeOf(info))
	if err != nil {
		return nil, err
	}
	shm, err := os.Stat(path + "-shm")
	if err != nil {
		return free, nil // not in write-ahead mode, or nobody has it open yet
	}
	freeShm, err := opened.Database(ctx, inodeOf(shm))
	if err != nil {
		free()
		return nil, err
	}
	return func() { freeShm(); free() }, nil
}

func inodeOf(info fs.FileInfo) opened.Inode {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return opened.Inode{}
	}
	return opened.Inode{Dev: st.Dev, Ino: st.Ino}
}

const magic = "SQLite format 3\x00"

// isDatabase looks for SQLite's mark at the start of a file. One that is open as a source is a database.
func isDatabase(path string, info fs.FileInfo) (bool, error) {
	release, ok := opened.TryRead(inodeOf(info))
	if !ok {
		return true, nil
	}
	defer release()
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
