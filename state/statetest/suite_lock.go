package statetest

import (
	"errors"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/state"
)

var lockTests = map[string]func(*fixture){
	"one holder at a time, with a growing number": func(f *fixture) {
		a, b := f.session(), f.session()
		l := f.lock(a)
		_, err := f.b.AcquireLock(f.ctx(), state.Lock{Name: state.ApplyLock, Session: b, Actor: "bob", Acquired: f.tick()})
		f.is(err, state.ErrLocked)
		var locked *state.LockedError
		if !errors.As(err, &locked) {
			f.Fatalf("%v is not a *state.LockedError", err)
		}
		equal(f, "holder", locked.Lock, l)
		if !strings.Contains(err.Error(), "ann (ops1, process 4711)") {
			f.Errorf("the error does not name the holder: %v", err)
		}
		_, err = f.b.AcquireLock(f.ctx(), state.Lock{Name: state.ApplyLock, Session: a, Actor: "ann", Acquired: f.tick()})
		f.is(err, state.ErrLocked)

		held, err := f.b.Locks(f.ctx())
		f.ok(err)
		equal(f, "locks", held, []state.Lock{l})
		equal(f, "locks in the snapshot", f.snapshot().Locks, held)

		f.ok(f.b.ReleaseLock(f.ctx(), l))
		f.ok(f.b.ReleaseLock(f.ctx(), l))
		next := f.lock(b)
		if next.Token <= l.Token {
			f.Errorf("token %d after %d", next.Token, l.Token)
		}
		f.ok(f.b.ReleaseLock(f.ctx(), l))
		held, err = f.b.Locks(f.ctx())
		f.ok(err)
		equal(f, "locks", held, []state.Lock{next})
	},
	"the same acquisition again is the same lock": func(f *fixture) {
		want := state.Lock{Name: state.ApplyLock, Session: f.session(), Actor: "ann", Operation: "apply", Acquired: f.tick()}
		a, err := f.b.AcquireLock(f.ctx(), want)
		f.ok(err)
		b, err := f.b.AcquireLock(f.ctx(), want)
		f.ok(err)
		equal(f, "lock", b, a)
	},
	"an expired lock is lost, a renewed one is not": func(f *fixture) {
		l := f.lock(f.session())
		equal(f, "expiry", l.Expires, l.Acquired.Add(time.Minute))
		l.Expires = l.Acquired.Add(2 * time.Minute)
		f.ok(f.b.RenewLock(f.ctx(), l))

		other := f.session()
		take := state.Lock{Name: state.ApplyLock, Session: other, Actor: "bob", Acquired: l.Expires.Add(-time.Second)}
		_, err := f.b.AcquireLock(f.ctx(), take)
		f.is(err, state.ErrLocked)
		take.Acquired = l.Expires
		got, err := f.b.AcquireLock(f.ctx(), take)
		f.ok(err)
		f.is(f.b.RenewLock(f.ctx(), l), state.ErrFenced)
		f.ok(f.b.ReleaseLock(f.ctx(), l))
		f.ok(f.b.RenewLock(f.ctx(), got))
	},
	"a lock of a closed session is free": func(f *fixture) {
		a, b := f.session(), f.session()
		l := f.lock(a)
		f.ok(f.b.CloseSession(f.ctx(), a))
		f.ok(f.b.CloseSession(f.ctx(), a))
		f.is(f.b.RenewLock(f.ctx(), l), state.ErrFenced)
		f.lock(b)
		_, err := f.b.AcquireLock(f.ctx(), state.Lock{Name: "device/QA1", Session: a, Actor: "ann", Acquired: f.tick()})
		f.is(err, state.ErrFenced)
		f.is(f.b.CloseSession(f.ctx(), 999999), state.ErrNotFound)
	},
	"a person's hold is honoured until it ends": func(f *fixture) {
		se := f.session()
		hold := state.Lock{Name: "device/QA1", Operation: "hold", Actor: "ann", Reason: "replacing the fan", Acquired: f.tick()}
		if _, err := f.b.AcquireLock(f.ctx(), hold); err == nil {
			f.Error("a hold without expiry was accepted")
		}
		hold.Expires = hold.Acquired.Add(time.Hour)
		_, err := f.b.AcquireLock(f.ctx(), hold)
		f.ok(err)
		r := f.begin("backup_plan.qa", device("QA1"))
		_, err = f.b.Claim(f.ctx(), se, r.ID+".1", f.tick())
		f.is(err, state.ErrBusy)
		if !strings.Contains(err.Error(), "replacing the fan") {
			f.Errorf("the error does not say why: %v", err)
		}
		f.session()
		_, err = f.b.AcquireLock(f.ctx(), state.Lock{Name: "device/QA1", Session: se, Actor: "bob", Acquired: f.tick()})
		f.is(err, state.ErrLocked)
		f.now = hold.Expires
		f.claim(se, r.ID+".1")
	},
	"who waits for a task of a dead process finds it interrupted": func(f *fixture) {
		dead, se := f.session(), f.session()
		l := f.lock(dead)
		r := f.begin("backup_plan.qa", device("QA1"))
		f.claim(dead, r.ID+".1")
		own := f.begin("backup_plan.qb", device("QA1"))
		wait := func(want state.Status) {
			f.Helper()
			_, err := f.b.Claim(f.ctx(), se, own.ID+".1", f.tick())
			f.is(err, state.ErrBusy)
			tasks, err := f.b.Tasks(f.ctx(), r.ID)
			f.ok(err)
			equal(f, "the task that has the lock", tasks[0].Status, want)
		}
		wait(state.Running)
		mine, err := f.b.AcquireLock(f.ctx(), state.Lock{Name: "plan/x", Session: se, Actor: "bob", Acquired: f.tick()})
		f.ok(err)
		f.now = l.Expires.Add(time.Hour) // its process is stopped, and so was this one, which is alive all the same
		wait(state.Interrupted)
		mine.Expires = f.now.Add(time.Hour)
		f.ok(f.b.RenewLock(f.ctx(), mine))
		wait(state.Interrupted) // the lock stays with the task
		f.finish(f.claim(se, r.ID+".1"), state.Succeeded)
		f.claim(se, own.ID+".1")
	},
	"locks that make no sense are refused": func(f *fixture) {
		se := f.session()
		for name, l := range map[string]state.Lock{
			"no name":         {Session: se, Actor: "ann", Acquired: f.now},
			"no time":         {Name: "a", Session: se, Actor: "ann"},
			"no session":      {Name: "a", Actor: "ann", Acquired: f.now, Expires: f.now.Add(time.Hour)},
			"unknown session": {Name: "a", Session: 999999, Actor: "ann", Acquired: f.now},
			"expired":         {Name: "a", Session: se, Actor: "ann", Acquired: f.now, Expires: f.now},
			"for a task":      {Name: "a", Session: se, Task: "1.1", Actor: "ann", Acquired: f.now},
		} {
			if _, err := f.b.AcquireLock(f.ctx(), l); err == nil {
				f.Errorf("%s: no error", name)
			}
		}
	},
	"breaking a lock tells whom it was taken from": func(f *fixture) {
		l := f.lock(f.session())
		was, err := f.b.BreakLock(f.ctx(), l.Name, "bob", "ann is on holiday", f.tick())
		f.ok(err)
		equal(f, "lock", was, l)
		_, err = f.b.BreakLock(f.ctx(), l.Name, "bob", "again", f.tick())
		f.is(err, state.ErrNotFound)
	},
	"a task whose lock is broken cannot go on": func(f *fixture) {
		se := f.session()
		r := f.begin("backup_plan.qa", device("QA1"), device("QA1"))
		c := f.claim(se, r.ID+".1")
		was, err := f.b.BreakLock(f.ctx(), "device/QA1", "bob", "device is gone", f.tick())
		f.ok(err)
		equal(f, "task", was.Task, c.Task)
		f.is(f.b.Journal(f.ctx(), c, state.Entry{Begin: &state.StepRun{Name: "x"}, At: f.tick()}), state.ErrFenced)
		equal(f, "status", f.task(c.Task).Status, state.Interrupted)
		f.claim(se, r.ID+".2")
	},
	"a session that let its lock expire is over": func(f *fixture) {
		stopped, other := f.session(), f.session()
		l := f.lock(stopped)
		c := f.claim(stopped, f.begin("backup_plan.qa", device("QA1")).ID+".1")
		f.now = l.Expires.Add(-2 * time.Second)
		f.session()
		equal(f, "before the expiry", f.task(c.Task).Status, state.Running)
		f.now = l.Expires
		f.session()
		equal(f, "after the expiry", f.task(c.Task).Status, state.Interrupted)
		f.is(f.b.Journal(f.ctx(), c, state.Entry{Begin: &state.StepRun{Name: "x"}, At: f.tick()}), state.ErrFenced)
		f.is(f.b.RenewLock(f.ctx(), l), state.ErrFenced)
		f.claim(other, c.Task)
	},
	"epochs grow": func(f *fixture) {
		a := f.session()
		f.ok(f.b.CloseSession(f.ctx(), a))
		if b := f.session(); b <= a {
			f.Errorf("epoch %d after %d", b, a)
		}
	},
}
