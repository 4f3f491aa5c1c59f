package execute_test

import (
	"testing"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/artifact"
)

// TestWords: plans and providers know nothing of each other and use the same words.
func TestWords(t *testing.T) {
	for _, w := range []struct{ plan, provider string }{
		{reconcile.AllDomains, providers.AllDomains},
		{reconcile.Persisted, string(providers.Persisted)},
		{reconcile.Nonpersisted, string(providers.Nonpersisted)},
		{reconcile.SafetyActivity, artifact.SafetyActivity},
	} {
		if w.plan != w.provider {
			t.Errorf("a plan says %q, and %q is meant", w.plan, w.provider)
		}
	}
}
