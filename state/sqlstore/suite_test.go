package sqlstore_test

import (
	"testing"

	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/statetest"
)

func TestSuite(t *testing.T) {
	statetest.Suite(t, func(t *testing.T) state.Backend { return statetest.New(t) })
}
