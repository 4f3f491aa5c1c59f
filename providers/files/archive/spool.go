package archive

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"github.com/holdfast-dr/holdfast/providers/scratch"
)

// spoolMemory is how much of a listing is kept in memory before it goes to a temporary file.
const spoolMemory = 8 << 20

// spool keeps the compressed listing until the archive is written: a sink takes one file at a time.
type spool struct {
	mem  bytes.Buffer
	file *os.File
}

func (s *spool) Write(b []byte) (int, error) {
	if s.file == nil && s.mem.Len()+len(b) > spoolMemory {
		f, err := scratch.File("")
		if err != nil {
			return 0, fmt.Errorf("keep the listing: %w", err)
		}
		s.file = f
		if _, err := s.mem.WriteTo(f); err != nil {
			return 0, fmt.Errorf("keep the listing: %w", err)
		}
	}
	if s.file == nil {
		return s.mem.Write(b)
	}
	return s.file.Write(b)
}

// copyTo writes everything once.
func (s *spool) copyTo(w io.Writer) error {
	if s.file == nil {
		_, err := s.mem.WriteTo(w)
		return err
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read the listing back: %w", err)
	}
	_, err := io.Copy(w, s.file)
	return err
}

func (s *spool) close() {
	if s.file != nil {
		s.file.Close()
	}
}
