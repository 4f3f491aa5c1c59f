package sqlstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/holdfast-dr/holdfast/state"
)

// Begin stores a plan and its runs with their tasks. A run whose tasks are all ended, or that has none, is ended from the start:
// with the status it comes with if that is terminal, else with that of its tasks. The distinct devices and domains are counted
// over the tasks that name one. After an unknown outcome the same call is a *state.DuplicateError that names the run which is there.
func (s *Store) Begin(ctx context.Context, p state.StoredPlan, runs []state.NewRun) ([]state.Run, error) {
	if err := checkBegin(p, runs); err != nil {
		return nil, fmt.Errorf("begin plan %s: %w", p.ID, err)
	}
	var begun []state.Run
	err := s.write(ctx, func(t *tx) error {
		begun = make([]state.Run, 0, len(runs))
		if err := t.putPlan(p); err != nil {
			return err
		}
		for _, n := range runs {
			r, err := t.beginRun(p.ID, n)
			if err != nil {
				return err
			}
			begun = append(begun, r)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("begin plan %s: %w", p.ID, err)
	}
	return begun, nil
}

func checkBegin(p state.StoredPlan, runs []state.NewRun) error {
	if p.ID == "" {
		return errors.New("it needs an id")
	}
	if p.Body == nil || !json.Valid(p.Body) {
		return errors.New("its body is not valid JSON")
	}
	for _, n := range runs {
		if n.Run.Address == "" || n.Run.Trigger == "" || n.Run.TriggerKey == "" {
			return fmt.Errorf("a run needs an address, a trigger and a key, not %q, %q, %q", n.Run.Address, n.Run.Trigger, n.Run.TriggerKey)
		}
		open := false
		for i, task := range n.Tasks {
			if task.Status != "" && task.Status != state.Pending {
				if _, err := state.Pending.To(task.Status); err != nil || !task.Status.Terminal() {
					return fmt.Errorf("task %d of the run of %s cannot begin as %s", i+1, n.Run.Address, task.Status)
				}
			} else {
				open = true
			}
			if err := wantJSON("the output of a task", task.Output); err != nil {
				return err
			}
		}
		if st := n.Run.Status; st != "" && st != state.Pending && (open || !st.Terminal()) {
			return fmt.Errorf("the run of %s cannot begin as %s", n.Run.Address, st)
		}
	}
	return nil
}

// putPlan stores a plan once. The same id with another content is an error.
func (t *tx) putPlan(p state.StoredPlan) error {
	n, err := t.Exec(`INSERT INTO plan (`+planColumns+`) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
		p.ID, p.Digest, string(p.Body), micros(p.CreatedAt), p.CreatedBy)
	if err != nil || n == 1 {
		return err
	}
	var digest string
	if _, err := t.Row(`SELECT digest FROM plan WHERE id = ?`, []any{p.ID}, &digest); err != nil {
		return err
	}
	if digest != p.Digest {
		return fmt.Errorf("another plan is stored under this id (digest %s, not %s)", digest, p.Digest)
	}
	return nil
}

func (t *tx) beginRun(plan string, n state.NewRun) (state.Run, error) {
	r := n.Run
	var old number
	found, err := t.Row(`SELECT id FROM run WHERE address = ? AND trigger_kind = ? AND trigger_key = ?`,
		[]any{r.Address, r.Trigger, r.TriggerKey}, &old)
	if err != nil {
		return r, err
	}
	if found {
		return r, &state.DuplicateError{Address: r.Address, Trigger: r.Trigger, TriggerKey: r.TriggerKey, Run: string(old)}
	}
	id, err := t.next("run")
	if err != nil {
		return r, err
	}
	r.ID, r.Plan = strconv.FormatInt(id, 10), plan
	count(&r, n.Tasks)
	if r.Status.Terminal() && r.Status != "" {
		r.EndedAt = r.CreatedAt
	} else if r.Status = begunStatus(n.Tasks); r.Status.Terminal() {
		r.EndedAt = r.CreatedAt
	}
	r.DueAt, r.CreatedAt, r.StartedAt, r.EndedAt = stored(r.DueAt), stored(r.CreatedAt), stored(r.StartedAt), stored(r.EndedAt)
	if _, err := t.Exec(`INSERT INTO run (`+runColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0)`,
		id, r.Plan, r.Action, r.Address, r.Kind, r.Trigger, r.TriggerKey, micros(r.DueAt), r.Commit, r.Actor, r.Status, r.Reason, r.Error,
		micros(r.CreatedAt), micros(r.StartedAt), micros(r.EndedAt), r.Devices, r.Domains, r.Succeeded, r.Failed, r.Skipped, r.Total); err != nil {
		return r, err
	}
	if err := t.beginTasks(id, r.CreatedAt, n.Tasks); err != nil {
		return r, err
	}
	if err := t.newHead(r.Address, id, 0); err != nil {
		return r, err
	}
	if n.Cursor != nil {
		err = t.moveCursor(*n.Cursor)
	}
	return r, err
}

// moveCursor moves the cursor of a schedule, but never back.
func (t *tx) moveCursor(c state.Cursor) error {
	_, err := t.Exec(`INSERT INTO schedule_cursor (`+cursorColumns+`) VALUES (?, ?, ?)
		ON CONFLICT (address) DO UPDATE SET nominal = excluded.nominal, at = excluded.at WHERE excluded.at >= schedule_cursor.at`,
		c.Address, c.Nominal, micros(c.At))
	return err
}

// stored is a time as it reads back.
func stored(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.UnixMicro(t.UnixMicro()).UTC()
}

// count fills the numbers of a run that begins.
func count(r *state.Run, tasks []state.TaskRun) {
	devices, domains := map[string]bool{}, map[[2]string]bool{}
	r.Succeeded, r.Failed, r.Skipped, r.Total = 0, 0, 0, len(tasks)
	r.SourceFiles, r.SourceBytes = 0, 0
	for _, task := range tasks {
		if task.Device != "" {
			devices[task.Device] = true
		}
		if task.Domain != "" {
			domains[[2]string{task.Device, task.Domain}] = true
		}
		switch task.Status {
		case state.Failed:
			r.Failed++
		case state.Skipped, state.Cancelled, state.Missed:
			r.Skipped++
		}
	}
	r.Devices, r.Domains = len(devices), len(domains)
}

// begunStatus is the status of a run nobody has worked on yet.
func begunStatus(tasks []state.TaskRun) state.Status {
	var all []state.Outcome
	for _, task := range tasks {
		if task.Status == "" || task.Status == state.Pending {
			return state.Pending
		}
		all = append(all, task.Outcome())
	}
	return state.Summarise(all)
}

func (t *tx) beginTasks(run int64, at time.Time, tasks []state.TaskRun) error {
	for i, task := range tasks {
		locks, err := listText(task.Locks)
		if err != nil {
			return err
		}
		var ended int64
		if task.Status == "" {
			task.Status = state.Pending
		} else if task.Status.Terminal() {
			ended = micros(at)
		}
		if _, err := t.Exec(`INSERT INTO task (`+taskColumns+`, last_entry) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, ?, 0, ?, ?, ?, ?, ?, 0, 0, '')`,
			run, i+1, task.Kind, task.Activity, task.Device, task.Domain, task.Action, locks, task.Status, task.Reason, task.Error,
			micros(at), ended, task.Files, task.Bytes, task.Errors, text(task.Output)); err != nil {
			return err
		}
	}
	return nil
}

// newHead notes the newest run of an address, and the newest good one; 0: it is not good.
func (t *tx) newHead(address string, run, good int64) error {
	_, err := t.Exec(`INSERT INTO run_head (address, last_run, last_good) VALUES (?, ?, ?) ON CONFLICT (address) DO UPDATE SET
		last_run = CASE WHEN excluded.last_run > run_head.last_run THEN excluded.last_run ELSE run_head.last_run END,
		last_good = CASE WHEN excluded.last_good > run_head.last_good THEN excluded.last_good ELSE run_head.last_good END`,
		address, run, good)
	return err
}
