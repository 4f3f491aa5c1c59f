package execute

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		w := &throttle{ctx: ctx, w: &got, rate: 1000}
		begun := time.Now()
		for range 10 {
			if n, err := w.Write(make([]byte, 500)); n != 500 || err != nil {
				t.Fatal(n, err)
			}
		}
		if took := time.Since(begun); took < 4800*time.Millisecond || took > 5*time.Second {
			t.Errorf("5,000 bytes at 1,000 in a second took %v", took)
		}
		time.Sleep(time.Hour)
		begun = time.Now()
		if _, err := w.Write(make([]byte, 3000)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took < 2800*time.Millisecond {
			t.Errorf("after a pause 3,000 bytes took %v", took)
		}
		go cancel()
		if n, err := w.Write(make([]byte, 1_000_000)); !errors.Is(err, context.Canceled) || n > 1000 {
			t.Errorf("cancelled: %d bytes, %v", n, err)
		}
		if got.Len() < 8000 {
			t.Errorf("%d bytes arrived", got.Len())
		}
	})
}
