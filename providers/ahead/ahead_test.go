package ahead_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/holdfast-dr/holdfast/providers/ahead"
)

func content(n int) []byte {
	random, b := rand.New(rand.NewPCG(1, 2)), make([]byte, n)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

// bubble runs a test that fails when a goroutine outlives it.
func bubble(t *testing.T, name string, test func(*testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

func TestReaderGivesAndHashesAll(t *testing.T) {
	sources := map[string]func(io.Reader) io.Reader{
		"as asked":       func(r io.Reader) io.Reader { return r },
		"half":           iotest.HalfReader,
		"end with data":  iotest.DataErrReader,
		"a byte, a time": iotest.OneByteReader,
	}
	for _, size := range []int{0, 1, ahead.PieceSize - 1, ahead.PieceSize, ahead.PieceSize + 1, 2*ahead.Pieces*ahead.PieceSize + 7} {
		want := content(size)
		for name, source := range sources {
			if name == "a byte, a time" && size > ahead.PieceSize {
				continue
			}
			for way, read := range map[string]func(*ahead.Reader) ([]byte, error){
				"read": func(r *ahead.Reader) ([]byte, error) { return io.ReadAll(struct{ io.Reader }{r}) },
				"write": func(r *ahead.Reader) ([]byte, error) {
					var b bytes.Buffer
					n, err := r.WriteTo(&b)
					if n != int64(b.Len()) {
						t.Errorf("WriteTo says %d and wrote %d", n, b.Len())
					}
					return b.Bytes(), err
				},
			} {
				bubble(t, fmt.Sprintf("%d/%s/%s", size, name, way), func(t *testing.T) {
					sum := sha256.New()
					r := ahead.NewReader(source(bytes.NewReader(want)), sum)
					got, err := read(r)
					if err != nil || !bytes.Equal(got, want) || r.Size() != int64(size) {
						t.Errorf("%d bytes, size %d, %v", len(got), r.Size(), err)
					}
					if all := sha256.Sum256(want); !bytes.Equal(sum.Sum(nil), all[:]) {
						t.Error("another hash")
					}
					if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
						t.Errorf("after the end: %d, %v", n, err)
					}
					if err := r.Close(); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

func TestReaderIsAReader(t *testing.T) {
	want := content(3*ahead.PieceSize + 5)
	r := ahead.NewReader(bytes.NewReader(want), sha256.New())
	defer r.Close()
	if err := iotest.TestReader(struct{ io.Reader }{r}, want); err != nil {
		t.Error(err)
	}
}

// An error comes after what was read before it, whichever it is, and stays.
func TestErrorOfTheSource(t *testing.T) {
	broken := errors.New("broken")
	for _, want := range []error{broken, io.ErrUnexpectedEOF, io.ErrNoProgress} {
		for _, size := range []int{0, 10, ahead.PieceSize, 6*ahead.PieceSize + 1} {
			bubble(t, fmt.Sprintf("%v after %d", want, size), func(t *testing.T) {
				r := ahead.NewReader(io.MultiReader(bytes.NewReader(content(size)), iotest.ErrReader(want)), sha256.New())
				defer r.Close()
				n, err := r.WriteTo(io.Discard)
				if n != int64(size) || err != want {
					t.Errorf("%d bytes and %v", n, err)
				}
				if _, err := r.Read(make([]byte, 1)); err != want {
					t.Errorf("then %v", err)
				}
			})
		}
	}
}

func TestErrorOfTheWriter(t *testing.T) {
	full := errors.New("full")
	for name, test := range map[string]struct {
		give error
		want error
	}{"error": {full, full}, "short": {nil, io.ErrShortWrite}} {
		bubble(t, name, func(t *testing.T) {
			r := ahead.NewReader(endless{new(int)}, sha256.New())
			n, err := r.WriteTo(writer(func(p []byte) (int, error) { return 3, test.give }))
			if n != 3 || r.Size() != 3 || err != test.want {
				t.Errorf("%d bytes and %v", n, err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// endless counts what was asked of it.
type endless struct{ given *int }

func (e endless) Read(p []byte) (int, error) {
	*e.given += len(p)
	return len(p), nil
}

func TestReadsAheadWithinBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		given := 0
		r := ahead.NewReader(endless{&given}, sha256.New())
		synctest.Wait()
		if given != 0 {
			t.Errorf("%d bytes were read before any was wanted", given)
		}
		for range 3 * ahead.Pieces {
			if _, err := io.ReadFull(r, make([]byte, ahead.PieceSize)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if beyond := given - int(r.Size()); beyond < 0 || beyond > ahead.Pieces*ahead.PieceSize {
				t.Fatalf("%d bytes are read ahead", beyond)
			}
		}
		r.Close()
		before := given
		synctest.Wait()
		if given != before {
			t.Error("something reads after Close")
		}
	})
}

func TestClose(t *testing.T) {
	for name, read := range map[string]int{"at once": 0, "begun": 1, "in the middle": 5*ahead.PieceSize + 3} {
		bubble(t, name, func(t *testing.T) {
			r := ahead.NewReader(endless{new(int)}, sha256.New())
			if _, err := io.ReadFull(r, make([]byte, read)); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
			for err := error(nil); err != fs.ErrClosed; {
				if _, err = r.Read(make([]byte, ahead.PieceSize)); err != nil && err != fs.ErrClosed {
					t.Fatal(err)
				}
			}
		})
	}
}

// Close ends a Read that waits, and itself waits for the source.
func TestCloseWhileTheSourceHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, feed := io.Pipe()
		r := ahead.NewReader(source, sha256.New())
		var readErr error
		closed := false
		go func() { _, readErr = r.Read(make([]byte, 1)) }()
		synctest.Wait()
		go func() { r.Close(); closed = true }()
		synctest.Wait()
		if readErr != fs.ErrClosed || closed {
			t.Errorf("Read: %v; Close returned while the source was read: %v", readErr, closed)
		}
		feed.Close()
		synctest.Wait()
		if !closed {
			t.Error("Close hangs")
		}
	})
}

// BenchmarkReader copies and hashes a stream in memory, one after the other and beside each other.
func BenchmarkReader(b *testing.B) {
	data := content(64 << 20)
	b.Run("one after the other", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			sum := sha256.New()
			if _, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(sum, io.Discard)}, struct{ io.Reader }{bytes.NewReader(data)}, make([]byte, ahead.PieceSize)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("ahead", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			r := ahead.NewReader(bytes.NewReader(data), sha256.New())
			if _, err := r.WriteTo(io.Discard); err != nil {
				b.Fatal(err)
			}
			r.Close()
		}
	})
}
