package providers

import (
	"errors"
	"io/fs"
	"os"
)

// actions are what people call what package os names after a system call.
var actions = map[string]string{
	"openat": "open", "statat": "look at", "mkdirat": "make", "removeat": "remove", "unlinkat": "remove", "renameat": "rename", "readlinkat": "read the link",
	"symlinkat": "link", "linkat": "link", "chmodat": "set the mode of", "chownat": "set the owner of", "lchownat": "set the owner of", "chtimesat": "set the times of",
}

// Plainly names the action in an error of package os that names a system call, also in one of several that were joined. Other errors stay.
func Plainly(err error) error {
	switch e := err.(type) {
	case *fs.PathError:
		if do, ok := actions[e.Op]; ok {
			return &fs.PathError{Op: do, Path: e.Path, Err: e.Err}
		}
	case *os.LinkError:
		if do, ok := actions[e.Op]; ok {
			return &os.LinkError{Op: do, Old: e.Old, New: e.New, Err: e.Err}
		}
	case interface{ Unwrap() []error }:
		return plainlyAll(err, e.Unwrap())
	}
	return err
}

// plainlyAll keeps an error of several whose text is not made of theirs alone.
func plainlyAll(err error, parts []error) error {
	if err.Error() != errors.Join(parts...).Error() {
		return err
	}
	plain := make([]error, len(parts))
	for i, p := range parts {
		plain[i] = Plainly(p)
	}
	return errors.Join(plain...)
}
