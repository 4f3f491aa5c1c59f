package execute

import (
	"sync"
	"time"
)

const progressEvery = 500 * time.Millisecond

// meter turns counts into progress events, not too many of them. It is safe for concurrent use.
type meter struct {
	c     *call
	mu    sync.Mutex
	files int64
	bytes int64
	told  time.Time
}

func (c *call) meter() *meter { return &meter{c: c, told: c.o.Now()} }

func (m *meter) add(files, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files += files
	m.bytes += bytes
	now := m.c.o.Now()
	if now.Sub(m.told) < progressEvery {
		return
	}
	m.told = now
	e := m.c.event(Progress)
	e.Files, e.Bytes = m.files, m.bytes
	m.c.emit(e)
}

// Write counts bytes.
func (m *meter) Write(p []byte) (int, error) {
	m.add(0, int64(len(p)))
	return len(p), nil
}
