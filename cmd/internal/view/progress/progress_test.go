package progress_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/cmd/internal/view/progress"
	"github.com/holdfast-dr/holdfast/reconcile/execute"
	"github.com/holdfast-dr/holdfast/state"
)

// Where no terminal is, each event that says something is one line.
func TestPlainLines(t *testing.T) {
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	var b bytes.Buffer
	d := progress.New(&b)
	for _, e := range []execute.Event{
		{Kind: execute.RunStarted, Run: "2", Address: "backup_plan.x"},
		{Kind: execute.TaskStarted, Task: "2.1", Address: "backup_plan.x", Activity: "pre_script"},
		{Kind: execute.TaskDone, Task: "2.1", Address: "backup_plan.x", Activity: "pre_script", Status: state.Succeeded},
		{Kind: execute.Resumed, Task: "2.2", Address: "backup_plan.x", Activity: "all", Device: "device.box", Domain: "D1"},
		{Kind: execute.DutyStarted, Task: "2.2", Device: "device.box", Domain: "D1", Step: "unquiesce device.box D1", Time: now, Until: now.Add(4 * time.Minute)},
		{Kind: execute.Waiting, Task: "2.2", Device: "device.box", Domain: "D1", Reason: "D1 of device.box to be normal: it is\x1b[31m\nunquiescing", Time: now.Add(10 * time.Second), Until: now.Add(4 * time.Minute)},
		{Kind: execute.DutyPaid, Task: "2.2", Device: "device.box", Domain: "D1", Step: "unquiesce device.box D1"},
		{Kind: execute.Waiting, Task: "2.3", Device: "device.box", Reason: "device/box is held by task 2.2"},
	} {
		d.Event(e)
	}
	d.Close()
	want := `run 2: backup_plan.x started
  2.1 backup_plan.x pre_script succeeded
  2.2 box/D1: unquiesce device.box D1 begins, at most 4m0s
  2.2 box/D1 waits for D1 of device.box to be normal: it is\u001b[31m unquiescing, at most 3m50s
  2.2 box/D1: unquiesce device.box D1 done
  2.3 box waits for device/box is held by task 2.2
`
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
