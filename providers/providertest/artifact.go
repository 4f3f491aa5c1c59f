package providertest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/holdfast-dr/holdfast/providers"
)

// Artifact keeps the files of one capture in memory. It is the sink of the
// capture, which it holds to its obligations, and then the source of a restore. The zero Artifact is empty.
type Artifact struct {
	mu    sync.Mutex
	names []string
	data  map[string][]byte
	open  string
}

var (
	_ providers.Sink   = (*Artifact)(nil)
	_ providers.Source = (*Artifact)(nil)
)

// Create starts a file. It fails while another is open, for a name that was used, and for one that is not a plain file name.
func (a *Artifact) Create(name string) (io.WriteCloser, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.open != "":
		return nil, fmt.Errorf("create %s: %s is still open", name, a.open)
	case name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\\\x00"):
		return nil, fmt.Errorf("create %q: not a plain file name", name)
	case slices.Contains(a.names, name):
		return nil, fmt.Errorf("create %s: there is one already", name)
	}
	a.open = name
	return &artifactFile{artifact: a, name: name}, nil
}

type artifactFile struct {
	artifact *Artifact
	name     string
	buf      bytes.Buffer
	closed   bool
}

func (f *artifactFile) Write(b []byte) (int, error) {
	if f.closed {
		return 0, fmt.Errorf("write %s: it is closed", f.name)
	}
	return f.buf.Write(b)
}

func (f *artifactFile) Close() error {
	if f.closed {
		return fmt.Errorf("close %s: it is closed", f.name)
	}
	f.closed = true
	f.artifact.mu.Lock()
	f.artifact.open = ""
	f.artifact.mu.Unlock()
	f.artifact.Set(f.name, f.buf.Bytes())
	return nil
}

// Set puts a file into the artifact, or replaces its content.
func (a *Artifact) Set(name string, content []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.data == nil {
		a.data = map[string][]byte{}
	}
	if !slices.Contains(a.names, name) {
		a.names = append(a.names, name)
	}
	a.data[name] = content
}

// Files lists what was created and closed, in order.
func (a *Artifact) Files() []providers.File {
	a.mu.Lock()
	defer a.mu.Unlock()
	var files []providers.File
	for _, name := range a.names {
		sum := sha256.Sum256(a.data[name])
		files = append(files, providers.File{Name: name, Size: int64(len(a.data[name])), SHA256: hex.EncodeToString(sum[:])})
	}
	return files
}

// Open reads one file.
func (a *Artifact) Open(_ context.Context, name string) (io.ReadCloser, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	data, ok := a.data[name]
	if !ok {
		return nil, fmt.Errorf("open %s: %w", name, providers.ErrNotFound)
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

// Bytes gives a copy of one file's content; nil when there is no such file.
func (a *Artifact) Bytes(name string) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return bytes.Clone(a.data[name])
}

// Clone gives a copy that can be damaged without harm to the original.
func (a *Artifact) Clone() *Artifact {
	c := new(Artifact)
	for _, f := range a.Files() {
		c.Set(f.Name, a.Bytes(f.Name))
	}
	return c
}

// ErrFault is the error that the faulty sink and source give.
var ErrFault = errors.New("injected fault")

// FaultySink fails once After bytes were written over all files: that write
// takes what still fits. With FailCreate or FailClose set, creating or closing the file of that name fails instead.
type FaultySink struct {
	Sink       providers.Sink
	After      int64
	FailCreate string
	FailClose  string
}

// Create starts a file of the sink behind it.
func (s *FaultySink) Create(name string) (io.WriteCloser, error) {
	if name == s.FailCreate {
		return nil, ErrFault
	}
	w, err := s.Sink.Create(name)
	if err != nil {
		return nil, err
	}
	return &faultyWriter{WriteCloser: w, sink: s, name: name}, nil
}

type faultyWriter struct {
	io.WriteCloser
	sink *FaultySink
	name string
}

func (w *faultyWriter) Write(b []byte) (int, error) {
	if w.sink.FailCreate != "" || w.sink.FailClose != "" {
		return w.WriteCloser.Write(b)
	}
	if int64(len(b)) <= w.sink.After {
		w.sink.After -= int64(len(b))
		return w.WriteCloser.Write(b)
	}
	n, err := w.WriteCloser.Write(b[:w.sink.After])
	w.sink.After = 0
	return n, errors.Join(ErrFault, err)
}

func (w *faultyWriter) Close() error {
	err := w.WriteCloser.Close()
	if w.name == w.sink.FailClose {
		return errors.Join(ErrFault, err)
	}
	return err
}

// FaultySource fails once After bytes were read from a file.
type FaultySource struct {
	Source providers.Source
	After  int64
}

// Files lists the files of the source behind it.
func (s *FaultySource) Files() []providers.File { return s.Source.Files() }

// Open reads one file of the source behind it.
func (s *FaultySource) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	r, err := s.Source.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return &faultyReader{Reader: io.LimitReader(r, s.After), Closer: r}, nil
}

type faultyReader struct {
	io.Reader
	io.Closer
}

func (r *faultyReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if err == io.EOF {
		err = ErrFault
	}
	return n, err
}
