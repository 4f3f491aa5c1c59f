package app

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/holdfast-dr/holdfast/reconcile"
)

// A saved plan is the JSON of the plan with one more member, the last one: a checksum over all before it. The digest of a plan
// is about its work alone, the same whenever it is planned; the checksum is about this file. Neither depends on the layout.
// Files of before the checksum have none, and neither has what --json prints.
const (
	checksumMember = `,"checksum":"sha256:`
	checksumEnd    = `"}`
)

// maxPlanFile bounds what is read as a saved plan.
const maxPlanFile = 256 << 20

// SavePlan writes a plan to a new or existing file, complete or not at all.
func SavePlan(path string, p *reconcile.Plan) error {
	if err := savePlan(path, p); err != nil {
		return fmt.Errorf("write plan %s: %w", path, err)
	}
	return nil
}

func savePlan(path string, p *reconcile.Plan) error {
	body, err := encodePlan(p)
	if err != nil {
		return err
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return errors.New("it is there and is no regular file")
	}
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".plan-*")
	var at *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no directory %s", dir)
	case errors.As(err, &at): // which names the temporary file
		return fmt.Errorf("the directory %s: %w", dir, at.Err)
	case err != nil:
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(body)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

func encodePlan(p *reconcile.Plan) ([]byte, error) {
	plain, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encode it: %w", err)
	}
	sum := sha256.Sum256(plain)
	plain = append(plain[:len(plain)-1], checksumMember+hex.EncodeToString(sum[:])+checksumEnd...)
	var laid bytes.Buffer
	if err := json.Indent(&laid, plain, "", "  "); err != nil {
		return nil, fmt.Errorf("encode it: %w", err)
	}
	laid.WriteByte('\n')
	return laid.Bytes(), nil
}

// ErrBadPlan says that a file is no usable plan.
var ErrBadPlan = errors.New("not a usable plan file")

// firstLine leaves out of joined errors what follows from the first one.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// ReadPlan reads a saved plan and checks that it is whole, as it was written, and of a form this version knows.
func ReadPlan(path string) (*reconcile.Plan, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read plan: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxPlanFile {
		return nil, fmt.Errorf("read plan %s: %w: it is no regular file, or larger than 256 MiB", path, ErrBadPlan)
	}
	body, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read plan: %w", err)
	}
	var p struct {
		reconcile.Plan
		Checksum *json.RawMessage `json:"checksum"`
	}
	var plain bytes.Buffer // specifications are recorded, and compared later, byte for byte: without the layout of the file
	if err := errors.Join(json.Compact(&plain, body), json.Unmarshal(plain.Bytes(), &p)); err != nil {
		return nil, fmt.Errorf("read plan %s: %w, as holdfast plan --out and holdfast restore plan --out write them: %s", path, ErrBadPlan, firstLine(err))
	}
	if err := p.Intact(); err != nil {
		return nil, fmt.Errorf("read plan %s: %w: %w", path, ErrBadPlan, err)
	}
	if p.Checksum != nil && !asWritten(plain.Bytes()) {
		return nil, fmt.Errorf("read plan %s: %w: its text does not match its checksum: it was changed after it was saved; make a new plan", path, ErrBadPlan)
	}
	return &p.Plan, nil
}

// asWritten reports whether a saved plan without its layout ends with the checksum of what is before.
func asWritten(plain []byte) bool {
	at := bytes.LastIndex(plain, []byte(checksumMember))
	if at < 0 {
		return false
	}
	said := plain[at:]
	sum := sha256.New()
	sum.Write(plain[:at])
	sum.Write([]byte("}"))
	return string(said) == checksumMember+hex.EncodeToString(sum.Sum(nil))+checksumEnd
}
