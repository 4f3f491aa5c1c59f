package codec_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain/codec"
)

type key struct{ secret, public string }

func newKey(t *testing.T) key {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	check(t, err)
	return key{id.String(), id.Recipient().String()}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, f providers.File, r *codec.Recipients, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := codec.NewWriter(&b, f, r)
	check(t, err)
	for chunk := range slices.Chunk(content, 1000) {
		_, err := w.Write(chunk)
		check(t, err)
	}
	check(t, w.Close())
	return b.Bytes()
}

func read(stored []byte, f providers.File, id *codec.Identities) ([]byte, error) {
	r, err := codec.NewReader(bytes.NewReader(stored), f, id)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestRoundTrip(t *testing.T) {
	k := newKey(t)
	recipients, err := codec.ParseRecipients([]string{k.public})
	check(t, err)
	identities, err := codec.ParseIdentities(k.secret)
	check(t, err)
	for _, f := range []providers.File{
		{}, {Compression: codec.Zstd}, {Encryption: recipients.Encryption()}, {Compression: codec.Zstd, Encryption: recipients.Encryption()},
	} {
		for _, size := range []int{0, 1, 64 << 10, 64<<10 + 1, 3 << 20} {
			content := bytes.Repeat([]byte("0123456789abcde\n"), size/16+1)[:size]
			stored := write(t, f, recipients, content)
			got, err := read(stored, f, identities)
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("%s, %d bytes: read %d bytes, %v", codec.Suffix(f), size, len(got), err)
			}
			if f.Encryption != nil && size > 100 && bytes.Contains(stored, content[:50]) {
				t.Errorf("%s: content is in the stored bytes", codec.Suffix(f))
			}
			if f.Compression != "" && size > 1<<20 && len(stored) > size/100 {
				t.Errorf("%s: %d bytes became %d", codec.Suffix(f), size, len(stored))
			}
		}
	}
}

// The formats are those of the libraries: nothing of ours is around them.
func TestFormats(t *testing.T) {
	k := newKey(t)
	recipients, err := codec.ParseRecipients([]string{k.public})
	check(t, err)
	stored := write(t, providers.File{Compression: codec.Zstd, Encryption: recipients.Encryption()}, recipients, []byte("content"))
	id, err := age.ParseX25519Identity(k.secret)
	check(t, err)
	opened, err := age.Decrypt(bytes.NewReader(stored), id)
	check(t, err)
	zip, err := zstd.NewReader(opened)
	check(t, err)
	defer zip.Close()
	if got, err := io.ReadAll(zip); err != nil || string(got) != "content" {
		t.Errorf("the libraries read %q, %v", got, err)
	}
}

func TestEveryDamageIsSeen(t *testing.T) {
	k := newKey(t)
	recipients, err := codec.ParseRecipients([]string{k.public})
	check(t, err)
	identities, err := codec.ParseIdentities(k.secret)
	check(t, err)
	f := providers.File{Compression: codec.Zstd, Encryption: recipients.Encryption()}
	content := []byte(strings.Repeat("content", 20))
	stored := write(t, f, recipients, content)
	wrong := func(what string, data []byte) {
		got, err := read(data, f, identities)
		if err == nil || !errors.Is(err, providers.ErrCorrupt) && !errors.Is(err, providers.ErrNoKey) {
			t.Errorf("%s: read %q, %v", what, got, err)
		}
	}
	for i := range stored {
		flipped := bytes.Clone(stored)
		flipped[i] ^= 1
		wrong(fmt.Sprintf("byte %d flipped", i), flipped)
		wrong(fmt.Sprintf("cut at %d", i), stored[:i])
	}
	wrong("longer", append(bytes.Clone(stored), 0))
}

func TestKeys(t *testing.T) {
	first, second, other := newKey(t), newKey(t), newKey(t)
	recipients, err := codec.ParseRecipients([]string{first.public, second.public})
	check(t, err)
	f := providers.File{Encryption: recipients.Encryption()}
	if !slices.Equal(f.Encryption.Recipients, []string{first.public, second.public}) || f.Encryption.Scheme != "age" {
		t.Errorf("described as %+v", f.Encryption)
	}
	stored := write(t, f, recipients, []byte("content"))
	for name, c := range map[string]struct {
		keys string
		want error
	}{
		"first":           {first.secret, nil},
		"second":          {"# created: today\n" + second.secret + "\n", nil},
		"another and one": {other.secret + "\n" + first.secret, nil},
		"another":         {other.secret, providers.ErrNoKey},
	} {
		identities, err := codec.ParseIdentities(c.keys)
		check(t, err)
		if _, err := read(stored, f, identities); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	identities, err := codec.ParseIdentities(other.secret + "\n" + first.secret)
	check(t, err)
	if got := identities.Public(); !slices.Equal(got, []string{other.public, first.public}) {
		t.Errorf("public keys %v", got)
	}
}

func TestMalformedKeys(t *testing.T) {
	k := newKey(t)
	for _, bad := range []string{"", "age1", k.secret, k.public + "x", strings.ToUpper(k.public[:1]) + k.public[1:], "ssh-ed25519 AAAA"} {
		if _, err := codec.ParseRecipients([]string{k.public, bad}); err == nil {
			t.Errorf("recipient %q was taken", bad)
		}
	}
	for _, bad := range []string{"", "# nothing", k.public, "hunter2", k.secret[:len(k.secret)-1], k.secret + "\nhunter2", "\xff"} {
		if _, err := codec.ParseIdentities(bad); err == nil {
			t.Errorf("identity %q was taken", bad)
		} else if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("the error tells the secret: %v", err)
		}
	}
}

func TestUnknownSchemes(t *testing.T) {
	if _, err := read(nil, providers.File{Compression: "lzma"}, nil); err == nil || !strings.Contains(err.Error(), "lzma") {
		t.Errorf("unknown compression: %v", err)
	}
	if _, err := read(nil, providers.File{Encryption: &providers.Encryption{Scheme: "pgp"}}, nil); !errors.Is(err, providers.ErrNoKey) || !strings.Contains(err.Error(), "pgp") {
		t.Errorf("unknown encryption: %v", err)
	}
}

// What fails below is passed on as it is: it is no damage of the content.
func TestErrorsOfTheMedium(t *testing.T) {
	k := newKey(t)
	recipients, err := codec.ParseRecipients([]string{k.public})
	check(t, err)
	identities, err := codec.ParseIdentities(k.secret)
	check(t, err)
	broken := errors.New("medium broke")
	for _, f := range []providers.File{{Compression: codec.Zstd}, {Encryption: recipients.Encryption()}, {Compression: codec.Zstd, Encryption: recipients.Encryption()}} {
		stored := write(t, f, recipients, bytes.Repeat([]byte("content"), 100_000))
		for _, n := range []int{0, 10, len(stored) / 2} {
			r, err := codec.NewReader(io.MultiReader(bytes.NewReader(stored[:n]), iotest.ErrReader(broken)), f, identities)
			if err == nil {
				_, err = io.ReadAll(r)
				check(t, r.Close())
			}
			if !errors.Is(err, broken) || errors.Is(err, providers.ErrCorrupt) {
				t.Errorf("%s after %d bytes: %v", codec.Suffix(f), n, err)
			}
		}
		w, err := codec.NewWriter(brokenWriter{broken}, f, recipients)
		if err == nil {
			_, err = w.Write(bytes.Repeat([]byte("x"), 100))
			err = errors.Join(err, w.Close())
		}
		if !errors.Is(err, broken) {
			t.Errorf("%s: writing to what is broken: %v", codec.Suffix(f), err)
		}
	}
}

type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }

func TestPacked(t *testing.T) {
	for name, want := range map[string]bool{"export.zip": true, "export.tar.ZST": true, "dp.tgz": true, "a.gz": true, "secret.age": true, "zip": false, "export.tar": false, "backupmanifest.xml": false, "": false} {
		if codec.Packed(name) != want {
			t.Errorf("Packed(%q) is not %v", name, want)
		}
	}
}
