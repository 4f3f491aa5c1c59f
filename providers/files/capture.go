package files

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/files/archive"
	"github.com/holdfast-dr/holdfast/providers/opened"
)

// Names of the archive in an artifact.
const (
	exportName = "export.tar.zst"
	backupName = "backup.tar.zst"
)

// Capture walks the root, or all roots, and writes the archive and then its
// listing. It is not a point in time: see archive.Write.
func (d *device) Capture(ctx context.Context, req providers.CaptureRequest, sink providers.Sink) (providers.CaptureResult, error) {
	res, err := d.capture(ctx, req, sink)
	return res, d.wrap("capture", err)
}

func (d *device) capture(ctx context.Context, req providers.CaptureRequest, sink providers.Sink) (providers.CaptureResult, error) {
	trees, name, err := d.trees(req)
	if err != nil {
		return providers.CaptureResult{}, err
	}
	own, err := opened.FindOwn(d.protected)
	if err != nil {
		return providers.CaptureResult{}, err
	}
	return archive.Write(ctx, sink, name, trees, own)
}

// trees prepares the roots that were asked for.
func (d *device) trees(req providers.CaptureRequest) (trees []*archive.Tree, name string, err error) {
	roots, name := d.roots, backupName
	switch req.Action {
	case providers.SecureBackup:
		if req.Domain != providers.AllDomains && req.Domain != "" {
			return nil, "", fmt.Errorf("a secure backup is of %s, not of %q", providers.AllDomains, req.Domain)
		}
	case providers.ExportDomain:
		r, err := d.root(req.Domain)
		if err != nil {
			return nil, "", err
		}
		roots, name = []*Root{r}, exportName
	default:
		return nil, "", fmt.Errorf("action %q: %w", req.Action, errors.ErrUnsupported)
	}
	for _, r := range roots {
		t := &archive.Tree{Name: r.Name, Path: r.Path, OneFilesystem: r.OneFilesystem, AllowEmpty: r.AllowEmpty, Skip: r.OnUnreadable == skipUnreadable}
		if req.Action == providers.SecureBackup {
			t.Prefix = r.Name
		}
		if t.Scope, err = r.scope(); err != nil {
			return nil, "", fmt.Errorf("root %s: %w", r.Name, err)
		}
		var st unix.Stat_t
		if req.Leave != "" && unix.Stat(req.Leave, &st) == nil {
			t.Leave = opened.InodeOf(&st)
		}
		trees = append(trees, t)
	}
	return trees, name, nil
}
