// Package sampletest decides how much of a long test is run: all of it, or a sample. It is the one place that does.
//
//	make test                      a sample, another one each time; it prints its seed
//	make test SEED=7               the sample of that seed again
//	make test-long                 all of it
//	HOLDFAST_TEST_LONG=1 go test   all of one package
//	go test -short                 a third of a sample, for passes in which everything is slow
//
// What a test says when it fails repeats it.
package sampletest

import (
	"hash/fnv"
	"iter"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
)

const (
	longVariable = "HOLDFAST_TEST_LONG" // not empty: no samples
	seedVariable = "HOLDFAST_TEST_SEED" // a number that draws the samples
)

// Long says whether everything is to be tried.
func Long() bool { return os.Getenv(longVariable) != "" }

// seed draws the samples of this process.
var seed = sync.OnceValue(func() uint64 {
	text := os.Getenv(seedVariable)
	if text == "" {
		return uint64(rand.Uint32())
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		panic(seedVariable + " must be a number, not " + strconv.Quote(text))
	}
	return n
})

var numbers sync.Map // *rand.Rand by testing.TB

// Rand gives the numbers of a test, for its own goroutine: the same for the same seed, whatever other tests are run. A test that fails says
// how to repeat them.
func Rand(t testing.TB) *rand.Rand {
	t.Helper()
	if r, known := numbers.Load(t); known {
		return r.(*rand.Rand)
	}
	name := fnv.New64a()
	_, _ = name.Write([]byte(t.Name())) // a hash takes everything
	r := rand.New(rand.NewPCG(seed(), name.Sum64()))
	numbers.Store(t, r)
	t.Logf("%s=%d", seedVariable, seed())
	t.Cleanup(func() {
		numbers.Delete(t)
		if t.Failed() {
			t.Logf("this was drawn: %s=%d go test -run '^%s$' does the same again, %s=1 all there is", seedVariable, seed(), t.Name(), longVariable)
		}
	})
	return r
}

// Of gives n of all, or all of them in the long form, in an order that is drawn, too.
func Of[T any](t testing.TB, all []T, n int) []T {
	t.Helper()
	drawn := slices.Clone(all)
	Rand(t).Shuffle(len(drawn), func(i, j int) { drawn[i], drawn[j] = drawn[j], drawn[i] })
	return drawn[:Count(t, min(n, len(all)), len(all))]
}

// OfEach gives one of each kind, or all of them in the long form, in an order that is drawn, too.
func OfEach[T any](t testing.TB, all []T, kind func(T) string) []T {
	t.Helper()
	kinds := map[string]bool{}
	return Of(t, slices.DeleteFunc(Of(t, all, len(all)), func(v T) bool {
		known := kinds[kind(v)]
		kinds[kind(v)] = true
		return known && !Long()
	}), len(all))
}

// Count is how often something is done: n times, or as often as the long form does it.
func Count(t testing.TB, n, long int) int {
	t.Helper()
	switch {
	case Long():
		return long
	case testing.Short() && n > 1:
		return (n + 2) / 3
	}
	return n
}

// Points counts from 1 without end, for a test that knows only at the end how many points there are: about one in every few of them, or each
// one in the long form.
func Points(t testing.TB, every int) iter.Seq[int] {
	t.Helper()
	r := Rand(t)
	switch {
	case Long():
		every = 1
	case testing.Short():
		every *= 3
	}
	return func(yield func(int) bool) {
		for n := 1 + r.IntN(every); yield(n); n += 1 + r.IntN(2*every-1) {
		}
	}
}
