package configuration

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/command"
)

// TestFormatIsInterrupted reads from a writer that never comes to an end, and goes from file to file.
func TestFormatIsInterrupted(t *testing.T) {
	in, writer := io.Pipe()
	defer writer.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := app.ReadAll(ctx, in, "standard input"); !errors.Is(err, context.Canceled) {
		t.Errorf("standard input: %v", err)
	}
	path := filepath.Join(t.TempDir(), "a.hold.hcl")
	const ugly = "site  \"a\"   {}\n"
	if err := os.WriteFile(path, []byte(ugly), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, done := range map[string]formatted{
		"context canceled":                {Changed: []string{}},
		"files named above are rewritten": {Changed: []string{"before.hold.hcl"}},
	} {
		if err := done.file(ctx, &command.Call{}, path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != ugly {
		t.Errorf("%q %v", got, err)
	}
}
