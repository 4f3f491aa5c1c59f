package execute

import (
	"sync"
	"time"
)

const progressEvery = 500 * time.Millisecond

// meter turns counts into progress events, not too many of them. It is safe for concurrent use.
type meter struct {
	c     *call
	total int64 // bytes that are expected; 0: not known
	mu    sync.Mutex
	files int64
	bytes int64
	told  time.Time
}

// meter begins to count. Total is how many bytes are expected, about; 0: not known.
func (c *call) meter(total int64) *meter { return &meter{c: c, total: total, told: c.o.Now()} }

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
	e.Files, e.Bytes, e.Total = m.files, m.bytes, m.total
	m.c.emit(e)
}

// Write counts bytes.
func (m *meter) Write(p []byte) (int, error) {
	m.add(0, int64(len(p)))
	return len(p), nil
}
