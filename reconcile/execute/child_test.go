package execute_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/providers/providertest/faulty"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/execute"
	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

// The test binary is also the program that is killed: with this variable it is a child with one life to live.
const childVariable = "HOLDFAST_CRASH_CHILD"

// life is what a child is to do.
type life struct {
	Dir   string
	Story string // which plan, see stories
	First bool   // apply; otherwise check, resume and check again
	At    int    // die at this crash point; 0: live
	Fail  string // provider call that fails in this life
}

// report is what a child that lived found.
type report struct {
	Points   []string // crash points passed, in order: the step that each belongs to, and what is called
	Findings findings
}

func TestMain(m *testing.M) {
	spec := os.Getenv(childVariable)
	if spec == "" {
		os.Exit(m.Run())
	}
	var l life
	if err := json.Unmarshal([]byte(spec), &l); err != nil {
		panic(err)
	}
	if err := l.live(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// crash counts points and dies at one of them.
type crash struct {
	mu     sync.Mutex
	points []string
	step   string // the last one with an intent; two while an entry is written, see journals
	at     int
	fail   string
}

func (c *crash) point(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.points = append(c.points, c.step+" "+name)
	if len(c.points) == c.at {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	if c.fail != "" && c.fail == name {
		return errors.New("injected failure of " + name)
	}
	return nil
}

// journals notes that a step's outcome and the next one's intent are being written, and then that everything belongs to the next.
func (c *crash) journals(e state.Entry) (done func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := c.step
	switch {
	case e.Begin != nil:
		next = e.Begin.Name
	case e.Finish != nil:
		next = "end"
	}
	c.step += ">" + next
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.step = next
	}
}

// rest ends the danger.
func (c *crash) rest() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.fail = 0, ""
}

func (l life) live() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	w := world{l.Dir}
	b, err := sqlstore.Open(ctx, sqlstore.Options{Path: w.path("state.db")})
	if err != nil {
		return err
	}
	story := stories[l.Story]
	plan := story.plan(w)
	c := &crash{at: l.At, fail: l.Fail}
	var rep report
	point := c.point
	if story.uses != nil {
		point = func(name string) error { story.uses(w, name); return c.point(name) }
	}
	x := execute.New(execute.Options{
		Backend: &mortal{b, c}, Registry: faulty.Registry(registry(), point), Actor: "test",
		Sleep: func(context.Context, time.Duration) error { time.Sleep(breath); return nil },
	})
	runs, err := b.Runs(ctx, state.RunFilter{Address: plan.Actions[0].Address})
	if err != nil {
		return err
	}
	if !l.First {
		rep.Findings = w.check(ctx, b, plan, false)
		if err := w.noteHalts(ctx, b); err != nil {
			return err
		}
	}
	if len(runs) == 0 {
		for _, err = x.Apply(ctx, plan); errors.Is(err, state.ErrLocked) && ctx.Err() == nil; _, err = x.Apply(ctx, plan) {
			time.Sleep(breath)
		}
	} else {
		err = resume(ctx, x, b)
	}
	if err != nil {
		rep.Findings.addf("execute: %v", err)
	}
	if !l.First {
		rep.Findings = append(rep.Findings, w.checkAttention(ctx, b, story.attention)...)
		rep.Findings = append(rep.Findings, w.check(ctx, b, plan, true)...)
		story.end(ctx, w, b, &rep.Findings)
		c.rest()
		if story.again != nil {
			w.goOn(ctx, b, x, story.again(w), &rep.Findings)
		}
	}
	rep.Points = c.points
	if err := b.Close(); err != nil {
		return err
	}
	return os.WriteFile(w.path("report.json"), raw(rep), 0o644)
}

// breath is long enough for a process that was just forked, and holds our locks until it runs its program, to be gone.
const breath = 20 * time.Millisecond

// resume goes on with the runs. A process between fork and exec may outlive its killed parent for an instant, and keeps
// the parent's session alive as long.
func resume(ctx context.Context, x *execute.Executor, b state.Backend) error {
	for {
		res, err := x.Resume(ctx, "")
		open, listErr := b.Runs(ctx, state.RunFilter{Open: true})
		open = slices.DeleteFunc(open, undecided)
		if err != nil || listErr != nil || len(open) == 0 || len(res.Runs) > 0 || ctx.Err() != nil {
			return errors.Join(err, listErr, ctx.Err())
		}
		time.Sleep(breath)
	}
}

// noteHalts remembers over the lives which tasks may end with attention.
func (w world) noteHalts(ctx context.Context, b state.Backend) error {
	f, err := os.OpenFile(w.path("halts"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintln(f, strings.Join(w.openHalts(ctx, b), "\n"))
	return err
}

// checkAttention: a person is asked only where a halt step was cut off, and always there.
func (w world) checkAttention(ctx context.Context, b state.Backend, allowed bool) (f findings) {
	noted, _ := os.ReadFile(w.path("halts"))
	halts := strings.Fields(string(noted))
	w.eachTask(ctx, b, func(t state.TaskRun) {
		expected := slices.Contains(halts, t.ID)
		switch {
		case t.Status == state.Attention && !expected && !allowed:
			f.addf("task %s wants attention without an interrupted halt step: %s", t.ID, t.Error)
		case t.Status != state.Attention && expected:
			f.addf("task %s is %s although a halt step of it was interrupted", t.ID, t.Status)
		}
	})
	return f
}

// goOn: after all that, what a person decides is done, and the next plan works. Every other world is told that the open steps were done;
// then nothing of their tasks is missing.
func (w world) goOn(ctx context.Context, b state.Backend, x *execute.Executor, next *reconcile.Plan, f *findings) {
	answer, decided := execute.AnswerFailed, map[string]bool{}
	if n, err := strconv.Atoi(filepath.Base(w.dir)); err == nil && n%2 == 0 {
		answer = execute.AnswerDone
	}
	w.eachTask(ctx, b, func(t state.TaskRun) {
		if t.Status == state.Attention {
			decided[t.ID] = true
			if _, err := execute.Decide(ctx, b, execute.Decision{Task: t.ID, Answer: answer, Actor: "test", Reason: "looked", At: time.Now()}); err != nil {
				f.addf("resolve %s: %v", t.ID, err)
			}
		}
	})
	if err := resume(ctx, x, b); err != nil {
		f.addf("go on after the decisions: %v", err)
	}
	w.eachTask(ctx, b, func(t state.TaskRun) {
		if !decided[t.ID] {
			return
		}
		arts, _ := b.Artifacts(ctx, state.ArtifactFilter{Task: t.ID, State: state.ArtifactGood})
		if t.Status.Good() != (answer == execute.AnswerDone) || t.Status.Good() && t.Kind == "backup" && len(arts) == 0 {
			f.addf("task %s (%s) was said to be %s: it is %s with %d artifacts: %s", t.ID, t.Kind, answer, t.Status, len(arts), t.Error)
		}
	})
	if open, err := b.Runs(ctx, state.RunFilter{Open: true}); err != nil || len(open) > 0 {
		f.addf("%d runs are open when everything is decided (%v)", len(open), err)
	}
	w.eachTask(ctx, b, func(t state.TaskRun) {
		if t.Reason == execute.PreScriptFailed && t.Status != state.Cancelled {
			f.addf("task %s is %s %s", t.ID, t.Status, t.Reason)
		}
	})
	res, err := x.Apply(ctx, next)
	if err != nil {
		f.addf("the next plan: %v", err)
	}
	for _, r := range res.Runs {
		if r.Status != state.Succeeded {
			f.addf("the next run of %s is %s", r.Address, r.Status)
			tasks, _ := b.Tasks(ctx, r.ID)
			for _, t := range tasks {
				f.addf("  task %s: %s %s %s", t.ID, t.Status, t.Reason, t.Error)
			}
		}
	}
	*f = append(*f, w.check(ctx, b, next, true)...)
}

// mortal is a backend that may die before and after each write.
type mortal struct {
	state.Backend
	c *crash
}

func around[T any](c *crash, name string, do func() (T, error)) (T, error) {
	_ = c.point(name)
	v, err := do()
	_ = c.point(name + ":done")
	return v, err
}

func (m *mortal) OpenSession(ctx context.Context, s state.Session) (state.Session, error) {
	return around(m.c, "OpenSession", func() (state.Session, error) { return m.Backend.OpenSession(ctx, s) })
}

func (m *mortal) CloseSession(ctx context.Context, epoch int64) error {
	_, err := around(m.c, "CloseSession", func() (any, error) { return nil, m.Backend.CloseSession(ctx, epoch) })
	return err
}

func (m *mortal) AcquireLock(ctx context.Context, l state.Lock) (state.Lock, error) {
	return around(m.c, "AcquireLock", func() (state.Lock, error) { return m.Backend.AcquireLock(ctx, l) })
}

func (m *mortal) Record(ctx context.Context, l state.Lock, c []state.Change, r []state.RoleChange) (int64, error) {
	return around(m.c, "Record", func() (int64, error) { return m.Backend.Record(ctx, l, c, r) })
}

func (m *mortal) Begin(ctx context.Context, p state.StoredPlan, runs []state.NewRun) ([]state.Run, error) {
	return around(m.c, "Begin", func() ([]state.Run, error) { return m.Backend.Begin(ctx, p, runs) })
}

func (m *mortal) Claim(ctx context.Context, session int64, task string, at time.Time) (state.Claim, error) {
	return around(m.c, "Claim", func() (state.Claim, error) { return m.Backend.Claim(ctx, session, task, at) })
}

func (m *mortal) Journal(ctx context.Context, c state.Claim, e state.Entry) error {
	defer m.c.journals(e)()
	_, err := around(m.c, "Journal", func() (any, error) { return nil, m.Backend.Journal(ctx, c, e) })
	return err
}

func (m *mortal) Await(ctx context.Context, run string, at time.Time) error {
	_, err := around(m.c, "Await", func() (any, error) { return nil, m.Backend.Await(ctx, run, at) })
	return err
}

func (m *mortal) Cancel(ctx context.Context, run string, status state.Status, reason, msg string, at time.Time) error {
	_, err := around(m.c, "Cancel", func() (any, error) { return nil, m.Backend.Cancel(ctx, run, status, reason, msg, at) })
	return err
}
