//go:build mutant

package execute

import "os"

var mutant = os.Getenv("HOLDFAST_MUTANT")
