package execute

import (
	"fmt"
	"sync"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/state"
)

// reservations is the room in stores that the running tasks of this process will still need. Two tasks that look at the same
// free space do not both count on it.
type reservations struct {
	mu     sync.Mutex
	byTask map[string]*reservation
}

type reservation struct {
	store  string
	bytes  int64
	stages []providers.Stage // what it wrote already is no longer free
}

func (r *reservation) left() int64 {
	n := r.bytes
	for _, s := range r.stages {
		n -= s.Written()
	}
	return max(0, n)
}

// reserve puts a task's estimate aside if it fits: fits is told what the other tasks still need in the store.
func (r *reservations) reserve(task, store string, bytes int64, fits func(others int64) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var others int64
	for t, held := range r.byTask {
		if t != task && held.store == store {
			others += held.left()
		}
	}
	if err := fits(others); err != nil {
		return err
	}
	if r.byTask == nil {
		r.byTask = map[string]*reservation{}
	}
	r.byTask[task] = &reservation{store: store, bytes: bytes}
	return nil
}

// writing notes where a task writes. One that was resumed after its check reserves here.
func (r *reservations) writing(task, store string, bytes int64, s providers.Stage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	held, ok := r.byTask[task]
	if !ok {
		if r.byTask == nil {
			r.byTask = map[string]*reservation{}
		}
		held = &reservation{store: store, bytes: bytes}
		r.byTask[task] = held
	}
	held.stages = append(held.stages, s)
}

// release gives back what a task did not use.
func (r *reservations) release(task string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byTask, task)
}

// fits judges the free space of a store for a task: what must stay free, what other tasks will still write, and what this one will.
func (c *call) fits(store string, info providers.StoreInfo) func(others int64) error {
	return func(others int64) error {
		need := info.MinFreeBytes + others + max(0, c.spec.Estimate)
		switch {
		case info.FreeBytes >= 0 && (info.FreeBytes < need || info.FreeBytes == 0):
			return ends(state.Failed, FailedStoreSpace, "%s has %d bytes free; %d have to stay free, running tasks will write about %d, and this one about %d. Free space, or lower the store's free_space limits",
				store, info.FreeBytes, info.MinFreeBytes, others, c.spec.Estimate)
		case info.FreeInodes >= 0 && info.FreeInodes < info.MinFreeInodes:
			return ends(state.Failed, FailedStoreSpace, "%s has %d inodes free and %d have to stay free", store, info.FreeInodes, info.MinFreeInodes)
		}
		return nil
	}
}

// roomNote says how the space was judged.
func (c *call) roomNote(info providers.StoreInfo) string {
	if c.spec.Estimate == 0 {
		return fmt.Sprintf("%d bytes free; how many are needed is not known", info.FreeBytes)
	}
	return fmt.Sprintf("%d bytes free, about %d needed", info.FreeBytes, c.spec.Estimate)
}
