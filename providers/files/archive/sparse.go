package archive

import (
	"io"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// segment is a stretch of a file that has data.
type segment struct{ at, size int64 }

// maxSegments bounds the map of one file; beyond it the rest counts as data.
const maxSegments = 1 << 16

// segments asks the file system where a file of that size has data, in whole blocks of an archive but for the end of the file. Without
// holes, or where nobody can tell, there are none. As GNU tar does, a hole at the end is told by an empty segment there. The offset of
// the descriptor is 0 again.
func segments(fd int, size int64) (data []segment) {
	defer unix.Seek(fd, 0, io.SeekStart)
	end := int64(0)
	for end < size {
		at, err := unix.Seek(fd, end, unix.SEEK_DATA)
		if err == unix.ENXIO {
			break
		}
		if err != nil {
			return nil
		}
		to, err := unix.Seek(fd, at, unix.SEEK_HOLE)
		if err != nil || len(data) == maxSegments-1 {
			to = size
		}
		at, to = max(at&^(block-1), end), min(to+padding(to), size)
		if at >= size || to <= at {
			break
		}
		if n := len(data); n > 0 && end == at {
			data[n-1].size += to - at
		} else {
			data = append(data, segment{at, to - at})
		}
		end = to
	}
	switch {
	case end < size:
		return append(data, segment{size, 0})
	case len(data) == 1 && data[0].at == 0:
		return nil
	}
	return data
}

// dataSize is how many bytes of a file are data.
func (e *entry) dataSize() (n int64) {
	if e.data == nil {
		return e.size
	}
	for _, s := range e.data {
		n += s.size
	}
	return n
}

// stored is the size of a file's content in the archive.
func (e *entry) stored() int64 {
	if e.data == nil {
		return e.size
	}
	return int64(len(sparseMap(e.data))) + e.dataSize()
}

// sparseMap is what stands before the data of a file kept without its holes: how many segments there are, then where each begins and
// how long it is, as decimal lines up to the next block.
func sparseMap(data []segment) []byte {
	b := append(strconv.AppendInt(nil, int64(len(data)), 10), '\n')
	for _, s := range data {
		b = append(strconv.AppendInt(b, s.at, 10), '\n')
		b = append(strconv.AppendInt(b, s.size, 10), '\n')
	}
	return pad(b, int64(len(b)))
}

// readSparseMap reads what sparseMap makes, for a file of a size that has that much in the archive. Nothing is taken on trust: the segments
// follow each other, lie in the file, and are all that comes after the map.
func readSparseMap(r io.Reader, size, stored int64) (data []segment, ok bool, err error) {
	m := &mapReader{r: r}
	n := m.number()
	if n < 0 || n > maxSegments {
		return nil, false, m.err
	}
	end := int64(0)
	for range n {
		s := segment{m.number(), m.number()}
		if m.err != nil || s.at < end || s.size < 0 || s.at > size || s.size > size-s.at {
			return nil, false, m.err
		}
		end = s.at + s.size
		data = append(data, s)
	}
	e := entry{data: data}
	return data, m.err == nil && data != nil && slices.Equal(m.rest, zeros[:len(m.rest)]) && m.read+e.dataSize() == stored, m.err
}

// mapReader reads the numbers of a map, a block at a time.
type mapReader struct {
	r     io.Reader
	block [block]byte
	rest  []byte // of the block
	read  int64
	err   error
}

// number gives the next one; -1 when there is none, with or without an error.
func (m *mapReader) number() (n int64) {
	for digits := 0; ; digits++ {
		if len(m.rest) == 0 {
			if _, m.err = io.ReadFull(m.r, m.block[:]); m.err != nil {
				return -1
			}
			m.rest = m.block[:]
			m.read += block
		}
		c := m.rest[0]
		m.rest = m.rest[1:]
		switch {
		case c == '\n' && digits > 0:
			return n
		case c < '0' || c > '9' || digits == 18:
			return -1
		}
		n = 10*n + int64(c-'0')
	}
}
