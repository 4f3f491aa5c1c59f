package execute_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/execute"
	"github.com/holdfast-dr/holdfast/state"
)

// cutOff applies a plan of a pre script, work, a post script, and an action that follows, and gives the run after the process was
// killed when the pre script had begun and another process found it so.
func (k *rig) cutOff() (run string) {
	k.Helper()
	task := func(name string, stage int) reconcile.Task {
		return reconcile.Task{Kind: "script", Stage: stage, Steps: []reconcile.Step{k.counted(name, state.Halt)}}
	}
	pre, work, post := task("pre", reconcile.StageBefore), task("work", reconcile.StageWork), task("post", reconcile.StageAfter)
	pre.OnError, post.Always = "halt", true
	next := k.mirrorAction("mirror.plain", "plain", "plain-copy", "", 0)
	next.After = []int{0}
	o := k.o
	kill, cut := context.WithCancel(k.Context())
	k.o.Kill = kill
	k.o.Events = func(e execute.Event) {
		if e.Kind == execute.StepStarted && e.Step == "pre" {
			cut()
		}
	}
	first := manual(pre, work, post)
	first.TriggerKey = time.Now().String()
	res := k.apply(k.plan(first, next))
	k.o = o
	run = res.Runs[0].ID
	k.want(run, "interrupted INTERRUPTED_PROCESS_STOP", "pending", "pending")
	if res := k.resume(); res.Interrupted || k.run(run).Status != state.Attention {
		k.Errorf("interrupted: %t, the run is %s", res.Interrupted, k.run(run).Status)
	}
	k.want(run, "attention OUTCOME_UNKNOWN", "pending", "pending")
	k.want(res.Runs[1].ID, "cancelled CANCELLED_DEPENDENCY_FAILED")
	return run
}

func (k *rig) run(id string) state.Run {
	k.Helper()
	r, err := k.b.Run(k.Context(), id)
	if err != nil {
		k.Fatal(err)
	}
	return r
}

// decide answers for a person, and gives the status of the task after it.
func (k *rig) decide(task string, answer execute.Answer) state.Status {
	k.Helper()
	to, err := execute.Decide(k.Context(), k.b, execute.Decision{Task: task, Answer: answer, Actor: "ann", Reason: "looked", At: time.Now()})
	if err != nil {
		k.Fatal(err)
	}
	return to
}

// ran counts how often a counted script ran.
func (k *rig) ran(script string) int {
	b, _ := os.ReadFile(k.path("count", script))
	return strings.Count(string(b), "\n")
}

// TestDecided: what stands behind a pre script whose outcome nobody knows waits for the decision, and goes on as after a script that
// ended like that.
func TestDecided(t *testing.T) {
	for _, c := range []struct {
		name            string
		answer          execute.Answer
		want            []string
		pre, work, post int
	}{
		{"done", execute.AnswerDone, []string{"succeeded", "succeeded", "succeeded"}, 0, 1, 1},
		{"failed", execute.AnswerFailed, []string{"failed OUTCOME_UNKNOWN", "cancelled PLAN_FAILED_PRE_SCRIPT", "succeeded"}, 0, 0, 1},
		{"again", execute.AnswerRetry, []string{"succeeded", "succeeded", "succeeded"}, 1, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newRig(t)
			run := k.cutOff()
			if res := k.resume(); len(res.Runs) != 0 {
				t.Errorf("a resume without a decision took %v", res.Runs)
			}
			if res, err := execute.New(k.o).Resume(t.Context(), run); err != nil || res.Interrupted || res.Runs[0].Status != state.Attention {
				t.Errorf("a resume of it without a decision: %+v, %v", res, err)
			}
			k.want(run, "attention OUTCOME_UNKNOWN", "pending", "pending")
			k.decide(run+".1", c.answer)
			k.resume()
			k.want(run, c.want...)
			if pre, work, post := k.ran("pre"), k.ran("work"), k.ran("post"); pre != c.pre || work != c.work || post != c.post {
				t.Errorf("the scripts ran %d, %d, %d times, want %d, %d, %d", pre, work, post, c.pre, c.work, c.post)
			}
			if open, _ := k.b.Runs(t.Context(), state.RunFilter{Open: true}); len(open) > 0 {
				t.Errorf("open: %v", open)
			}
		})
	}
}

// TestNeverDecided: after a day nothing waits any more, whether somebody decides then or not; the decision stays open.
func TestNeverDecided(t *testing.T) {
	for _, decided := range []bool{false, true} {
		k := newRig(t)
		run := k.cutOff()
		if decided {
			k.decide(run+".1", execute.AnswerDone)
		}
		k.o.Now = func() time.Time { return time.Now().Add(25 * time.Hour) }
		k.resume()
		day := "cancelled EXECUTION_CANCELED_BECAUSE_A_DAY_PASSED"
		if decided { // the pre script took effect, so its counterpart is due
			k.want(run, "succeeded", day, "succeeded")
		} else {
			k.want(run, "attention OUTCOME_UNKNOWN", day, day)
		}
		if k.ran("work") > 0 || (k.ran("post") > 0) != decided {
			t.Errorf("decided %t: the scripts ran %d and %d times", decided, k.ran("work"), k.ran("post"))
		}
		if open, _ := k.b.Runs(t.Context(), state.RunFilter{Open: true}); len(open) > 0 {
			t.Errorf("open: %v", open)
		}
	}
}
