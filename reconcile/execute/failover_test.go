package execute_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/holdfast-dr/holdfast/reconcile/execute"
	"github.com/holdfast-dr/holdfast/state"
)

func TestMirrorFollowsTheRole(t *testing.T) {
	k := newRig(t)
	res := k.apply(k.plan(k.mirrorAction("mirror.live", "left", "right", orders, 7)))
	k.want(res.Runs[0].ID, "cancelled CANCELLED_ROLE_CHANGED")
	if diff := compareTrees(k.path("left"), k.path("right")); diff == "" {
		t.Error("copied although the role has another epoch")
	}
}

func TestHalfASwitchoverIsAPersons(t *testing.T) {
	k := newRig(t)
	breakService(t, k.world)
	p := k.move("failover_target.link", "failover_target.svc")
	res := k.apply(p)
	k.want(res.Runs[0].ID, "attention OUTCOME_UNKNOWN")
	if r := k.role(); r.State != state.RoleUncertain || r.Active != left || r.Epoch != 2 || r.MovingTo != right {
		t.Errorf("role %+v", r)
	}
	task := k.tasks(res.Runs[0].ID)[0]
	if !strings.Contains(task.Error, "holdfast task resolve "+task.ID) {
		t.Errorf("the message does not say what to do: %s", task.Error)
	}
	live := k.apply(k.plan(k.mirrorAction("mirror.live", "left", "right", orders, 2)))
	k.want(live.Runs[0].ID, "cancelled CANCELLED_ROLE_CHANGED")

	if err := os.Remove(k.path("svc", "broken")); err != nil {
		t.Fatal(err)
	}
	k.decide(task.ID, execute.AnswerRetry)
	k.resume()
	k.want(res.Runs[0].ID, "succeeded")
	if r := k.role(); r.State != state.RoleSettled || r.Active != right || r.Epoch != 2 {
		t.Errorf("role %+v", r)
	}
	k.clean(p, true)
}

func TestAFailedMoveUsesItsEpochUp(t *testing.T) {
	k := newRig(t)
	breakService(t, k.world)
	res := k.apply(k.move("failover_target.svc", "failover_target.link"))
	k.want(res.Runs[0].ID, "failed FAILED")
	if r := k.role(); r.State != state.RoleSettled || r.Active != left || r.Epoch != 2 {
		t.Errorf("role %+v", r)
	}
	again := k.apply(k.plan(k.moveAction("left", "right", 1, "failover_target.svc")))
	k.want(again.Runs[0].ID, "cancelled CANCELLED_ROLE_CHANGED")
	if k.count(execute.DutyPaid) != 1 {
		t.Error("the freeze was not undone")
	}
}

func TestADutyThatCannotBePaidIsAPersons(t *testing.T) {
	k := newRig(t)
	breakService(t, k.world)
	k.failing("target.Unfreeze", -1, errors.New("no answer"))
	p := k.move("failover_target.svc", "failover_target.link")
	res := k.apply(p)
	k.want(res.Runs[0].ID, "attention DUTY_UNPAID")
	k.healed()
	task := k.tasks(res.Runs[0].ID)[0]
	k.decide(task.ID, execute.AnswerRetry)
	k.resume()
	k.want(res.Runs[0].ID, "failed FAILED")
	if r := k.role(); r.State != state.RoleSettled || r.Active != left {
		t.Errorf("role %+v", r)
	}
	k.clean(p, true)
}
