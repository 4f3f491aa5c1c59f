package secrets

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/holdfast-dr/holdfast/providers"
)

// shortestLine is the length from which a line of a value is blotted out on its own, as the lines of a key are.
const shortestLine = 8

// Redactor blots out the values it was told. The zero value knows none. It is safe for concurrent use.
type Redactor struct {
	mu     sync.RWMutex
	values []mark // longest first
}

type mark struct{ value, name string }

// Watch gives a resolver that tells the redactor every value it resolves.
func (r *Redactor) Watch(resolve func(context.Context, providers.Secret) (string, error)) func(context.Context, providers.Secret) (string, error) {
	return func(ctx context.Context, ref providers.Secret) (string, error) {
		value, err := resolve(ctx, ref)
		if err == nil {
			r.Add(ref, value)
		}
		return value, err
	}
}

// Add tells a value.
func (r *Redactor) Add(ref providers.Secret, value string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	parts := []string{value, strings.TrimSpace(value)}
	for line := range strings.Lines(value) {
		if line = strings.TrimSpace(line); len(line) >= shortestLine {
			parts = append(parts, line)
		}
	}
	for _, p := range parts {
		m := mark{value: p, name: strings.TrimPrefix(string(ref), "secret.")}
		if p != "" && !slices.Contains(r.values, m) {
			r.values = append(r.values, m)
		}
	}
	slices.SortStableFunc(r.values, func(a, b mark) int { return cmp.Compare(len(b.value), len(a.value)) })
}

// Values lists what is blotted out.
func (r *Redactor) Values() []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	all := make([]string, len(r.values))
	for i, m := range r.values {
		all[i] = m.value
	}
	return all
}

// Replace gives a text with every known value replaced by "(secret NAME)".
func (r *Redactor) Replace(s string) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(r.values) == 0 {
		return s
	}
	pairs := make([]string, 0, 2*len(r.values))
	for _, m := range r.values {
		pairs = append(pairs, m.value, "(secret "+m.name+")")
	}
	return strings.NewReplacer(pairs...).Replace(s)
}

// Writer blots values out of what is written through it. Lines are passed on when they are complete, the rest at Close,
// so that a value which comes in two writes is seen whole.
func (r *Redactor) Writer(w io.Writer) io.WriteCloser { return &writer{r: r, w: w} }

type writer struct {
	r    *Redactor
	w    io.Writer
	held []byte
}

func (w *writer) Write(p []byte) (int, error) {
	w.held = append(w.held, p...)
	end := bytes.LastIndexByte(w.held, '\n')
	if end < 0 {
		return len(p), nil
	}
	_, err := io.WriteString(w.w, w.r.Replace(string(w.held[:end+1])))
	w.held = append(w.held[:0], w.held[end+1:]...)
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (w *writer) Close() error {
	_, err := io.WriteString(w.w, w.r.Replace(string(w.held)))
	w.held = nil
	return err
}
