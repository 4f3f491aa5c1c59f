package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// origin is what lies under an FS: a git tree or a directory.
type origin interface {
	// list gives every entry of a folder ("." or "a/b"), in any order; it may
	// stop after maxFiles+1 entries.
	list(dir string) ([]item, error)
	// read gives the content of a plain file; more than maxFileSize bytes are an error.
	read(dir string, it item) ([]byte, error)
	// size gives the size of a plain file whose item does not know it.
	size(dir string, it item) (int64, error)
	// modified is the time shown for a file.
	modified() time.Time
}

// files is an fs.FS over an origin. Its root listing and the configuration
// files in it were read when it was made; the rest is read on demand.
type files struct {
	under origin
	root  []item
	data  map[string][]byte
}

var (
	_ fs.ReadDirFS  = (*files)(nil)
	_ fs.ReadFileFS = (*files)(nil)
)

// newFiles lists the root of an origin and reads its configuration files.
func newFiles(under origin) (*files, error) {
	f := &files{under: under, data: map[string][]byte{}}
	items, err := under.list(".")
	if err != nil {
		return nil, err
	}
	if f.root, err = admit(items, true); err != nil {
		return nil, err
	}
	sortItems(f.root)
	var total int64
	for i, it := range f.root {
		if !IsConfig(it.name) {
			continue
		}
		content, err := under.read(".", it)
		if err != nil {
			return nil, err
		}
		if total += int64(len(content)); total > maxTotalSize {
			return nil, fmt.Errorf("the configuration files have more than %d bytes together; split the configuration", maxTotalSize)
		}
		if bytes.HasPrefix(content, []byte("version https://git-lfs.github.com/spec/")) {
			return nil, fmt.Errorf("%s is a pointer of Git LFS in place of the file; keep configuration out of LFS (git lfs untrack), or read a directory after git lfs pull", it.name)
		}
		f.root[i].size = int64(len(content))
		f.data[it.name] = content
	}
	return f, nil
}

// put gives a configuration file another content.
func (f *files) put(name string, content []byte) {
	f.data[name] = content
	i := slices.IndexFunc(f.root, func(it item) bool { return it.name == name })
	f.root[i].size = int64(len(content))
}

func sortItems(items []item) {
	slices.SortFunc(items, func(a, b item) int { return strings.Compare(a.name, b.name) })
}

// Open implements fs.FS.
func (f *files) Open(name string) (fs.File, error) {
	it, err := f.find("open", name)
	if err != nil {
		return nil, err
	}
	if it.mode.IsDir() {
		entries, err := f.ReadDir(name)
		if err != nil {
			return nil, err
		}
		return &openDirectory{info: f.info(path.Dir(name), it), name: name, entries: entries}, nil
	}
	content, err := f.content("open", name, it)
	if err != nil {
		return nil, err
	}
	it.size = int64(len(content))
	return &openFile{Reader: bytes.NewReader(content), info: f.info(path.Dir(name), it)}, nil
}

// ReadFile implements fs.ReadFileFS.
func (f *files) ReadFile(name string) ([]byte, error) {
	it, err := f.find("read", name)
	if err != nil {
		return nil, err
	}
	if it.mode.IsDir() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("is a directory")}
	}
	content, err := f.content("read", name, it)
	return slices.Clone(content), err
}

// ReadDir implements fs.ReadDirFS.
func (f *files) ReadDir(name string) ([]fs.DirEntry, error) {
	it, err := f.find("readdir", name)
	if err != nil {
		return nil, err
	}
	if !it.mode.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	items, err := f.items(name)
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	entries := make([]fs.DirEntry, len(items))
	for i, it := range items {
		entries[i] = fs.FileInfoToDirEntry(f.info(name, it))
	}
	return entries, nil
}

func (f *files) content(op, name string, it item) (content []byte, err error) {
	defer guard(&err)
	if content, ok := f.data[name]; ok {
		return content, nil
	}
	if content, err = f.under.read(path.Dir(name), it); err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return content, nil
}

// items is the judged listing of a folder, by name.
func (f *files) items(dir string) (kept []item, err error) {
	defer guard(&err)
	if dir == "." {
		return f.root, nil
	}
	all, err := f.under.list(dir)
	if err != nil {
		return nil, err
	}
	if kept, err = admit(all, false); err != nil {
		return nil, err
	}
	sortItems(kept)
	return kept, nil
}

func (f *files) find(op, name string) (item, error) {
	if !fs.ValidPath(name) {
		return item{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	at := item{name: ".", mode: fs.ModeDir}
	if name == "." {
		return at, nil
	}
	parts := strings.Split(name, "/")
	if len(parts) > maxDepth {
		return item{}, &fs.PathError{Op: op, Path: name, Err: fmt.Errorf("deeper than %d folders", maxDepth)}
	}
	dir := "."
	for _, part := range parts {
		if !at.mode.IsDir() {
			return item{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
		}
		items, err := f.items(dir)
		if err != nil {
			return item{}, &fs.PathError{Op: op, Path: name, Err: err}
		}
		i, ok := slices.BinarySearchFunc(items, part, func(it item, part string) int { return strings.Compare(it.name, part) })
		if !ok {
			return item{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
		}
		at, dir = items[i], path.Join(dir, part)
	}
	return at, nil
}

func (f *files) info(dir string, it item) *fileInfo {
	return &fileInfo{item: it, modified: f.under.modified(), measure: func() (int64, error) { return f.under.size(dir, it) }}
}

// fileInfo implements fs.FileInfo.
type fileInfo struct {
	item
	modified time.Time
	measure  func() (int64, error)
}

func (i *fileInfo) Name() string       { return i.name }
func (i *fileInfo) IsDir() bool        { return i.mode.IsDir() }
func (i *fileInfo) ModTime() time.Time { return i.modified }
func (i *fileInfo) Sys() any           { return nil }

// Size is 0 for a folder and for a file that can no longer be measured.
func (i *fileInfo) Size() int64 {
	if i.mode.IsDir() {
		return 0
	}
	if i.size >= 0 {
		return i.size
	}
	size, err := i.measure()
	if err != nil {
		return 0
	}
	return size
}

// Mode is read-only whatever the mode in git or on disk.
func (i *fileInfo) Mode() fs.FileMode {
	if i.mode.IsDir() {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

// openFile implements fs.File, io.Seeker and io.ReaderAt.
type openFile struct {
	*bytes.Reader
	info *fileInfo
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFile) Close() error               { return nil }

// openDirectory implements fs.ReadDirFile.
type openDirectory struct {
	info    *fileInfo
	name    string
	entries []fs.DirEntry
}

func (d *openDirectory) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *openDirectory) Close() error               { return nil }

func (d *openDirectory) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: errors.New("is a directory")}
}

func (d *openDirectory) ReadDir(n int) ([]fs.DirEntry, error) {
	if n > 0 && len(d.entries) == 0 {
		return nil, io.EOF
	}
	if n <= 0 || n > len(d.entries) {
		n = len(d.entries)
	}
	head := d.entries[:n]
	d.entries = d.entries[n:]
	return head, nil
}
