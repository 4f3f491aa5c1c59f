package simulator

import (
	_ "embed"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

//go:embed appliance.sh
var applianceScript []byte

// ApplianceScript writes a program that simulates an appliance with domains over a
// directory, for devices of type "command", and returns its path. The head of
// the program says what it can do and how it is made to fail.
func ApplianceScript(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "appliance")
	// A program that is started meanwhile would inherit the open file, and what is open for writing cannot be run.
	syscall.ForkLock.RLock()
	err := os.WriteFile(path, applianceScript, 0o700)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	return path
}
