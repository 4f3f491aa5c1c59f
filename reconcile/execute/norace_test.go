//go:build !race

package execute_test

const raced = false
