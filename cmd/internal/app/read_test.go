package app_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
)

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	silent, pipe := filepath.Join(dir, "silent"), filepath.Join(dir, "pipe")
	if err := errors.Join(syscall.Mkfifo(silent, 0o600), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	stopped := errors.New("stopped")
	ctx, stop := context.WithCancelCause(t.Context())
	stop(stopped)
	if _, err := app.ReadFile(ctx, silent); !errors.Is(err, stopped) {
		t.Errorf("a pipe that nobody writes to: %v", err)
	}
	go func() { _ = os.WriteFile(pipe, []byte("a = 1\n"), 0o600) }()
	if got, err := app.ReadFile(t.Context(), pipe); err != nil || string(got) != "a = 1\n" {
		t.Errorf("a pipe: %q, %v", got, err)
	}
	if _, err := app.ReadFile(t.Context(), "/dev/zero"); err == nil || !strings.Contains(err.Error(), "larger than 16 MiB") {
		t.Errorf("a file without end: %v", err)
	}
}
