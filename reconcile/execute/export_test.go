package execute

import "github.com/holdfast-dr/holdfast/reconcile"

// Knows reports whether an operation has an implementation.
func Knows(op reconcile.Op) bool { return ops[op] != nil }
