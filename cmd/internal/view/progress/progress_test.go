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

// How far a step is, and how long the rest may take, is said where it is known how much there is.
func TestEstimates(t *testing.T) {
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	var b bytes.Buffer
	d := progress.New(&b)
	after := func(seconds int, e execute.Event) {
		e.Task, e.Device, e.Time = "2.1", "device.box", now.Add(time.Duration(seconds)*time.Second)
		d.Event(e)
	}
	const mib = 1 << 20
	after(0, execute.Event{Kind: execute.TaskStarted})
	after(0, execute.Event{Kind: execute.StepStarted, Step: "capture"})
	after(5, execute.Event{Kind: execute.Progress, Step: "capture", Bytes: 50 * mib, Total: 400 * mib}) // too soon for a line
	after(10, execute.Event{Kind: execute.Progress, Step: "capture", Bytes: 100 * mib, Total: 400 * mib})
	after(19, execute.Event{Kind: execute.Progress, Step: "capture", Bytes: 190 * mib, Total: 400 * mib})
	after(40, execute.Event{Kind: execute.Progress, Step: "capture", Files: 2, Bytes: 399 * mib, Total: 400 * mib})
	after(50, execute.Event{Kind: execute.Progress, Step: "capture", Files: 2, Bytes: 500 * mib, Total: 400 * mib})
	after(51, execute.Event{Kind: execute.StepStarted, Step: "restore"})
	after(61, execute.Event{Kind: execute.Progress, Step: "restore", Bytes: mib, Total: 400 * mib}) // little is known by then
	after(70, execute.Event{Kind: execute.StepStarted, Step: "verify"})
	after(71, execute.Event{Kind: execute.Progress, Step: "verify", Bytes: 250 * mib, Total: 500 * mib})
	after(81, execute.Event{Kind: execute.Progress, Step: "verify", Bytes: 275 * mib})
	d.Close()
	want := `  2.1 box: capture, 100.0 MiB of about 400.0 MiB, 25 %, 10.0 MiB/s, about 30s left
  2.1 box: capture, 2 files, 399.0 MiB of about 400.0 MiB, 99 %, 10.0 MiB/s, about 0s left
  2.1 box: capture, 2 files, 500.0 MiB, 10.0 MiB/s
  2.1 box: restore, 1.0 MiB of about 400.0 MiB, 0 %, 102.4 KiB/s
  2.1 box: verify, 250.0 MiB of about 500.0 MiB, 50 %, 250.0 MiB/s
  2.1 box: verify, 275.0 MiB, 25.0 MiB/s
`
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
