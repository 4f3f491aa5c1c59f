package postgresql

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/holdfast-dr/holdfast/providers"
)

const (
	manifestName = "backup_manifest"
	maxManifest  = 1 << 30 // of a cluster with millions of files
)

// manifest is PostgreSQL's backup_manifest.
type manifest struct {
	Files []struct {
		Path      string `json:"Path"`
		Encoded   string `json:"Encoded-Path"`
		Size      int64  `json:"Size"`
		Algorithm string `json:"Checksum-Algorithm"`
		Checksum  string `json:"Checksum"`
	} `json:"Files"`
	Log []struct {
		Timeline int64  `json:"Timeline"`
		Start    string `json:"Start-LSN"`
		End      string `json:"End-LSN"`
	} `json:"WAL-Ranges"`
	System   string
	Checksum string `json:"Manifest-Checksum"`
}

func (m *manifest) bytes() (n int64) {
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

func (m *manifest) start() position {
	r := m.Log[0]
	return position{r.Start, r.Timeline}
}

func (m *manifest) end() position {
	r := m.Log[len(m.Log)-1]
	return position{r.End, r.Timeline}
}

// seen is a file that passed.
type seen struct {
	size int64
	sum  string
}

// checkBase reads the archive of a base backup to its end, compares every file with the manifest, and looks whether the
// log from the backup's start to its end is there. With a directory it also writes the files there and nowhere else.
func checkBase(ctx context.Context, r io.Reader, dir string) (*manifest, error) {
	files := map[string]seen{}
	var raw []byte
	out, err := newUnpacker(dir)
	if err != nil {
		return nil, err
	}
	defer out.close()
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, broken(err)
		}
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		name := path.Clean(h.Name)
		if !filepath.IsLocal(name) || strings.Contains(name, `\`) {
			return nil, fmt.Errorf("%w: the archive has a file %q", providers.ErrCorrupt, h.Name)
		}
		switch {
		case h.Typeflag == tar.TypeDir:
			err = out.mkdir(name)
		case h.Typeflag != tar.TypeReg:
			err = fmt.Errorf("%w: the archive has %q, which is neither a file nor a directory", providers.ErrCorrupt, h.Name)
		case name == manifestName:
			if h.Size > maxManifest {
				return nil, fmt.Errorf("%w: the manifest has %d bytes", providers.ErrCorrupt, h.Size)
			}
			if raw, err = io.ReadAll(archive); err != nil {
				return nil, broken(err)
			}
			err = out.write(name, bytes.NewReader(raw))
		default:
			if _, twice := files[name]; twice {
				return nil, fmt.Errorf("%w: the archive has %q twice", providers.ErrCorrupt, name)
			}
			sum := sha256.New()
			err = out.write(name, io.TeeReader(archive, sum))
			files[name] = seen{h.Size, hex.EncodeToString(sum.Sum(nil))}
		}
		if err != nil {
			return nil, err
		}
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return nil, err
	}
	if raw == nil {
		return nil, fmt.Errorf("%w: the archive has no %s", providers.ErrCorrupt, manifestName)
	}
	m, err := parseManifest(raw)
	if err != nil {
		return nil, err
	}
	if err := m.compare(files); err != nil {
		return nil, err
	}
	return m, out.sync()
}

// broken tells a damaged archive from a source that cannot be read.
func broken(err error) error {
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, tar.ErrFieldTooLong) {
		return fmt.Errorf("%w: read the archive: %w", providers.ErrCorrupt, err)
	}
	return fmt.Errorf("read the archive: %w", err)
}

// parseManifest reads a manifest and checks its own checksum, which is of everything before the line that holds it.
func parseManifest(raw []byte) (*manifest, error) {
	m := new(manifest)
	if err := json.Unmarshal(raw, m); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", providers.ErrCorrupt, manifestName, err)
	}
	var id struct {
		System json.Number `json:"System-Identifier"` // from version 17 on
	}
	if err := json.Unmarshal(raw, &id); err == nil {
		m.System = id.System.String()
	}
	last := bytes.LastIndexByte(bytes.TrimRight(raw, "\n"), '\n') + 1
	if sum := sha256.Sum256(raw[:last]); hex.EncodeToString(sum[:]) != m.Checksum {
		return nil, fmt.Errorf("%w: %s does not have its own checksum", providers.ErrCorrupt, manifestName)
	}
	if len(m.Files) == 0 || len(m.Log) == 0 {
		return nil, fmt.Errorf("%w: %s names no files or no log", providers.ErrCorrupt, manifestName)
	}
	return m, nil
}

// compare checks the files against the manifest. Log is not among its files, as it has checksums of its own.
func (m *manifest) compare(files map[string]seen) error {
	listed := map[string]bool{}
	for _, f := range m.Files {
		name := f.Path
		if f.Encoded != "" {
			b, err := hex.DecodeString(f.Encoded)
			if err != nil {
				return fmt.Errorf("%w: %s has a path that cannot be read", providers.ErrCorrupt, manifestName)
			}
			name = string(b)
		}
		got, ok := files[name]
		switch {
		case !ok:
			return fmt.Errorf("%w: %s is missing", providers.ErrCorrupt, name)
		case f.Algorithm != "SHA256":
			return fmt.Errorf("%w: %s has no SHA-256 checksum", providers.ErrCorrupt, name)
		case got.size != f.Size || got.sum != f.Checksum:
			return fmt.Errorf("%w: %s has %d bytes with SHA-256 %s, the manifest has %d with %s", providers.ErrCorrupt, name, got.size, got.sum, f.Size, f.Checksum)
		}
		listed[name] = true
	}
	var segment int64
	segments := map[string]bool{}
	for name, f := range files {
		if !listed[name] && !strings.HasPrefix(name, "pg_wal/") {
			return fmt.Errorf("%w: %s is not in the manifest", providers.ErrCorrupt, name)
		}
		if base := path.Base(name); strings.HasPrefix(name, "pg_wal/") && len(base) == 24 && path.Dir(name) == "pg_wal" {
			segment = max(segment, f.size)
			segments[base] = true
		}
	}
	for _, r := range m.Log {
		if err := covered(r.Timeline, r.Start, r.End, segment, segments); err != nil {
			return err
		}
	}
	return nil
}

// covered reports whether all segments of a range of log are there.
func covered(timeline int64, start, end string, size int64, segments map[string]bool) error {
	from, err := parseLSN(start)
	to, err2 := parseLSN(end)
	if err := errors.Join(err, err2); err != nil || to <= from || size <= 0 {
		return fmt.Errorf("%w: no log from %s to %s", providers.ErrCorrupt, start, end)
	}
	per := uint64(1<<32) / uint64(size)
	for n := from / uint64(size); n <= (to-1)/uint64(size); n++ {
		if name := fmt.Sprintf("%08X%08X%08X", timeline, n/per, n%per); !segments[name] {
			return fmt.Errorf("%w: the log segment %s is missing", providers.ErrCorrupt, name)
		}
	}
	return nil
}

func parseLSN(s string) (uint64, error) {
	high, low, _ := strings.Cut(s, "/")
	a, err := strconv.ParseUint(high, 16, 32)
	b, err2 := strconv.ParseUint(low, 16, 32)
	return a<<32 | b, errors.Join(err, err2)
}
