package config_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-dr/holdfast/config"
)

func TestNear(t *testing.T) {
	known := []string{"backup_plan.nightly", `backup_plan.qa["eu"]`, "device.web", "mirror.docs", "failover.docs"}
	for word, want := range map[string][]string{
		"nightly":                 {"backup_plan.nightly"},
		"nigtly":                  {"backup_plan.nightly"},
		"backup_plan.nigtly":      {"backup_plan.nightly"},
		"backupplan.nightly":      {"backup_plan.nightly"},
		"docs":                    {"mirror.docs", "failover.docs"},
		"dcos":                    {"mirror.docs", "failover.docs"},
		`qa["us"]`:                {`backup_plan.qa["eu"]`},
		"":                        nil,
		"something else":          nil,
		"\x00\xff":                nil,
		"web*":                    {"device.web"},
		strings.Repeat("n", 2000): nil,
	} {
		if got := config.Near(word, known); !slices.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", word, got, want)
		}
	}
	if got := config.Near("web", nil); got != nil {
		t.Errorf("among none there is %v", got)
	}
	if known[0] != "backup_plan.nightly" || known[4] != "failover.docs" {
		t.Errorf("the argument was changed: %v", known)
	}
}
