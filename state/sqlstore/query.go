package sqlstore

import (
	"context"
	"fmt"
	"strings"

	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore/database"
)

// Meta tells which state this is.
func (s *Store) Meta(ctx context.Context) (state.Meta, error) {
	var m state.Meta
	err := s.db.Read(ctx, func(q database.Querier) (err error) {
		m, err = s.meta(ctx, q)
		return err
	})
	if err != nil {
		return state.Meta{}, fmt.Errorf("read meta: %w", err)
	}
	return m, nil
}

func (s *Store) meta(ctx context.Context, q database.Querier) (state.Meta, error) {
	return database.One(ctx, q, func(row database.Row) (state.Meta, error) {
		m := state.Meta{Engine: s.db.Engine()}
		err := row.Scan(&m.Lineage, &m.Generation, &m.Schema, (*holdText)(&m.Hold))
		return m, err
	}, `SELECT (SELECT value FROM meta WHERE name = 'lineage'), (SELECT value FROM counter WHERE name = 'generation'),
		(SELECT max(version_id) FROM schema_version WHERE is_applied), (SELECT value FROM meta WHERE name = 'hold')`)
}

const objectColumns = `address, spec, digest, generation, protect, identity, commit_id, applied_at, applied_by, epoch, heads`

func scanObject(row database.Row) (o state.Object, err error) {
	err = row.Scan(&o.Address, (*rawJSON)(&o.Spec), &o.Digest, &o.Generation, &o.Protect, &o.Identity, &o.Commit,
		(*instant)(&o.AppliedAt), &o.AppliedBy, &o.Epoch, (*headList)(&o.Heads))
	return o, err
}

const roleColumns = `failover, active, epoch, state, moving_to, since, reason, run`

func scanRole(row database.Row) (r state.Role, err error) {
	err = row.Scan(&r.Failover, &r.Active, &r.Epoch, &r.State, &r.MovingTo, (*instant)(&r.Since), &r.Reason, &r.Run)
	return r, err
}

const positionColumns = `mirror, at, finished_at, files, run, source, target`

func scanPosition(row database.Row) (p state.Position, err error) {
	err = row.Scan(&p.Mirror, (*instant)(&p.At), (*instant)(&p.Finished), &p.Files, &p.Run, &p.Source, &p.Target)
	return p, err
}

const cursorColumns = `address, nominal, at`

func scanCursor(row database.Row) (c state.Cursor, err error) {
	err = row.Scan(&c.Address, &c.Nominal, (*instant)(&c.At))
	return c, err
}

const observationColumns = `address, at, body`

func scanObservation(row database.Row) (o state.Observation, err error) {
	err = row.Scan(&o.Address, (*instant)(&o.At), (*rawJSON)(&o.Body))
	return o, err
}

const planColumns = `id, digest, body, created_at, created_by`

func scanPlan(row database.Row) (p state.StoredPlan, err error) {
	err = row.Scan(&p.ID, &p.Digest, (*rawJSON)(&p.Body), (*instant)(&p.CreatedAt), &p.CreatedBy)
	return p, err
}

const runColumns = `id, plan, action_index, address, kind, trigger_kind, trigger_key, due_at, commit_id, actor, status, reason, error,
	created_at, started_at, ended_at, devices, domains, succeeded, failed, skipped, total, source_files, source_bytes`

func scanRun(row database.Row) (r state.Run, err error) {
	err = row.Scan((*number)(&r.ID), &r.Plan, &r.Action, &r.Address, &r.Kind, &r.Trigger, &r.TriggerKey, (*instant)(&r.DueAt), &r.Commit,
		&r.Actor, &r.Status, &r.Reason, &r.Error, (*instant)(&r.CreatedAt), (*instant)(&r.StartedAt), (*instant)(&r.EndedAt),
		&r.Devices, &r.Domains, &r.Succeeded, &r.Failed, &r.Skipped, &r.Total, &r.SourceFiles, &r.SourceBytes)
	return r, err
}

const taskColumns = `run_id, seq, kind, activity, device, domain, action, locks, status, reason, error, owner, attempt,
	status_at, started_at, ended_at, files, bytes, errors, output, source_files, source_bytes`

func scanTask(row database.Row) (t state.TaskRun, err error) {
	err = row.Scan((*number)(&t.Run), &t.Seq, &t.Kind, &t.Activity, &t.Device, &t.Domain, &t.Action, (*nameList)(&t.Locks), &t.Status,
		&t.Reason, &t.Error, &t.Owner, &t.Attempt, (*instant)(&t.StatusAt), (*instant)(&t.Started), (*instant)(&t.Ended),
		&t.Files, &t.Bytes, &t.Errors, (*rawJSON)(&t.Output), &t.SourceFiles, &t.SourceBytes)
	t.ID = fmt.Sprintf("%s.%d", t.Run, t.Seq)
	return t, err
}

const stepColumns = `run_id, seq, idx, name, class, state, session, attempt, input, output, error, began_at, ended_at`

func scanStep(row database.Row) (s state.StepRun, err error) {
	var k taskKey
	err = row.Scan(&k.run, &k.seq, &s.Index, &s.Name, &s.Class, &s.State, &s.Session, &s.Attempt,
		(*rawJSON)(&s.Input), (*rawJSON)(&s.Output), &s.Error, (*instant)(&s.Began), (*instant)(&s.Ended))
	s.Task = k.String()
	return s, err
}

const dutyColumns = `run_id, seq, name, args, paid`

func scanDuty(row database.Row) (d state.Duty, err error) {
	var k taskKey
	err = row.Scan(&k.run, &k.seq, &d.Name, (*rawJSON)(&d.Args), &d.Paid)
	d.Task = k.String()
	return d, err
}

const artifactColumns = `id, store, backup_plan, run, task, device, domain, action, variant, files, bytes, manifest, state,
	started_at, verified_at, error, quarantined_at, pinned`

func scanArtifact(row database.Row) (a state.Artifact, err error) {
	err = row.Scan(&a.ID, &a.Store, &a.BackupPlan, &a.Run, &a.Task, &a.Device, &a.Domain, &a.Action, &a.Variant, &a.Files, &a.Bytes,
		(*rawJSON)(&a.Manifest), &a.State, (*instant)(&a.Started), (*instant)(&a.Verified), &a.Error, (*instant)(&a.Quarantined), &a.Pinned)
	return a, err
}

// Plan gives a stored plan.
func (s *Store) Plan(ctx context.Context, id string) (state.StoredPlan, error) {
	p, err := database.One(ctx, s.db, scanPlan, `SELECT `+planColumns+` FROM plan WHERE id = ?`, id)
	if err != nil {
		return p, fmt.Errorf("read plan %q: %w", id, err)
	}
	return p, nil
}

// Run gives one run.
func (s *Store) Run(ctx context.Context, id string) (state.Run, error) {
	n, err := runNumber(id)
	if err != nil {
		return state.Run{}, err
	}
	r, err := database.One(ctx, s.db, scanRun, `SELECT `+runColumns+` FROM run WHERE id = ?`, n)
	if err != nil {
		return r, fmt.Errorf("read run %s: %w", id, err)
	}
	return r, nil
}

// filter collects the conditions of a query.
type filter struct {
	where []string
	args  []any
}

// is adds a condition on a column unless the wanted value is the zero value.
func (f *filter) is(column, want string) {
	if want != "" {
		f.where = append(f.where, column+" = ?")
		f.args = append(f.args, want)
	}
}

func (f *filter) sql(query, order string, limit int) (string, []any) {
	if len(f.where) > 0 {
		query += " WHERE " + strings.Join(f.where, " AND ")
	}
	query += " ORDER BY " + order
	if limit > 0 {
		return query + " LIMIT ?", append(f.args, limit)
	}
	return query, f.args
}

// Runs lists runs, newest first.
func (s *Store) Runs(ctx context.Context, by state.RunFilter) ([]state.Run, error) {
	var f filter
	f.is("address", by.Address)
	from := "run"
	if by.Open {
		from = "(" + openRuns + ")"
	}
	query, args := f.sql(`SELECT `+runColumns+` FROM `+from, "id DESC", by.Limit)
	runs, err := database.List(ctx, s.db, scanRun, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	return runs, nil
}

// Tasks lists the tasks of a run in their order.
func (s *Store) Tasks(ctx context.Context, run string) ([]state.TaskRun, error) {
	n, err := runNumber(run)
	if err != nil {
		return nil, err
	}
	if err := s.db.Verify(ctx, s.db, "task", "run_id = ?", n); err != nil {
		return nil, fmt.Errorf("list tasks of run %s: %w", run, err)
	}
	tasks, err := database.List(ctx, s.db, scanTask, `SELECT `+taskColumns+` FROM task WHERE run_id = ? ORDER BY seq`, n)
	if err != nil {
		return nil, fmt.Errorf("list tasks of run %s: %w", run, err)
	}
	return tasks, nil
}

// Steps lists the steps of a task that were begun, in their order.
func (s *Store) Steps(ctx context.Context, task string) ([]state.StepRun, error) {
	k, err := parseTask(task)
	if err != nil {
		return nil, err
	}
	if err := s.db.Verify(ctx, s.db, "step", "run_id = ? AND seq = ?", k.run, k.seq); err != nil {
		return nil, fmt.Errorf("list steps of task %s: %w", task, err)
	}
	steps, err := database.List(ctx, s.db, scanStep, `SELECT `+stepColumns+` FROM step WHERE run_id = ? AND seq = ? ORDER BY idx`, k.run, k.seq)
	if err != nil {
		return nil, fmt.Errorf("list steps of task %s: %w", task, err)
	}
	return steps, nil
}

// Duties lists the duties of a task, paid ones too.
func (s *Store) Duties(ctx context.Context, task string) ([]state.Duty, error) {
	k, err := parseTask(task)
	if err != nil {
		return nil, err
	}
	if err := s.db.Verify(ctx, s.db, "duty", "run_id = ? AND seq = ?", k.run, k.seq); err != nil {
		return nil, fmt.Errorf("list duties of task %s: %w", task, err)
	}
	duties, err := database.List(ctx, s.db, scanDuty, `SELECT `+dutyColumns+` FROM duty WHERE run_id = ? AND seq = ? ORDER BY name`, k.run, k.seq)
	if err != nil {
		return nil, fmt.Errorf("list duties of task %s: %w", task, err)
	}
	return duties, nil
}

// Artifacts lists artifacts, newest first.
func (s *Store) Artifacts(ctx context.Context, by state.ArtifactFilter) ([]state.Artifact, error) {
	var f filter
	f.is("id", by.ID)
	f.is("backup_plan", by.BackupPlan)
	f.is("device", by.Device)
	f.is("domain", by.Domain)
	f.is("store", by.Store)
	f.is("run", by.Run)
	f.is("task", by.Task)
	f.is("state", string(by.State))
	query, args := f.sql(`SELECT `+artifactColumns+` FROM artifact`, "started_at DESC, id DESC", by.Limit)
	if err := s.db.Verify(ctx, s.db, "artifact", strings.Join(append(f.where, "1"), " AND "), f.args...); err != nil {
		return nil, fmt.Errorf("list artifacts: %w", err)
	}
	artifacts, err := database.List(ctx, s.db, scanArtifact, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list artifacts: %w", err)
	}
	return artifacts, nil
}

// Snapshot reads what the planner needs as of one moment.
func (s *Store) Snapshot(ctx context.Context) (*state.Snapshot, error) {
	n := &state.Snapshot{}
	err := s.db.Read(ctx, func(q database.Querier) (err error) {
		for _, table := range []string{"meta", "counter", "object", "role", "mirror_position", "schedule_cursor", "run_head"} {
			if err := s.db.Verify(ctx, q, table, "1"); err != nil {
				return err
			}
		}
		if n.Meta, err = s.meta(ctx, q); err != nil {
			return err
		}
		if n.Objects, err = index(ctx, q, scanObject, func(o state.Object) string { return o.Address },
			`SELECT `+objectColumns+` FROM object`); err != nil {
			return err
		}
		if n.Roles, err = index(ctx, q, scanRole, func(r state.Role) string { return r.Failover },
			`SELECT `+roleColumns+` FROM role`); err != nil {
			return err
		}
		if n.Positions, err = index(ctx, q, scanPosition, func(p state.Position) string { return p.Mirror },
			`SELECT `+positionColumns+` FROM mirror_position`); err != nil {
			return err
		}
		if n.Cursors, err = index(ctx, q, scanCursor, func(c state.Cursor) string { return c.Address },
			`SELECT `+cursorColumns+` FROM schedule_cursor`); err != nil {
			return err
		}
		if n.Observations, err = index(ctx, q, scanObservation, func(o state.Observation) string { return o.Address },
			`SELECT `+observationColumns+` FROM observation`); err != nil {
			return err
		}
		address := func(r state.Run) string { return r.Address }
		if n.LastRuns, err = index(ctx, q, scanRun, address,
			`SELECT `+runColumns+` FROM run WHERE id IN (SELECT last_run FROM run_head)`); err != nil {
			return err
		}
		if n.LastGood, err = index(ctx, q, scanRun, address,
			`SELECT `+runColumns+` FROM run WHERE id IN (SELECT last_good FROM run_head WHERE last_good > 0)`); err != nil {
			return err
		}
		if n.Gaps, err = gaps(ctx, q); err != nil {
			return err
		}
		if n.OpenRuns, err = database.List(ctx, q, scanRun, openRuns+` ORDER BY id`); err != nil {
			return err
		}
		if n.Undecided, err = database.List(ctx, q, scanRun, undecidedRuns+` ORDER BY id`); err != nil {
			return err
		}
		if n.Locks, err = s.locks(ctx, q); err != nil {
			return err
		}
		if n.Artifacts, err = holdings(ctx, q); err != nil {
			return err
		}
		if err := found(ctx, q, n.Artifacts, n.LastGood); err != nil {
			return err
		}
		n.Catalogue, err = catalogue(ctx, q)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read snapshot: %w", err)
	}
	return n, nil
}

// index reads records into a map.
func index[T any](ctx context.Context, q database.Querier, scan func(database.Row) (T, error), key func(T) string, query string) (map[string]T, error) {
	all := map[string]T{}
	err := database.Each(ctx, q, query, nil, func(row database.Row) error {
		v, err := scan(row)
		all[key(v)] = v
		return err
	})
	return all, err
}

func holdings(ctx context.Context, q database.Querier) (map[string]state.Holdings, error) {
	all := map[string]state.Holdings{}
	err := database.Each(ctx, q, `SELECT backup_plan, count(*), sum(bytes), min(started_at), max(started_at)
		FROM artifact WHERE state = 'good' GROUP BY backup_plan`, nil, func(row database.Row) error {
		var owner string
		var h state.Holdings
		err := row.Scan(&owner, &h.Count, &h.Bytes, (*instant)(&h.Oldest), (*instant)(&h.Newest))
		all[owner] = h
		return err
	})
	return all, err
}
