//go:build !mutant

package execute

// mutant switches one seeded protocol bug on, in test binaries built with the tag "mutant" only. Here it is a
// constant, so that the compiler removes the bugs.
const mutant = ""
