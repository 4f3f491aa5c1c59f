package statetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/state"
)

// Suite checks what every state backend promises. Open gives an empty backend, which lives until its test ends.
func Suite(t *testing.T, open func(t *testing.T) state.Backend) {
	for _, group := range []map[string]func(*fixture){recordTests, lockTests, runTests, journalTests, readTests, expireTests, readingTests, recoverTests, concurrencyTests} {
		for name, test := range group {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(&fixture{T: t, b: open(t), now: time.Date(2026, 10, 25, 2, 30, 0, 123456000, time.UTC)})
			})
		}
	}
	t.Run("random journals follow the model", func(t *testing.T) {
		t.Parallel()
		model(t, open(t))
	})
}

// fixture is one backend under test, with steps that must succeed.
type fixture struct {
	*testing.T
	b   state.Backend
	now time.Time
	n   int
}

// tick gives the next moment of the test.
func (f *fixture) tick() time.Time {
	f.now = f.now.Add(time.Second)
	return f.now
}

func (f *fixture) ctx() context.Context { return f.Context() }

func (f *fixture) ok(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// is wants an error that callers can recognise.
func (f *fixture) is(err, want error) {
	f.Helper()
	if !errors.Is(err, want) {
		f.Fatalf("got error %v, want %v", err, want)
	}
}

func equal[T any](f *fixture, what string, got, want T) {
	f.Helper()
	if !reflect.DeepEqual(got, want) {
		f.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

func (f *fixture) session() int64 {
	f.Helper()
	s, err := f.b.OpenSession(f.ctx(), state.Session{PID: 4711, Actor: "ann", Started: f.tick()})
	f.ok(err)
	return s.Epoch
}

// resolve decides about a task.
func (f *fixture) resolve(task string, to state.Status) error {
	return f.b.Resolve(f.ctx(), state.Resolution{Task: task, To: to, Actor: "ann", Reason: "looked", At: f.tick()})
}

func (f *fixture) lock(session int64) state.Lock {
	f.Helper()
	l, err := f.b.AcquireLock(f.ctx(), state.Lock{Name: state.ApplyLock, Session: session, Actor: "ann", Host: "ops1", PID: 4711, Operation: "apply", Acquired: f.tick()})
	f.ok(err)
	return l
}

func (f *fixture) put(address string, ifGeneration int64) state.Change {
	return state.Change{Op: state.OpPut, Address: address, IfGeneration: ifGeneration, Spec: json.RawMessage(`{"keep":30}`), Digest: "sha256:1",
		By: "ann", Commit: "3f9c1ab", At: f.tick()}
}

func (f *fixture) record(l state.Lock, changes []state.Change, roles ...state.RoleChange) int64 {
	f.Helper()
	g, err := f.b.Record(f.ctx(), l, changes, roles)
	f.ok(err)
	return g
}

func (f *fixture) generation() int64 {
	f.Helper()
	m, err := f.b.Meta(f.ctx())
	f.ok(err)
	return m.Generation
}

// key gives a new trigger key.
func (f *fixture) key() string {
	f.n++
	return fmt.Sprintf("key-%d", f.n)
}

func (f *fixture) plan() state.StoredPlan {
	f.n++
	return state.StoredPlan{ID: fmt.Sprintf("plan-%d", f.n), Digest: "sha256:2", Body: json.RawMessage(`{"actions":[]}`), CreatedAt: f.now, CreatedBy: "ann"}
}

func (f *fixture) newRun(address string, tasks ...state.TaskRun) state.NewRun {
	return state.NewRun{Tasks: tasks, Run: state.Run{Address: address, Kind: "backup", Trigger: state.TriggerManual, TriggerKey: f.key(),
		Commit: "3f9c1ab", Actor: "ann", Reason: "due", CreatedAt: f.tick()}}
}

// begin creates one run.
func (f *fixture) begin(address string, tasks ...state.TaskRun) state.Run {
	f.Helper()
	runs, err := f.b.Begin(f.ctx(), f.plan(), []state.NewRun{f.newRun(address, tasks...)})
	f.ok(err)
	return runs[0]
}

func (f *fixture) claim(session int64, task string) state.Claim {
	f.Helper()
	c, err := f.b.Claim(f.ctx(), session, task, f.tick())
	f.ok(err)
	return c
}

func (f *fixture) journal(c state.Claim, e state.Entry) {
	f.Helper()
	if e.At.IsZero() {
		e.At = f.tick()
	}
	f.ok(f.b.Journal(f.ctx(), c, e))
}

func (f *fixture) finish(c state.Claim, s state.Status) {
	f.Helper()
	f.journal(c, state.Entry{Finish: &state.TaskRun{Status: s}})
}

func (f *fixture) run(id string) state.Run {
	f.Helper()
	r, err := f.b.Run(f.ctx(), id)
	f.ok(err)
	return r
}

func (f *fixture) task(id string) state.TaskRun {
	f.Helper()
	run, _, _ := cutTask(id)
	tasks, err := f.b.Tasks(f.ctx(), run)
	f.ok(err)
	for _, t := range tasks {
		if t.ID == id {
			return t
		}
	}
	f.Fatalf("there is no task %s", id)
	return state.TaskRun{}
}

func cutTask(id string) (run string, seq int, err error) {
	for i := len(id) - 1; i >= 0; i-- {
		if id[i] == '.' {
			_, err = fmt.Sscanf(id[i+1:], "%d", &seq)
			return id[:i], seq, err
		}
	}
	return "", 0, fmt.Errorf("%q is no task id", id)
}

func (f *fixture) snapshot() *state.Snapshot {
	f.Helper()
	n, err := f.b.Snapshot(f.ctx())
	f.ok(err)
	return n
}

// device is a task on one device, with its lock.
func device(name string) state.TaskRun {
	return state.TaskRun{Kind: "backup", Activity: "secure", Device: "device." + name, Action: "secure_backup", Locks: []string{"device/" + name}}
}
