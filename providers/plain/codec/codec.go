// Package codec compresses and encrypts the files of a plain store: zstd, then
// age. Both are formats that a person reads with the tools of the same names
// and without holdfast. It is apart from the store because it knows streams
// only, and is the one door to the age library.
package codec

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/holdfast-dr/holdfast/providers"
)

// What a manifest says of a file.
const (
	Zstd = "zstd" // providers.File.Compression
	Age  = "age"  // providers.Encryption.Scheme
)

const (
	window    = 2 << 20  // bytes the compressor looks back: few, because many run side by side
	maxWindow = 64 << 20 // bytes a compressed file may demand for reading
)

// packed are the suffixes of formats that compressing does not make smaller.
var packed = []string{".zst", ".zip", ".gz", ".tgz", ".bz2", ".xz", ".age"}

// Packed reports whether the name of a file says that its content is compressed or encrypted.
func Packed(name string) bool {
	lower := strings.ToLower(name)
	for _, p := range packed {
		if strings.HasSuffix(lower, p) {
			return true
		}
	}
	return false
}

// Suffix is what the name of a stored file ends in, by what was done to it.
func Suffix(f providers.File) string {
	suffix := ""
	if f.Compression != "" {
		suffix = ".zst"
	}
	if f.Encryption != nil {
		suffix += ".age"
	}
	return suffix
}

// Recipients are those who can read what is written.
type Recipients struct {
	keys  []age.Recipient
	names []string
}

// ParseRecipients reads age public keys: "age1" and 58 letters and digits.
func ParseRecipients(keys []string) (*Recipients, error) {
	r := new(Recipients)
	for _, k := range keys {
		key, err := age.ParseX25519Recipient(k)
		if err != nil {
			return nil, fmt.Errorf("%q is not an age public key: %w", k, err)
		}
		r.keys, r.names = append(r.keys, key), append(r.names, k)
	}
	return r, nil
}

// Writer takes content and writes it as stored. Close does not close what it writes to.
type Writer struct {
	to      io.Writer // the first in the chain
	closers []io.Closer
}

// NewWriter begins a file that is stored as f says. Recipients are needed when f is encrypted.
func NewWriter(to io.Writer, f providers.File, recipients *Recipients) (*Writer, error) {
	w := &Writer{to: to}
	if f.Encryption != nil {
		sealed, err := age.Encrypt(to, recipients.keys...)
		if err != nil {
			return nil, err
		}
		w.to, w.closers = sealed, append(w.closers, sealed)
	}
	if f.Compression != "" {
		// A frame even for nothing, so that zstd reads every file we write.
		zip, err := zstd.NewWriter(w.to, zstd.WithWindowSize(window), zstd.WithZeroFrames(true), zstd.WithEncoderConcurrency(2))
		if err != nil {
			return nil, err
		}
		w.to, w.closers = zip, append(w.closers, zip)
	}
	return w, nil
}

// Encryption describes what recipients can read, for a manifest.
func (r *Recipients) Encryption() *providers.Encryption {
	return &providers.Encryption{Scheme: Age, Recipients: r.names}
}

// Write takes content.
func (w *Writer) Write(p []byte) (int, error) { return w.to.Write(p) }

// Close writes what is held back. Without it a file is not whole, and cannot be taken for whole.
func (w *Writer) Close() error {
	var err error
	for i := len(w.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, w.closers[i].Close())
	}
	return err
}

// Identities are the private keys of a reader.
type Identities struct {
	keys []age.Identity
}

// ParseIdentities reads private keys as age-keygen writes them: one in each line, and comments. Several let
// what was written for an earlier recipient be read as well. The error tells nothing of the text.
func ParseIdentities(text string) (*Identities, error) {
	keys, err := age.ParseIdentities(strings.NewReader(text))
	if err != nil {
		return nil, errors.New("it does not hold an age private key in each line")
	}
	return &Identities{keys}, nil
}

// Public lists the public keys that belong to the identities.
func (id *Identities) Public() []string {
	var names []string
	for _, k := range id.keys {
		if x, ok := k.(*age.X25519Identity); ok {
			names = append(names, x.Recipient().String())
		}
	}
	return names
}

// Reader gives the content of a stored file.
type Reader struct {
	raw  *raw
	from io.Reader // the last in the chain
	zip  *zstd.Decoder
}

// raw remembers why reading the stored bytes failed, to tell that from bytes that are wrong.
type raw struct {
	io.Reader
	err error
}

func (r *raw) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// sealed makes every error of decryption ErrCorrupt before the decompressor sees it, which takes some for the end.
type sealed struct{ io.Reader }

func (s sealed) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", providers.ErrCorrupt, err)
	}
	return n, err
}

// NewReader reads a file that is stored as f says. Identities that cannot decrypt it
// are providers.ErrNoKey, stored bytes that are not what was written providers.ErrCorrupt.
func NewReader(from io.Reader, f providers.File, identities *Identities) (*Reader, error) {
	r := &Reader{raw: &raw{Reader: from}}
	r.from = r.raw
	if f.Encryption != nil {
		if f.Encryption.Scheme != Age {
			return nil, fmt.Errorf("%w: the scheme %q is not known to this version of holdfast", providers.ErrNoKey, f.Encryption.Scheme)
		}
		opened, err := age.Decrypt(r.from, identities.keys...)
		if wrong := new(age.NoIdentityMatchError); errors.As(err, &wrong) {
			return nil, providers.ErrNoKey
		}
		if err != nil {
			return nil, r.cause(err)
		}
		r.from = sealed{opened}
	}
	switch f.Compression {
	case "":
	case Zstd:
		zip, err := zstd.NewReader(r.from, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, r.cause(err)
		}
		r.zip, r.from = zip, zip
	default:
		return nil, fmt.Errorf("the compression %q is not known to this version of holdfast", f.Compression)
	}
	return r, nil
}

// Read gives content.
func (r *Reader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if err != nil && err != io.EOF {
		err = r.cause(err)
	}
	return n, err
}

func (r *Reader) cause(err error) error {
	if r.raw.err != nil {
		return r.raw.err
	}
	if errors.Is(err, providers.ErrCorrupt) {
		return err
	}
	return fmt.Errorf("%w: %w", providers.ErrCorrupt, err)
}

// Close lets go of what the reader holds. It does not close what it reads from.
func (r *Reader) Close() error {
	if r.zip != nil {
		r.zip.Close()
	}
	return nil
}
