package sqlstore_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
	"github.com/holdfast-dr/holdfast/state/statetest"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func session(t testing.TB, s *sqlstore.Store) int64 {
	t.Helper()
	n, err := s.OpenSession(t.Context(), state.Session{PID: 1, Actor: "ann", Started: start})
	if err != nil {
		t.Fatal(err)
	}
	return n.Epoch
}

// begin creates one run with n tasks on n devices.
func begin(t testing.TB, s *sqlstore.Store, key string, n int) state.Run {
	t.Helper()
	tasks := make([]state.TaskRun, n)
	for i := range tasks {
		device := fmt.Sprintf("QA%d", i)
		tasks[i] = state.TaskRun{Kind: "backup", Device: device, Action: "secure_backup", Locks: []string{"device/" + device}}
	}
	runs, err := s.Begin(t.Context(), state.StoredPlan{ID: "plan-" + key, Digest: "d", Body: json.RawMessage(`{}`), CreatedAt: start, CreatedBy: "ann"},
		[]state.NewRun{{Run: state.Run{Address: "backup_plan.qa", Kind: "backup", Trigger: state.TriggerManual, TriggerKey: key, CreatedAt: start}, Tasks: tasks}})
	if err != nil {
		t.Fatal(err)
	}
	return runs[0]
}

// work claims a task and journals six steps with an artifact at the end: 8 durable writes.
func work(ctx context.Context, s *sqlstore.Store, epoch int64, task string) error {
	c, err := s.Claim(ctx, epoch, task, start)
	if err != nil {
		return err
	}
	for i := range 7 {
		e := state.Entry{At: start}
		if i > 0 {
			e.End = &state.StepRun{Index: i - 1, Name: "step", Class: state.Rerun, State: state.StepDone, Output: json.RawMessage(`{"bytes":123}`)}
		}
		if i < 6 {
			e.Begin = &state.StepRun{Index: i, Name: "step", Class: state.Rerun, Input: json.RawMessage(`{"timeout":"60s"}`)}
		} else {
			e.Finish = &state.TaskRun{Status: state.Succeeded, Files: 3, Bytes: 1000}
			e.Artifacts = []state.Artifact{{ID: "art-" + task, Store: "store.nas", BackupPlan: "backup_plan.qa", Task: task, State: state.ArtifactGood, Bytes: 1000, Started: start}}
		}
		if err := s.Journal(ctx, c, e); err != nil {
			return err
		}
	}
	return nil
}

// workAll works on all tasks of a run with so many workers.
func workAll(t testing.TB, s *sqlstore.Store, epoch int64, run state.Run, workers int) {
	t.Helper()
	tasks := make(chan string)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for task := range tasks {
				if err := work(t.Context(), s, epoch, task); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range run.Total {
		tasks <- fmt.Sprintf("%s.%d", run.ID, i+1)
	}
	close(tasks)
	wg.Wait()
}

func BenchmarkJournal(b *testing.B) {
	for _, workers := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			s := statetest.New(b)
			epoch := session(b, s)
			run := begin(b, s, "bench", b.N)
			b.ResetTimer()
			workAll(b, s, epoch, run, workers)
			b.ReportMetric(float64(8*b.N)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}

func BenchmarkBegin10000(b *testing.B) {
	s := statetest.New(b)
	for i := range b.N {
		begin(b, s, fmt.Sprint(i), 10_000)
	}
}

func changes(n int) []state.Change {
	all := make([]state.Change, n)
	for i := range all {
		all[i] = state.Change{Op: state.OpPut, Address: fmt.Sprintf("backup_plan.p%05d", i), Digest: "sha256:0123",
			Spec: json.RawMessage(`{"devices":["QA1","QA2"],"schedule":"0 2 * * *","store":"store.nas","retention":{"keep_daily":30}}`), By: "ann", At: start}
	}
	return all
}

func apply(t testing.TB, s *sqlstore.Store, epoch int64) state.Lock {
	t.Helper()
	l, err := s.AcquireLock(t.Context(), state.Lock{Name: state.ApplyLock, Session: epoch, Actor: "ann", Operation: "apply", Acquired: start})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func BenchmarkRecord10000(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		s := statetest.New(b)
		l := apply(b, s, session(b, s))
		b.StartTimer()
		if _, err := s.Record(b.Context(), l, changes(10_000), nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSnapshot reads 10,000 objects, each with 10 runs and 10 artifacts behind it.
func BenchmarkSnapshot(b *testing.B) {
	s := statetest.New(b)
	epoch := session(b, s)
	l := apply(b, s, epoch)
	if _, err := s.Record(b.Context(), l, changes(10_000), nil); err != nil {
		b.Fatal(err)
	}
	for day := range 10 {
		runs := make([]state.NewRun, 10_000)
		for i := range runs {
			runs[i] = state.NewRun{Run: state.Run{Address: fmt.Sprintf("backup_plan.p%05d", i), Kind: "backup", Trigger: state.TriggerSchedule,
				TriggerKey: fmt.Sprint(day), CreatedAt: start, Status: state.Succeeded}}
		}
		if _, err := s.Begin(b.Context(), state.StoredPlan{ID: fmt.Sprint(day), Body: json.RawMessage(`{}`)}, runs); err != nil {
			b.Fatal(err)
		}
		run := begin(b, s, fmt.Sprint(day), 1)
		c, err := s.Claim(b.Context(), epoch, run.ID+".1", start)
		if err != nil {
			b.Fatal(err)
		}
		arts := make([]state.Artifact, 10_000)
		for i := range arts {
			arts[i] = state.Artifact{ID: fmt.Sprintf("%d-%d", day, i), BackupPlan: fmt.Sprintf("backup_plan.p%05d", i), State: state.ArtifactGood, Started: start, Bytes: 10}
		}
		if err := s.Journal(b.Context(), c, state.Entry{Artifacts: arts, Finish: &state.TaskRun{Status: state.Succeeded}, At: start}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := s.Snapshot(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "state.db")
	statetest.Open(b, path)
	for _, o := range []sqlstore.Options{{Path: path}, {Path: path, ReadOnly: true}} {
		b.Run(fmt.Sprintf("readonly=%t", o.ReadOnly), func(b *testing.B) {
			for b.Loop() {
				s, err := sqlstore.Open(b.Context(), o)
				if err != nil {
					b.Fatal(err)
				}
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
