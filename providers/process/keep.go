package process

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// keeper keeps the first and the last half of what is written to it, with
// secrets blotted out before anything is cut, so that no part of one survives.
type keeper struct {
	secrets [][]byte // longest first
	hold    int      // bytes that may begin a secret
	pending []byte
	head    []byte
	tail    []byte
	skipped int64
}

const redacted = "[redacted]"

func newKeeper(secrets []string) *keeper {
	k := &keeper{}
	for _, s := range secrets {
		for _, s := range []string{s, strings.TrimSpace(s)} {
			if s != "" {
				k.secrets = append(k.secrets, []byte(s))
				k.hold = max(k.hold, len(s)-1)
			}
		}
	}
	slices.SortFunc(k.secrets, func(a, b []byte) int { return len(b) - len(a) })
	return k
}

func (k *keeper) Write(p []byte) (int, error) {
	if len(k.secrets) == 0 {
		k.store(p)
		return len(p), nil
	}
	k.pending = append(k.pending, p...)
	k.blot()
	if n := len(k.pending) - k.hold; n > 0 {
		k.store(k.pending[:n])
		k.pending = slices.Delete(k.pending, 0, n)
	}
	return len(p), nil
}

func (k *keeper) blot() {
	for {
		at, size := -1, 0
		for _, s := range k.secrets {
			if i := bytes.Index(k.pending, s); i >= 0 && (at < 0 || i < at) {
				at, size = i, len(s)
			}
		}
		if at < 0 {
			return
		}
		k.store(k.pending[:at])
		k.store([]byte(redacted))
		k.pending = slices.Delete(k.pending, 0, at+size)
	}
}

func (k *keeper) store(p []byte) {
	const half = keptBytes / 2
	if room := half - len(k.head); room > 0 {
		n := min(room, len(p))
		k.head = append(k.head, p[:n]...)
		p = p[n:]
	}
	k.tail = append(k.tail, p...)
	if over := len(k.tail) - half; over > half {
		k.skipped += int64(over)
		k.tail = slices.Delete(k.tail, 0, over)
	}
}

// text ends the keeping. Bytes that are no text are replaced.
func (k *keeper) text() string {
	const half = keptBytes / 2
	k.blot()
	k.store(k.pending)
	k.pending = nil
	if over := len(k.tail) - half; over > 0 {
		k.skipped += int64(over)
		k.tail = slices.Delete(k.tail, 0, over)
	}
	s := string(k.head)
	if k.skipped > 0 {
		s += fmt.Sprintf("\n[%d bytes left out]\n", k.skipped)
	}
	return strings.ToValidUTF8(s+string(k.tail), "\uFFFD")
}

// lastLines gives the end of a program's complaint in one line fit for a message.
func lastLines(s string) string {
	const lines, width = 3, 400
	var last []string
	for _, l := range slices.Backward(strings.Split(s, "\n")) {
		if l = strings.TrimSpace(strings.Map(printable, l)); l != "" {
			last = append(last, l)
		}
		if len(last) == lines {
			break
		}
	}
	slices.Reverse(last)
	msg := []rune(strings.Join(last, "; "))
	if len(msg) > width {
		msg = append([]rune("..."), msg[len(msg)-width:]...)
	}
	return string(msg)
}

func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return ' '
}
