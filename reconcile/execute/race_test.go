//go:build race

package execute_test

// raced: the race detector watches this test binary.
const raced = true
