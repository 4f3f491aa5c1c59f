package plain

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"strings"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/ahead"
	"github.com/holdfast-dr/holdfast/providers/plain/codec"
)

// stores says what is done to the content of a new file of this name.
func (s *store) stores(name string) providers.File {
	f := providers.File{Name: name}
	if s.settings.Compress == codec.Zstd && !codec.Packed(name) {
		f.Compression = codec.Zstd
	}
	if s.recipients != nil {
		f.Encryption = s.recipients.Encryption()
	}
	return f
}

// encodedFile takes content and stages it compressed, encrypted or both.
type encodedFile struct {
	stored *stagedFile
	codec  *codec.Writer
	sum    hash.Hash // of the content
	size   int64
}

func newEncodedFile(w *stagedFile) (*encodedFile, error) {
	c, err := codec.NewWriter(w, w.file, w.stage.store.recipients)
	return &encodedFile{stored: w, codec: c, sum: sha256.New()}, err
}

// Write takes content.
func (e *encodedFile) Write(p []byte) (int, error) {
	if e.stored.medium == nil {
		return 0, e.stored.stage.store.fault("write", e.stored.rel, fs.ErrClosed)
	}
	n, err := hashing(e.sum, e.codec, p)
	e.size += int64(n)
	if err != nil && e.stored.err == nil {
		e.stored.err = e.stored.stage.store.fault("write", e.stored.rel, err)
	}
	return n, err
}

// Close ends the file and makes it durable.
func (e *encodedFile) Close() error {
	w := e.stored
	if w.medium != nil {
		if err := e.codec.Close(); w.err == nil {
			w.err = err
		}
		w.file.ContentSize, w.file.ContentSHA256 = e.size, hex.EncodeToString(e.sum.Sum(nil))
	}
	return w.Close()
}

// Stored reads the bytes of a file as stored.
func (s *store) Stored(ctx context.Context, m providers.Manifest, name string) (io.ReadCloser, error) {
	f, r, err := s.open(ctx, m, name)
	if err != nil {
		return nil, err
	}
	return storedReader{r, s, f.Path}, nil
}

// Open reads the content of a file.
func (s *store) Open(ctx context.Context, m providers.Manifest, name string) (io.ReadCloser, error) {
	f, stored, err := s.open(ctx, m, name)
	if err != nil {
		return nil, err
	}
	r := &contentReader{store: s, file: f, stored: stored, sum: sha256.New()}
	if !f.Transformed() {
		r.content = ahead.NewReader(stored, r.sum)
		return r, nil
	}
	if r.codec, err = s.decode(ctx, stored, f); err != nil {
		return nil, errors.Join(s.fault("open", f.Path, err), stored.Close())
	}
	r.content = ahead.NewReader(r.codec, r.sum)
	return r, nil
}

func (s *store) decode(ctx context.Context, stored io.Reader, f providers.File) (*codec.Reader, error) {
	if f.Encryption == nil {
		return codec.NewReader(stored, f, nil)
	}
	identities, err := s.keys(ctx)
	if err != nil { // what a secret lacks is nothing that the store lacks
		return nil, &providers.Error{Op: "open", Target: s.path + "/" + f.Path, Err: err}
	}
	problem := "no private key is configured"
	if identities != nil {
		r, err := codec.NewReader(stored, f, identities)
		if !errors.Is(err, providers.ErrNoKey) {
			return r, err
		}
		problem = "the private keys configured are those of " + strings.Join(identities.Public(), ", ")
	}
	return nil, &providers.Error{
		Op: "open", Target: s.path + "/" + f.Path,
		Err:  fmt.Errorf("%w: it is encrypted for %s, and %s", providers.ErrNoKey, strings.Join(f.Encryption.Recipients, ", "), problem),
		Hint: fmt.Sprintf("Give store %q a decrypt block whose identity is a secret with the private key of one of these recipients.", s.name),
	}
}

// keys resolves the private keys once. Without any it gives nil.
func (s *store) keys(ctx context.Context) (*codec.Identities, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.identities != nil || s.settings.Decrypt == nil {
		return s.identities, nil
	}
	ref := s.settings.Decrypt.Identity
	if s.secret == nil {
		return nil, fmt.Errorf("%w: secrets cannot be read here, and %s is one", providers.ErrNoKey, ref)
	}
	text, err := s.secret(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", providers.ErrSecret, err)
	}
	if s.identities, err = codec.ParseIdentities(text); err != nil {
		return nil, fmt.Errorf("%w: %s is no key: %w", providers.ErrNoKey, ref, err)
	}
	return s.identities, nil
}

// contentReader gives content and, before it ends, makes sure that it was the one of the manifest.
type contentReader struct {
	store   *store
	file    providers.File
	stored  io.ReadCloser
	codec   *codec.Reader // nil for what is stored as it is
	content *ahead.Reader
	sum     hash.Hash
}

func (r *contentReader) Read(p []byte) (int, error) {
	n, err := r.content.Read(p)
	if err == nil {
		return n, nil
	}
	if !errors.Is(err, io.EOF) {
		return n, r.store.fault("read", r.file.Path, err)
	}
	want := r.file.Content()
	if got := hex.EncodeToString(r.sum.Sum(nil)); r.content.Size() != want.Size || got != want.SHA256 {
		return n, r.store.corrupt(r.file.Path, "%d bytes with SHA-256 %s were read, and %d with %s were captured", r.content.Size(), got, want.Size, want.SHA256)
	}
	return n, err
}

// Close ends reading.
func (r *contentReader) Close() error {
	err := r.content.Close()
	if r.codec != nil {
		err = errors.Join(err, r.codec.Close())
	}
	return errors.Join(err, r.stored.Close())
}
