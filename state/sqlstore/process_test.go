package sqlstore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/config/sampletest"
	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
	"github.com/holdfast-dr/holdfast/state/statetest"
)

// childVar tells a copy of the test program to act as another holdfast process on the state database it names.
const childVar = "SQLSTORE_TEST_CHILD"

func TestMain(m *testing.M) {
	if path := os.Getenv(childVar); path != "" {
		if err := child(path, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child opens the state and a session, prints the epoch, and works on one run after the other. Each write is printed once it is
// acknowledged: "run 3" or "3.1 5" for the fifth entry of a task. A line on standard input lets it go on when it was told to wait.
func child(path string, args []string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	name, runs, wait := args[0], args[1], args[2] == "wait"
	s, err := sqlstore.Open(ctx, sqlstore.Options{Path: path})
	if err != nil {
		return err
	}
	se, err := s.OpenSession(ctx, state.Session{PID: os.Getpid(), Actor: name, Started: start})
	if err != nil {
		return err
	}
	fmt.Println("epoch", se.Epoch)
	var l state.Lock
	if wait {
		l, err = s.AcquireLock(ctx, state.Lock{Name: state.ApplyLock, Session: se.Epoch, Actor: name, Acquired: start})
		if err != nil {
			return err
		}
	}
	n, err := strconv.Atoi(runs)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	say := func(words ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Println(words...)
	}
	for i := range n {
		if err := childRun(ctx, s, se.Epoch, fmt.Sprintf("%s-%d", name, i), wait, say); err != nil {
			return err
		}
	}
	if wait {
		_, err = s.Record(ctx, l, changes(1), nil)
		say("record", err)
	}
	return s.Close()
}

func childRun(ctx context.Context, s *sqlstore.Store, epoch int64, key string, wait bool, say func(...any)) error {
	const tasks, entries = 4, 6
	run := state.NewRun{Run: state.Run{Address: "backup_plan.qa", Trigger: state.TriggerManual, TriggerKey: key, CreatedAt: start}, Tasks: make([]state.TaskRun, tasks)}
	for i := range run.Tasks {
		run.Tasks[i].Locks = []string{fmt.Sprintf("device/%s-%d", key, i)}
	}
	begun, err := s.Begin(ctx, state.StoredPlan{ID: key, Body: []byte(`{}`)}, []state.NewRun{run})
	if err != nil {
		return err
	}
	say("run", begun[0].ID)
	errs := make(chan error)
	for i := range tasks {
		go func() {
			errs <- func() error {
				task := fmt.Sprintf("%s.%d", begun[0].ID, i+1)
				c, err := s.Claim(ctx, epoch, task, start)
				if err != nil {
					return err
				}
				say("claimed", task)
				if wait {
					if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil && !errors.Is(err, io.EOF) {
						return err
					}
				}
				for k := range entries {
					if err := s.Journal(ctx, c, state.Entry{Begin: &state.StepRun{Index: k, Name: "s"}, At: start}); err != nil {
						say("refused", errors.Is(err, state.ErrFenced))
						return nil
					}
					say(task, k)
				}
				return s.Journal(ctx, c, state.Entry{Finish: &state.TaskRun{Status: state.Succeeded}, At: start})
			}()
		}()
	}
	for range tasks {
		err = errors.Join(err, <-errs)
	}
	return err
}

// process is a running child.
type process struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
	epoch int64
}

func startChild(t *testing.T, path, name string, runs int, mode string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0], name, strconv.Itoa(runs), mode)
	cmd.Env = append(os.Environ(), childVar+"="+path)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, in: in, lines: bufio.NewScanner(out)}
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	})
	if _, err := fmt.Sscanf(p.next(t, "epoch"), "epoch %d", &p.epoch); err != nil {
		t.Fatal(err)
	}
	return p
}

// next reads lines until one starts with the word.
func (p *process) next(t *testing.T, word string) string {
	t.Helper()
	for p.lines.Scan() {
		if strings.HasPrefix(p.lines.Text(), word) {
			return p.lines.Text()
		}
	}
	t.Fatalf("the child ended before it said %q", word)
	return ""
}

func TestKilledProcessLosesNothingAndIsNoticedAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	acknowledged := map[string]int{} // entries of each task
	runs := map[string]bool{}
	rounds := sampletest.Count(t, 4, 12)
	for round := range rounds {
		p := startChild(t, path, fmt.Sprintf("c%d", round), 10_000, "go")
		lines := 0
		for p.lines.Scan() {
			words := strings.Fields(p.lines.Text())
			switch words[0] {
			case "run":
				runs[words[1]] = true
			case "claimed":
				acknowledged[words[1]] = 0
			default:
				k, err := strconv.Atoi(words[1])
				if err != nil {
					t.Fatal(err)
				}
				acknowledged[words[0]] = k + 1
			}
			if lines++; lines == 20+round*17 {
				p.cmd.Process.Kill() // what it acknowledged up to its death is still read
			}
		}
		p.cmd.Wait()

		s := statetest.Open(t, path)
		se, err := s.OpenSession(t.Context(), state.Session{Actor: "after", Started: start})
		if err != nil {
			t.Fatal(err)
		}
		for run := range runs {
			tasks, err := s.Tasks(t.Context(), run)
			if err != nil || len(tasks) != 4 {
				t.Fatalf("run %s was acknowledged: %v, %v", run, tasks, err)
			}
			var outcomes []state.Outcome
			for _, task := range tasks {
				outcomes = append(outcomes, task.Outcome())
				if task.Status == state.Running {
					t.Errorf("task %s of the dead process is running", task.ID)
				}
				steps, err := s.Steps(t.Context(), task.ID)
				if err != nil || len(steps) < acknowledged[task.ID] {
					t.Errorf("task %s: %d steps, %d were acknowledged (%v)", task.ID, len(steps), acknowledged[task.ID], err)
				}
			}
			r, err := s.Run(t.Context(), run)
			if err != nil || r.Status != state.Summarise(outcomes) && r.Status != state.Pending {
				t.Errorf("run %s is %s with tasks %v (%v)", run, r.Status, outcomes, err)
			}
		}
		if err := errors.Join(s.CloseSession(t.Context(), se.Epoch), s.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLivingProcessKeepsItsWork(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	p := startChild(t, path, "child", 1, "wait")
	var task string
	for range 4 {
		task = strings.Fields(p.next(t, "claimed"))[1]
	}
	s := statetest.Open(t, path)
	mine := session(t, s)
	if mine <= p.epoch {
		t.Errorf("epoch %d after %d", mine, p.epoch)
	}
	if _, err := s.Claim(t.Context(), mine, task, start); !errors.Is(err, state.ErrStale) {
		t.Errorf("claimed a task of a living process: %v", err)
	}
	if _, err := s.AcquireLock(t.Context(), state.Lock{Name: state.ApplyLock, Session: mine, Acquired: start.Add(time.Second)}); !errors.Is(err, state.ErrLocked) {
		t.Errorf("took the lock of a living process: %v", err)
	}
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.cmd.Wait()
	apply(t, s, mine)
	if _, err := s.Claim(t.Context(), mine, task, start); !errors.Is(err, state.ErrStale) {
		t.Errorf("got %v", err)
	}
	mine = session(t, s)
	if _, err := s.Claim(t.Context(), mine, task, start); err != nil {
		t.Error(err)
	}
}

func TestStoppedProcessIsFencedWhenItWakes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	p := startChild(t, path, "child", 1, "wait")
	var task string
	for range 4 {
		task = strings.Fields(p.next(t, "claimed"))[1]
	}
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	s := statetest.Open(t, path)
	later := start.Add(time.Hour) // its lock is expired by then
	n, err := s.OpenSession(t.Context(), state.Session{Actor: "after", Started: later})
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.AcquireLock(t.Context(), state.Lock{Name: state.ApplyLock, Session: n.Epoch, Acquired: later})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Claim(t.Context(), n.Epoch, task, later); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := p.in.Close(); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if got := p.next(t, "refused"); got != "refused true" {
			t.Errorf("a woken process wrote: %s", got)
		}
	}
	if got := p.next(t, "record"); !strings.Contains(got, state.ErrFenced.Error()) {
		t.Errorf("got %s", got)
	}
	if _, err := s.Record(t.Context(), l, changes(1), nil); err != nil {
		t.Error(err)
	}
}

func TestTwoProcessesWriteAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	const runs = 20
	var all []*process
	for i := range 2 {
		all = append(all, startChild(t, path, fmt.Sprintf("p%d", i), runs, "go"))
	}
	for _, p := range all {
		for p.lines.Scan() {
		}
		if err := p.cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	s := statetest.Open(t, path)
	got, err := s.Runs(t.Context(), state.RunFilter{})
	if err != nil || len(got) != 2*runs {
		t.Fatalf("%d runs, %v", len(got), err)
	}
	for _, r := range got {
		if r.Status != state.Succeeded || r.Succeeded != 4 {
			t.Errorf("run %s is %s with %d", r.ID, r.Status, r.Succeeded)
		}
	}
}

func TestTwoStoresInOneProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	a, b := statetest.Open(t, path), statetest.Open(t, path)
	ea, eb := session(t, a), session(t, b)
	run := begin(t, a, "k", 2)
	if _, err := a.Claim(t.Context(), ea, run.ID+".1", start); err != nil {
		t.Fatal(err)
	}
	l := apply(t, a, ea)
	session(t, b)
	tasks, err := b.Tasks(t.Context(), run.ID)
	if err != nil || tasks[0].Status != state.Running {
		t.Errorf("the task of a living session is %s, %v", tasks[0].Status, err)
	}
	if _, err := b.AcquireLock(t.Context(), state.Lock{Name: state.ApplyLock, Session: eb, Acquired: start}); !errors.Is(err, state.ErrLocked) {
		t.Errorf("got %v", err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	session(t, b)
	if tasks, err = b.Tasks(t.Context(), run.ID); err != nil || tasks[0].Status != state.Interrupted {
		t.Errorf("the task of a closed state is %s, %v", tasks[0].Status, err)
	}
	if _, err := b.Record(t.Context(), l, changes(1), nil); !errors.Is(err, state.ErrFenced) {
		t.Errorf("got %v", err)
	}
	apply(t, b, eb)
}
