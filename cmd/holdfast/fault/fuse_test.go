package fault_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Requests of the kernel's FUSE protocol, as in linux/fuse.h, version 7.31.
const (
	fuseLookup      = 1
	fuseForget      = 2
	fuseGetattr     = 3
	fuseSetattr     = 4
	fuseReadlink    = 5
	fuseMkdir       = 9
	fuseUnlink      = 10
	fuseRmdir       = 11
	fuseRename      = 12
	fuseLink        = 13
	fuseOpen        = 14
	fuseRead        = 15
	fuseWrite       = 16
	fuseStatfs      = 17
	fuseRelease     = 18
	fuseFsync       = 20
	fuseFlush       = 25
	fuseInit        = 26
	fuseOpendir     = 27
	fuseReaddir     = 28
	fuseReleasedir  = 29
	fuseFsyncdir    = 30
	fuseCreate      = 35
	fuseInterrupt   = 36
	fuseDestroy     = 38
	fuseBatchForget = 42
	fuseFallocate   = 43
	fuseRename2     = 45

	fuseRoot    = 1
	fuseInHead  = 40
	fuseOutHead = 16
	mostWritten = 128 << 10
)

var native = binary.NativeEndian

// node is a file or directory that the kernel knows. Its descriptor stays valid whatever becomes of its names.
type node struct {
	fd    int // O_PATH
	path  string
	inode uint64
	seen  uint64 // how often the kernel was told of it
}

// handle is an open file or directory.
type handle struct {
	*node
	file    *os.File
	entries []fs.DirEntry
}

// passthrough serves a directory as a FUSE file system, one request after the other. Whether something fails is asked of fails.
type passthrough struct {
	dev     int
	nodes   map[uint64]*node
	byInode map[uint64]uint64
	handles map[uint64]*handle
	next    uint64
	asks    int // the thread whose request is answered
	fails   func(op, path string) error
	synced  func(path string) error
}

// mountPassthrough mounts a directory at a place. The server must then run.
func mountPassthrough(dir, at string) (*passthrough, error) {
	dev, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Mount("fault", at, "fuse", unix.MS_NODEV|unix.MS_NOSUID, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", dev)); err != nil {
		return nil, err
	}
	return &passthrough{
		dev: dev, nodes: map[uint64]*node{fuseRoot: {fd: fd}}, byInode: map[uint64]uint64{}, handles: map[uint64]*handle{}, next: fuseRoot,
	}, nil
}

// serve answers requests until the file system is unmounted.
func (p *passthrough) serve(lock, unlock func()) error {
	buf := make([]byte, mostWritten+4096)
	for {
		n, err := unix.Read(p.dev, buf)
		switch {
		case errors.Is(err, unix.ENODEV):
			return nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENOENT), errors.Is(err, unix.EAGAIN):
			continue
		case err != nil:
			return err
		}
		lock()
		p.asks = int(native.Uint32(buf[32:]))
		reply, err := p.answer(native.Uint32(buf[4:]), native.Uint64(buf[16:]), buf[fuseInHead:n])
		unlock()
		op := native.Uint32(buf[4:])
		if op == fuseForget || op == fuseBatchForget || op == fuseInterrupt {
			continue
		}
		out := make([]byte, fuseOutHead, fuseOutHead+len(reply))
		var errno syscall.Errno
		if err != nil {
			reply = nil
			if !errors.As(err, &errno) {
				errno = unix.EIO
			}
		}
		native.PutUint32(out, uint32(fuseOutHead+len(reply)))
		native.PutUint32(out[4:], uint32(-int32(errno)))
		copy(out[8:16], buf[8:16])
		if _, err := unix.Write(p.dev, append(out, reply...)); err != nil && !errors.Is(err, unix.ENOENT) { // ENOENT: nobody waits for it any more
			return err
		}
	}
}

// name cuts a name that ends with a zero byte off the front.
func name(b []byte) (string, []byte) {
	head, rest, _ := bytes.Cut(b, []byte{0})
	return string(head), rest
}

func self(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

func (p *passthrough) answer(op uint32, id uint64, in []byte) ([]byte, error) {
	nd := p.nodes[id]
	if nd == nil && op != fuseInit && op != fuseBatchForget && op != fuseDestroy && op != fuseInterrupt {
		return nil, unix.ESTALE
	}
	switch op {
	case fuseInit:
		out := make([]byte, 64)
		native.PutUint32(out, 7)
		native.PutUint32(out[4:], 31)
		native.PutUint32(out[8:], 0)     // no reading ahead: the kernel would try again what fails
		native.PutUint32(out[12:], 1<<5) // writes of more than a page
		native.PutUint16(out[16:], 16)
		native.PutUint16(out[18:], 12)
		native.PutUint32(out[20:], mostWritten)
		native.PutUint32(out[24:], 1)
		return out, nil
	case fuseForget:
		p.forget(id, native.Uint64(in))
	case fuseBatchForget:
		for i := range int(native.Uint32(in)) {
			p.forget(native.Uint64(in[8+16*i:]), native.Uint64(in[16+16*i:]))
		}
	case fuseLookup:
		child, _ := name(in)
		return p.entry(nd, child)
	case fuseGetattr:
		return p.attr(nd)
	case fuseSetattr:
		return p.setattr(nd, in)
	case fuseReadlink:
		buf := make([]byte, 4096)
		n, err := unix.Readlinkat(nd.fd, "", buf)
		return buf[:max(n, 0)], err
	case fuseMkdir, fuseUnlink, fuseRmdir, fuseRename, fuseRename2, fuseLink, fuseCreate:
		return p.change(op, nd, in)
	case fuseOpen:
		flags := int(native.Uint32(in)) &^ (unix.O_NOFOLLOW | unix.O_CREAT | unix.O_EXCL)
		return p.open(nd, flags)
	case fuseOpendir:
		return p.open(nd, unix.O_RDONLY|unix.O_DIRECTORY)
	case fuseRead, fuseWrite, fuseRelease, fuseReleasedir, fuseFsync, fuseFsyncdir, fuseReaddir, fuseFallocate:
		h := p.handles[native.Uint64(in)]
		if h == nil {
			return nil, unix.EBADF
		}
		return p.use(op, h, in)
	case fuseStatfs:
		var st unix.Statfs_t
		err := unix.Fstatfs(p.nodes[fuseRoot].fd, &st)
		out := make([]byte, 80)
		for i, v := range []uint64{st.Blocks, st.Bfree, st.Bavail, st.Files, st.Ffree} {
			native.PutUint64(out[8*i:], v)
		}
		native.PutUint32(out[40:], uint32(st.Bsize))
		native.PutUint32(out[44:], 255)
		native.PutUint32(out[48:], uint32(st.Bsize))
		return out, err
	case fuseFlush, fuseDestroy, fuseInterrupt:
	default:
		return nil, unix.ENOSYS
	}
	return nil, nil
}

// forget drops a node that the kernel does not know any more. Its inode could not be given to another file until now.
func (p *passthrough) forget(id, n uint64) {
	nd := p.nodes[id]
	if nd == nil || id == fuseRoot {
		return
	}
	if nd.seen -= min(n, nd.seen); nd.seen == 0 {
		delete(p.nodes, id)
		delete(p.byInode, nd.inode)
		_ = unix.Close(nd.fd)
	}
}

// entry looks a name up.
func (p *passthrough) entry(dir *node, child string) ([]byte, error) {
	fd, err := unix.Openat(dir.fd, child, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	id, known := p.byInode[st.Ino]
	if known {
		_ = unix.Close(fd)
	} else {
		p.next++
		id = p.next
		p.nodes[id], p.byInode[st.Ino] = &node{fd: fd, inode: st.Ino}, id
	}
	nd := p.nodes[id]
	nd.path, nd.seen = filepath.Join(dir.path, child), nd.seen+1
	out := make([]byte, 40, 128)
	native.PutUint64(out, id)
	return append(out, attrOf(st)...), nil
}

func attrOf(st unix.Stat_t) []byte {
	out := make([]byte, 88)
	for i, v := range []uint64{st.Ino, uint64(st.Size), uint64(st.Blocks), uint64(st.Atim.Sec), uint64(st.Mtim.Sec), uint64(st.Ctim.Sec)} {
		native.PutUint64(out[8*i:], v)
	}
	for i, v := range []uint32{uint32(st.Atim.Nsec), uint32(st.Mtim.Nsec), uint32(st.Ctim.Nsec), st.Mode, uint32(st.Nlink), st.Uid, st.Gid, uint32(st.Rdev), uint32(st.Blksize)} {
		native.PutUint32(out[48+4*i:], v)
	}
	return out
}

func (p *passthrough) attr(nd *node) ([]byte, error) {
	var st unix.Stat_t
	err := unix.Fstat(nd.fd, &st)
	return append(make([]byte, 16), attrOf(st)...), err
}

func (p *passthrough) setattr(nd *node, in []byte) ([]byte, error) {
	const mode, owner, size, atime, mtime, atimeNow, mtimeNow = 1, 2 | 4, 8, 16, 32, 128, 256
	valid := native.Uint32(in)
	if valid&mode != 0 {
		if err := unix.Chmod(self(nd.fd), native.Uint32(in[68:])&0o7777); err != nil {
			return nil, err
		}
	}
	if valid&owner == owner {
		if err := unix.Chown(self(nd.fd), int(native.Uint32(in[76:])), int(native.Uint32(in[80:]))); err != nil {
			return nil, err
		}
	}
	if valid&size != 0 {
		if err := p.fails("write", nd.path); err != nil {
			return nil, err
		}
		if err := unix.Truncate(self(nd.fd), int64(native.Uint64(in[16:]))); err != nil {
			return nil, err
		}
	}
	if valid&(atime|mtime) != 0 {
		times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Nsec: unix.UTIME_OMIT}}
		for i, set := range []struct{ given, now uint32 }{{atime, atimeNow}, {mtime, mtimeNow}} {
			if valid&set.now != 0 {
				times[i].Nsec = unix.UTIME_NOW
			} else if valid&set.given != 0 {
				times[i] = unix.Timespec{Sec: int64(native.Uint64(in[32+8*i:])), Nsec: int64(native.Uint32(in[56+4*i:]))}
			}
		}
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, self(nd.fd), times, 0); err != nil {
			return nil, err
		}
	}
	return p.attr(nd)
}

// change makes, moves and removes names.
func (p *passthrough) change(op uint32, dir *node, in []byte) ([]byte, error) {
	switch op {
	case fuseMkdir:
		child, _ := name(in[8:])
		if err := p.fails("name", filepath.Join(dir.path, child)); err != nil {
			return nil, err
		}
		if err := unix.Mkdirat(dir.fd, child, native.Uint32(in)); err != nil {
			return nil, err
		}
		return p.entry(dir, child)
	case fuseUnlink, fuseRmdir:
		child, _ := name(in)
		if err := p.fails("name", filepath.Join(dir.path, child)); err != nil {
			return nil, err
		}
		return nil, unix.Unlinkat(dir.fd, child, map[uint32]int{fuseRmdir: unix.AT_REMOVEDIR}[op])
	case fuseRename, fuseRename2:
		to, flags, names := p.nodes[native.Uint64(in)], uint32(0), in[8:]
		if op == fuseRename2 {
			flags, names = native.Uint32(in[8:]), in[16:]
		}
		before, rest := name(names)
		after, _ := name(rest)
		if to == nil {
			return nil, unix.ESTALE
		}
		if err := p.fails("name", filepath.Join(to.path, after)); err != nil {
			return nil, err
		}
		if err := unix.Renameat2(dir.fd, before, to.fd, after, uint(flags)); err != nil {
			return nil, err
		}
		p.moved(filepath.Join(dir.path, before), filepath.Join(to.path, after))
		return nil, nil
	case fuseLink:
		from := p.nodes[native.Uint64(in)]
		child, _ := name(in[8:])
		if from == nil {
			return nil, unix.ESTALE
		}
		if err := p.fails("name", filepath.Join(dir.path, child)); err != nil {
			return nil, err
		}
		if err := unix.Linkat(unix.AT_FDCWD, self(from.fd), dir.fd, child, unix.AT_SYMLINK_FOLLOW); err != nil {
			return nil, err
		}
		return p.entry(dir, child)
	}
	child, _ := name(in[16:]) // create
	if err := p.fails("name", filepath.Join(dir.path, child)); err != nil {
		return nil, err
	}
	flags := int(native.Uint32(in))
	fd, err := unix.Openat(dir.fd, child, flags&^unix.O_NOFOLLOW|unix.O_CREAT|unix.O_CLOEXEC, native.Uint32(in[4:]))
	if err != nil {
		return nil, err
	}
	entry, err := p.entry(dir, child)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return append(entry, p.keep(p.nodes[native.Uint64(entry)], fd)...), nil
}

// moved gives what is known below a path its new one.
func (p *passthrough) moved(before, after string) {
	for _, nd := range p.nodes {
		if rest, ok := strings.CutPrefix(nd.path, before); ok && (rest == "" || rest[0] == '/') {
			nd.path = after + rest
		}
	}
}

func (p *passthrough) open(nd *node, flags int) ([]byte, error) {
	fd, err := unix.Open(self(nd.fd), flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return p.keep(nd, fd), nil
}

func (p *passthrough) keep(nd *node, fd int) []byte {
	p.next++
	p.handles[p.next] = &handle{node: nd, file: os.NewFile(uintptr(fd), nd.path)}
	out := make([]byte, 16)
	native.PutUint64(out, p.next)
	return out
}

// use reads, writes, flushes and closes what is open.
func (p *passthrough) use(op uint32, h *handle, in []byte) ([]byte, error) {
	fd := int(h.file.Fd())
	switch op {
	case fuseRead:
		if err := p.fails("read", h.path); err != nil {
			return nil, err
		}
		buf := make([]byte, native.Uint32(in[16:]))
		n, err := unix.Pread(fd, buf, int64(native.Uint64(in[8:])))
		return buf[:max(n, 0)], err
	case fuseWrite:
		if err := p.fails("write", h.path); err != nil {
			return nil, err
		}
		data := in[40:]
		n, err := unix.Pwrite(fd, data[:native.Uint32(in[16:])], int64(native.Uint64(in[8:])))
		out := make([]byte, 8)
		native.PutUint32(out, uint32(max(n, 0)))
		return out, err
	case fuseFallocate:
		return nil, unix.Fallocate(fd, native.Uint32(in[24:]), int64(native.Uint64(in[8:])), int64(native.Uint64(in[16:])))
	case fuseFsync, fuseFsyncdir:
		if err := p.fails("fsync", h.path); err != nil {
			return nil, err
		}
		if op == fuseFsync && p.synced != nil {
			return nil, p.synced(h.path)
		}
		return nil, nil // the test needs order, not durability
	case fuseReaddir:
		return h.list(native.Uint64(in[8:]), int(native.Uint32(in[16:])))
	default:
		delete(p.handles, native.Uint64(in))
		return nil, h.file.Close()
	}
}

// list gives directory entries from an offset on, as many as there is room for.
func (h *handle) list(from uint64, room int) ([]byte, error) {
	if from == 0 {
		var err error
		if h.entries, err = os.ReadDir(self(h.fd)); err != nil {
			return nil, err
		}
	}
	var out []byte
	for i := from; i < uint64(len(h.entries)); i++ {
		e := h.entries[i]
		info, err := e.Info()
		if err != nil {
			continue // gone
		}
		st := info.Sys().(*syscall.Stat_t)
		one := make([]byte, (24+len(e.Name())+7)/8*8)
		native.PutUint64(one, st.Ino)
		native.PutUint64(one[8:], i+1)
		native.PutUint32(one[16:], uint32(len(e.Name())))
		native.PutUint32(one[20:], st.Mode>>12)
		copy(one[24:], e.Name())
		if len(out)+len(one) > room {
			break
		}
		out = append(out, one...)
	}
	return out, nil
}
