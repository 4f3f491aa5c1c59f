package statetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/holdfast-dr/holdfast/state"
)

var concurrencyTests = map[string]func(*fixture){
	"many workers never share a task or a lock": func(f *fixture) {
		const devices, workers = 5, 16
		se := f.session()
		var tasks []state.TaskRun
		for i := range 60 {
			tasks = append(tasks, device(fmt.Sprintf("QA%d", i%devices)))
		}
		r := f.begin("backup_plan.qa", tasks...)
		var inside [devices]atomic.Int32
		var claims atomic.Int32
		at := f.tick()
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for n := 0; n < len(tasks); {
					i := (n + w) % len(tasks)
					c, err := f.b.Claim(f.ctx(), se, fmt.Sprintf("%s.%d", r.ID, i+1), at.AddDate(0, 0, w))
					switch {
					case errors.Is(err, state.ErrBusy):
						continue // its lock comes free
					case errors.Is(err, state.ErrStale):
						n++
						continue
					case err != nil:
						f.Error(err)
						return
					}
					n++
					claims.Add(1)
					if inside[i%devices].Add(1) != 1 {
						f.Errorf("two tasks on device %d", i%devices)
					}
					for k := range 3 {
						if err := f.b.Journal(f.ctx(), c, state.Entry{Begin: &state.StepRun{Index: k, Name: "s"}, At: at}); err != nil {
							f.Error(err)
						}
					}
					inside[i%devices].Add(-1)
					if err := f.b.Journal(f.ctx(), c, state.Entry{Finish: &state.TaskRun{Status: state.Succeeded}, At: at}); err != nil {
						f.Error(err)
					}
				}
			})
		}
		wg.Wait()
		equal(f, "claims", claims.Load(), int32(len(tasks)))
		run := f.run(r.ID)
		equal(f, "run", run.Status, state.Succeeded)
		equal(f, "succeeded", run.Succeeded, len(tasks))
		equal(f, "locks", len(f.snapshot().Locks), 0)
	},
	"one caller's error is not another's": func(f *fixture) {
		se := f.session()
		var tasks []state.TaskRun
		for i := range 40 {
			tasks = append(tasks, device(fmt.Sprint(i)))
		}
		r := f.begin("backup_plan.qa", tasks...)
		at := f.tick()
		var wg sync.WaitGroup
		for i := range tasks {
			wg.Go(func() {
				id := fmt.Sprintf("%s.%d", r.ID, i+1)
				c, err := f.b.Claim(f.ctx(), se, id, at)
				if err != nil {
					f.Error(err)
					return
				}
				wrong := c
				wrong.Attempt++
				err = f.b.Journal(f.ctx(), wrong, state.Entry{Begin: &state.StepRun{Name: "wrong"}, Duties: []state.Duty{{Name: "wrong"}}, At: at})
				if !errors.Is(err, state.ErrFenced) {
					f.Errorf("got %v, want fenced", err)
				}
				if err := f.b.Journal(f.ctx(), c, state.Entry{Begin: &state.StepRun{Name: "right"}, At: at}); err != nil {
					f.Error(err)
				}
			})
		}
		wg.Wait()
		for i := range tasks {
			id := fmt.Sprintf("%s.%d", r.ID, i+1)
			steps, err := f.b.Steps(f.ctx(), id)
			f.ok(err)
			duties, err := f.b.Duties(f.ctx(), id)
			f.ok(err)
			if len(steps) != 1 || steps[0].Name != "right" || len(duties) != 0 {
				f.Errorf("task %s: %v, %v", id, steps, duties)
			}
		}
	},
	"a snapshot is of one moment and waits for nobody": func(f *fixture) {
		se := f.session()
		l := f.lock(se)
		const objects, rounds = 20, 15
		ctx, stop := context.WithCancel(f.ctx())
		var wg sync.WaitGroup
		wg.Go(func() {
			defer stop()
			for g := range int64(rounds) {
				var changes []state.Change
				for i := range objects {
					changes = append(changes, f.put(fmt.Sprintf("store.s%d", i), g))
				}
				if _, err := f.b.Record(f.ctx(), l, changes, nil); err != nil {
					f.Error(err)
					return
				}
			}
		})
		for range 3 {
			wg.Go(func() {
				for ctx.Err() == nil {
					n, err := f.b.Snapshot(f.ctx())
					if err != nil {
						f.Error(err)
						return
					}
					for _, o := range n.Objects {
						if o.Generation != n.Meta.Generation {
							f.Errorf("%s has generation %d in a state of generation %d", o.Address, o.Generation, n.Meta.Generation)
						}
					}
				}
			})
		}
		wg.Wait()
		equal(f, "generation", f.generation(), rounds)
	},
	"one of many begins an occurrence": func(f *fixture) {
		n := f.newRun("backup_plan.qa", device("QA1"))
		plans := make([]state.StoredPlan, 12)
		for i := range plans {
			plans[i] = f.plan()
		}
		var begun atomic.Int32
		var wg sync.WaitGroup
		for _, p := range plans {
			wg.Go(func() {
				_, err := f.b.Begin(f.ctx(), p, []state.NewRun{n})
				if err == nil {
					begun.Add(1)
				} else if !errors.Is(err, state.ErrDuplicate) {
					f.Error(err)
				}
			})
		}
		wg.Wait()
		equal(f, "begun", begun.Load(), 1)
		runs, err := f.b.Runs(f.ctx(), state.RunFilter{})
		f.ok(err)
		equal(f, "runs", len(runs), 1)
	},
}
