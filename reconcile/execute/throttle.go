package execute

import (
	"context"
	"io"
	"time"
)

// throttle writes no more than a number of bytes in a second, on average over a tenth of one. Time that was not used is lost: a device that was
// slow for an hour does not fill the line afterwards.
type throttle struct {
	ctx  context.Context
	w    io.Writer
	rate int64
	free time.Time // when the next byte may be written
}

// Write ends early when the context does.
func (t *throttle) Write(p []byte) (n int, err error) {
	most := int(max(t.rate/10, 1))
	for n < len(p) && err == nil {
		if err := t.wait(); err != nil {
			return n, err
		}
		var m int
		m, err = t.w.Write(p[n:min(len(p), n+most)])
		n += m
		t.free = t.free.Add(time.Duration(float64(m) / float64(t.rate) * float64(time.Second)))
	}
	return n, err
}

func (t *throttle) wait() error {
	now := time.Now()
	if !t.free.After(now) {
		t.free = now
		return nil
	}
	timer := time.NewTimer(t.free.Sub(now))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-t.ctx.Done():
		return context.Cause(t.ctx)
	}
}
