package statetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/state"
	"pgregory.net/rapid"
)

// modelTask is what the model knows of a task.
type modelTask struct {
	id     string
	run    string
	locks  []string
	status state.Status
	claim  state.Claim
	steps  int
}

// modelState is the state as it should be, in memory. All checks use one backend, so names are new in each.
type modelState struct {
	ctx        context.Context
	b          state.Backend
	name       string
	now        time.Time
	sessions   []int64
	tasks      []*modelTask
	started    map[string]bool         // runs of which a task was ever claimed
	awaits     map[string]bool         // runs that were left to a person
	ended      map[string]state.Status // of the runs that were seen to have ended
	holder     map[string]*modelTask
	generation int64
	objects    map[string]int64
	n, steps   int
}

func model(t *testing.T, b state.Backend) {
	checks := 0
	rapid.Check(t, func(t *rapid.T) {
		checks++
		m := &modelState{ctx: t.Context(), b: b, name: fmt.Sprintf("check%d/", checks), now: time.Date(2026, 1, 1, 0, 0, checks, 0, time.UTC),
			started: map[string]bool{}, awaits: map[string]bool{}, ended: map[string]state.Status{}, holder: map[string]*modelTask{}, objects: map[string]int64{}}
		meta, err := b.Meta(m.ctx)
		m.must(t, err)
		m.generation = meta.Generation
		t.Repeat(map[string]func(*rapid.T){
			"open":    m.open,
			"close":   m.close,
			"begin":   m.begin,
			"claim":   m.claim,
			"claim2":  m.claim,
			"step":    m.step,
			"finish":  m.finish,
			"cancel":  m.cancel,
			"await":   m.await,
			"resolve": m.resolve,
			"break":   m.breakLock,
			"record":  m.record,
			"":        m.check,
		})
		m.checkRuns(t)
		for _, e := range m.sessions {
			m.must(t, b.CloseSession(m.ctx, e))
		}
	})
}

func (m *modelState) must(t *rapid.T, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

func (m *modelState) want(t *rapid.T, err, want error) {
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
}

func (m *modelState) tick() time.Time {
	m.now = m.now.Add(time.Millisecond)
	return m.now
}

// in draws a task with one of the statuses.
func (m *modelState) in(t *rapid.T, statuses ...state.Status) *modelTask {
	var some []*modelTask
	for _, task := range m.tasks {
		if slices.Contains(statuses, task.status) {
			some = append(some, task)
		}
	}
	if len(some) == 0 {
		t.Skip("no such task")
	}
	return rapid.SampledFrom(some).Draw(t, "task")
}

func (m *modelState) release(task *modelTask) {
	for name, holder := range m.holder {
		if holder == task {
			delete(m.holder, name)
		}
	}
}

func (m *modelState) open(t *rapid.T) {
	if len(m.sessions) >= 3 {
		t.Skip("enough sessions")
	}
	s, err := m.b.OpenSession(m.ctx, state.Session{Actor: m.name, Started: m.tick()})
	m.must(t, err)
	m.sessions = append(m.sessions, s.Epoch)
}

func (m *modelState) session(t *rapid.T) int64 {
	if len(m.sessions) == 0 {
		t.Skip("no session")
	}
	return rapid.SampledFrom(m.sessions).Draw(t, "session")
}

func (m *modelState) close(t *rapid.T) {
	e := m.session(t)
	m.must(t, m.b.CloseSession(m.ctx, e))
	m.sessions = slices.DeleteFunc(m.sessions, func(x int64) bool { return x == e })
	for _, task := range m.tasks {
		if task.status == state.Running && task.claim.Session == e {
			task.status = state.Interrupted
		}
	}
}

func (m *modelState) begin(t *rapid.T) {
	m.n++
	n := state.NewRun{Run: state.Run{Address: m.name, Trigger: state.TriggerManual, TriggerKey: fmt.Sprint(m.n), CreatedAt: m.tick()}}
	for range rapid.IntRange(1, 4).Draw(t, "tasks") {
		task := state.TaskRun{Status: rapid.SampledFrom([]state.Status{"", "", "", state.Skipped}).Draw(t, "status")}
		for _, name := range []string{"a", "b", "c"} {
			if rapid.Bool().Draw(t, name) {
				task.Locks = append(task.Locks, m.name+name)
			}
		}
		n.Tasks = append(n.Tasks, task)
	}
	runs, err := m.b.Begin(m.ctx, state.StoredPlan{ID: m.name, Digest: m.name, Body: []byte(`{}`)}, []state.NewRun{n})
	m.must(t, err)
	for i, task := range n.Tasks {
		if task.Status == "" {
			task.Status = state.Pending
		}
		m.tasks = append(m.tasks, &modelTask{id: fmt.Sprintf("%s.%d", runs[0].ID, i+1), run: runs[0].ID, locks: task.Locks, status: task.Status})
	}
}

func (m *modelState) claim(t *rapid.T) {
	e := m.session(t)
	task := m.in(t, state.Pending, state.Interrupted, state.Running, state.Succeeded)
	c, err := m.b.Claim(m.ctx, e, task.id, m.tick())
	if task.status != state.Pending && task.status != state.Interrupted {
		m.want(t, err, state.ErrStale)
		return
	}
	if m.awaits[task.run] {
		m.want(t, err, state.ErrStale)
		return
	}
	for _, name := range task.locks {
		if holder := m.holder[name]; holder != nil && holder != task {
			m.want(t, err, state.ErrBusy)
			return
		}
	}
	m.must(t, err)
	if c.Attempt != task.claim.Attempt+1 || (len(task.locks) > 0 && c.Token <= task.claim.Token) {
		t.Fatalf("claim %+v after %+v", c, task.claim)
	}
	task.claim, task.status = c, state.Running
	m.started[task.run] = true
	for _, name := range task.locks {
		m.holder[name] = task
	}
}

func (m *modelState) step(t *rapid.T) {
	task := m.in(t, state.Running, state.Interrupted, state.Succeeded)
	if task.claim.Task == "" {
		t.Skip("never claimed")
	}
	e := state.Entry{Begin: &state.StepRun{Index: task.steps, Name: "s", Class: state.Rerun}, At: m.tick()}
	if task.steps > 0 {
		e.End = &state.StepRun{Index: task.steps - 1, State: state.StepDone}
	}
	for range rapid.IntRange(1, 2).Draw(t, "times") {
		err := m.b.Journal(m.ctx, task.claim, e)
		if task.status != state.Running {
			m.want(t, err, state.ErrFenced)
			return
		}
		m.must(t, err)
	}
	task.steps++
}

func (m *modelState) finish(t *rapid.T) {
	task := m.in(t, state.Running)
	to := rapid.SampledFrom([]state.Status{state.Succeeded, state.Warned, state.Failed, state.Skipped, state.Cancelled, state.Attention, state.Interrupted}).Draw(t, "to")
	e := state.Entry{Finish: &state.TaskRun{Status: to}, At: m.tick()}
	for range rapid.IntRange(1, 2).Draw(t, "times") {
		m.must(t, m.b.Journal(m.ctx, task.claim, e))
	}
	task.status = to
	if to.Terminal() {
		m.release(task)
	}
}

func (m *modelState) cancel(t *rapid.T) {
	run := m.in(t, state.Pending).run
	m.must(t, m.b.Cancel(m.ctx, run, state.Cancelled, "R", "", m.tick()))
	for _, task := range m.tasks {
		if task.run == run && task.status == state.Pending {
			task.status = state.Cancelled
		}
	}
}

func (m *modelState) await(t *rapid.T) {
	run := m.in(t, state.Attention, state.Pending).run
	has := map[state.Status]bool{}
	for _, task := range m.tasks {
		if task.run == run {
			has[task.status] = true
		}
	}
	for range rapid.IntRange(1, 2).Draw(t, "times") {
		err := m.b.Await(m.ctx, run, m.tick())
		if !has[state.Attention] || has[state.Running] || has[state.Interrupted] {
			m.want(t, err, state.ErrStale)
			return
		}
		m.must(t, err)
	}
	m.awaits[run] = true
}

func (m *modelState) resolve(t *rapid.T) {
	task := m.in(t, state.Attention, state.Running)
	to := rapid.SampledFrom([]state.Status{state.Succeeded, state.Failed, state.Interrupted}).Draw(t, "to")
	err := m.b.Resolve(m.ctx, state.Resolution{Task: task.id, To: to, Actor: "ann", Reason: "looked", At: m.tick()})
	if task.status != state.Attention {
		m.want(t, err, state.ErrStale)
		return
	}
	m.must(t, err)
	task.status = to
	delete(m.awaits, task.run)
	delete(m.ended, task.run) // the one thing that opens what had ended
}

func (m *modelState) breakLock(t *rapid.T) {
	name := m.name + rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "lock")
	was, err := m.b.BreakLock(m.ctx, name, "ann", "test", m.tick())
	holder := m.holder[name]
	if holder == nil {
		m.want(t, err, state.ErrNotFound)
		return
	}
	m.must(t, err)
	if was.Task != holder.id {
		t.Fatalf("%s was taken from %q, not %s", name, was.Task, holder.id)
	}
	delete(m.holder, name)
	if holder.status == state.Running {
		holder.status = state.Interrupted
	}
}

func (m *modelState) record(t *rapid.T) {
	e := m.session(t)
	l, err := m.b.AcquireLock(m.ctx, state.Lock{Name: state.ApplyLock, Session: e, Actor: m.name, Acquired: m.tick()})
	m.must(t, err)
	address := m.name + rapid.SampledFrom([]string{".x", ".y"}).Draw(t, "address")
	c := state.Change{Op: state.OpPut, Address: address, IfGeneration: m.objects[address], Spec: []byte(`{}`), At: m.now}
	if rapid.IntRange(0, 3).Draw(t, "stale") == 0 {
		c.IfGeneration++
		_, err = m.b.Record(m.ctx, l, []state.Change{c}, nil)
		m.want(t, err, state.ErrStale)
	} else {
		g, err := m.b.Record(m.ctx, l, []state.Change{c}, nil)
		m.must(t, err)
		if g != m.generation+1 {
			t.Fatalf("generation %d after %d", g, m.generation)
		}
		m.generation, m.objects[address] = g, g
	}
	m.must(t, m.b.ReleaseLock(m.ctx, l))
}

// check compares the backend with the model.
func (m *modelState) check(t *rapid.T) {
	meta, err := m.b.Meta(m.ctx)
	m.must(t, err)
	if meta.Generation != m.generation {
		t.Fatalf("generation %d, want %d", meta.Generation, m.generation)
	}
	locks, err := m.b.Locks(m.ctx)
	m.must(t, err)
	locks = slices.DeleteFunc(locks, func(l state.Lock) bool { return !strings.HasPrefix(l.Name, m.name) })
	if len(locks) != len(m.holder) {
		t.Fatalf("locks %v, want %v", locks, m.holder)
	}
	for _, l := range locks {
		if holder := m.holder[l.Name]; holder == nil || l.Task != holder.id {
			t.Fatalf("%s is held by %q, want %v", l.Name, l.Task, holder)
		}
	}
	if m.steps++; m.steps%4 == 0 {
		m.checkRuns(t)
	}
}

// checkRuns compares all runs; it is not done after every action, since it reads a lot.
func (m *modelState) checkRuns(t *rapid.T) {
	runs := map[string][]*modelTask{}
	for _, task := range m.tasks {
		runs[task.run] = append(runs[task.run], task)
	}
	for id, tasks := range runs {
		m.checkRun(t, id, tasks)
	}
}

func (m *modelState) checkRun(t *rapid.T, id string, tasks []*modelTask) {
	got, err := m.b.Tasks(m.ctx, id)
	m.must(t, err)
	var outcomes []state.Outcome
	var want state.Run
	for i, task := range tasks {
		if got[i].Status != task.status || got[i].Attempt != task.claim.Attempt {
			t.Fatalf("task %s is %s (attempt %d), want %s (%d)", task.id, got[i].Status, got[i].Attempt, task.status, task.claim.Attempt)
		}
		outcomes = append(outcomes, state.TaskRun{Kind: got[i].Kind, Status: task.status}.Outcome())
		switch task.status {
		case state.Succeeded, state.Warned:
			want.Succeeded++
		case state.Failed:
			want.Failed++
		case state.Skipped, state.Cancelled:
			want.Skipped++
		}
	}
	want.Status = state.Summarise(outcomes)
	if want.Status == state.Running && !m.started[id] {
		want.Status = state.Pending
	}
	if m.awaits[id] {
		want.Status = state.Attention
	}
	run, err := m.b.Run(m.ctx, id)
	m.must(t, err)
	if was, ended := m.ended[id]; ended && run.Status != was {
		t.Fatalf("run %s was %s, which had ended, and is %s", id, was, run.Status)
	}
	if run.Status.Terminal() {
		m.ended[id] = run.Status
	}
	if run.Status != want.Status || run.Succeeded != want.Succeeded || run.Failed != want.Failed || run.Skipped != want.Skipped || run.Total != len(tasks) {
		t.Fatalf("run is %+v, want %+v", run, want)
	}
	if run.EndedAt.IsZero() == run.Status.Terminal() {
		t.Fatalf("run is %s and ended at %s", run.Status, run.EndedAt)
	}
}
