package app_test

import (
	"testing"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/config/language"
)

// TestProviderSettings checks every tag of every provider's settings: names, docs, defaults and bounds fit the language.
func TestProviderSettings(t *testing.T) {
	if err := language.Verify(app.New(app.Options{}).Types()); err != nil {
		t.Fatal(err)
	}
}
