package files

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/holdfast-dr/holdfast/providers"
)

// Crash leaves a restore in place as a process would that dies in the middle of it: "extracted", "ready", "exchanged", or, where
// a file system cannot exchange two directories, "moved" and "named".
func Crash(ctx context.Context, root, stage, id string, src providers.Source, keep ...string) error {
	p, err := findPlace(root)
	if err != nil {
		return err
	}
	if err := p.make(ctx, providers.RestoreRequest{Action: providers.ExportDomain, ID: id}, src, keep); err != nil {
		return err
	}
	switch stage {
	case "extracted":
		return os.Remove(p.ready())
	case "torn":
		return os.WriteFile(p.ready(), []byte(`{"restore":`), 0o600)
	case "ready":
		return nil
	case "exchanged":
		return p.exchange()
	case "moved":
		return rename(p.path, p.old())
	case "named":
		return errors.Join(rename(p.path, p.old()), rename(p.new(), p.path))
	}
	return errors.New("no such stage: " + filepath.Base(stage))
}
