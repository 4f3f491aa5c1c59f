// Package ahead overlaps reading a stream with the work on it. It is apart from those who use it because a store
// reads ahead of a device as a device reads ahead of a disk.
package ahead

import (
	"hash"
	"io"
	"io/fs"
	"sync"
)

const (
	// pieceSize is in bytes. Pieces are written as they are, and a write of 1 MiB or more has the kernel take contiguous
	// memory for it, which under a hypervisor is mostly memory that it has to back anew: five to ten times the processor
	// time of writing the same in smaller pieces (measured on ext4, Linux 6.18).
	pieceSize = 256 << 10
	pieces    = 4 // of one Reader at most, which bounds its memory
)

// buffers outlive readers, because a tree of files has a Reader each.
var buffers = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// Reader gives what another reader gives. From the first demand on it reads ahead of the caller, and hashes:
//
//	from ──read──> filled ──hash──> hashed ──Read, WriteTo──> the caller
//
// Each stage has a goroutine, and each piece belongs to one stage at a time. The caller gets only what was
// hashed, so that the hash is complete when the caller has the end.
type Reader struct {
	from io.Reader
	sum  hash.Hash

	begin  sync.Once
	end    sync.Once
	work   sync.WaitGroup
	ended  chan struct{}
	filled chan piece
	hashed chan piece
	tokens chan struct{} // one for each piece there may be

	piece piece  // the caller is at
	rest  []byte // of it
	size  int64
}

// piece is a part of the stream. An error is what came after the part, and is the last of the stream.
type piece struct {
	buffer *[pieceSize]byte
	n      int
	err    error
}

// NewReader reads from and hashes it with sum. Both belong to the reader: sum until it gave io.EOF, from until it is closed.
func NewReader(from io.Reader, sum hash.Hash) *Reader {
	return &Reader{
		from: from, sum: sum,
		ended: make(chan struct{}), filled: make(chan piece, pieces), hashed: make(chan piece, pieces), tokens: make(chan struct{}, pieces),
	}
}

// Read gives content. After Close it gives fs.ErrClosed.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := r.next(); err != nil {
		return 0, err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	r.size += int64(n)
	return n, nil
}

// WriteTo writes all content, a piece at a time.
func (r *Reader) WriteTo(w io.Writer) (int64, error) {
	var size int64
	for {
		if err := r.next(); err == io.EOF {
			return size, nil
		} else if err != nil {
			return size, err
		}
		n, err := w.Write(r.rest)
		if n < len(r.rest) && err == nil {
			err = io.ErrShortWrite
		}
		r.rest = r.rest[n:]
		r.size += int64(n)
		size += int64(n)
		if err != nil {
			return size, err
		}
	}
}

// Size is how many bytes were given.
func (r *Reader) Size() int64 { return r.size }

// Close ends the reading ahead, and waits for it. It does not close what is read from.
func (r *Reader) Close() error {
	r.begin.Do(func() {}) // no more
	r.end.Do(func() { close(r.ended) })
	r.work.Wait()
	return nil
}

// next goes on to the next piece when there is no rest of this one.
func (r *Reader) next() error {
	r.begin.Do(r.start)
	for len(r.rest) == 0 {
		if r.piece.err != nil {
			return r.piece.err
		}
		if r.piece.buffer != nil {
			buffers.Put(r.piece.buffer)
			r.tokens <- struct{}{}
		}
		select {
		case r.piece = <-r.hashed:
			r.rest = r.piece.buffer[:r.piece.n]
		case <-r.ended:
			r.piece = piece{err: fs.ErrClosed}
		}
	}
	return nil
}

// start starts the stages. Only waiting for a token blocks: the channels have room for all pieces there are.
func (r *Reader) start() {
	for range pieces {
		r.tokens <- struct{}{}
	}
	r.work.Go(func() {
		defer close(r.filled)
		for {
			select {
			case <-r.tokens:
			case <-r.ended:
				return
			}
			p := fill(r.from)
			r.filled <- p
			if p.err != nil {
				return
			}
		}
	})
	r.work.Go(func() {
		for p := range r.filled {
			r.sum.Write(p.buffer[:p.n])
			r.hashed <- p
		}
	})
}

// fill reads a whole piece, or what there is before an error.
func fill(from io.Reader) piece {
	p := piece{buffer: buffers.Get().(*[pieceSize]byte)}
	for p.n < pieceSize && p.err == nil {
		var n int
		n, p.err = from.Read(p.buffer[p.n:])
		p.n += n
	}
	return p
}
