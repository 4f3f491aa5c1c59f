// Package progress shows work while it runs: live lines on a terminal, plain ones elsewhere.
package progress

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/reconcile/execute"
)

// Display shows the tasks that are at work. Its methods are called by one goroutine at a time.
type Display struct {
	out   io.Writer
	bars  *mpb.Progress        // nil when not on a terminal
	tasks map[string]*liveTask // by task ID
	every time.Duration        // between plain lines about the progress of a task
}

// liveTask is a task at work, and what a line on the terminal shows of it. The display reads it at its own pace.
type liveTask struct {
	bar  *mpb.Bar     // nil when not on a terminal
	step atomic.Value // string
	said time.Time    // when the last plain line about its progress was due

	began atomic.Int64 // the step, in nanoseconds of the clock of events
	last  atomic.Int64 // the newest count of it, likewise
	total atomic.Int64 // bytes that are expected of the step; 0: not known
}

// New gives a display on out, which may be a terminal or wrap one. It must be closed.
func New(out io.Writer) *Display {
	d := &Display{out: out, tasks: map[string]*liveTask{}, every: 10 * time.Second}
	to := out
	if o, ok := out.(interface{ Unwrap() io.Writer }); ok {
		to = o.Unwrap()
	}
	if f, ok := to.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		d.bars = mpb.New(mpb.WithOutput(f), mpb.WithRefreshRate(150*time.Millisecond))
		d.out = d.bars
	}
	return d
}

// Event shows one event of the executor. A task that has started has a live line until it is done or dropped.
func (d *Display) Event(e execute.Event) {
	name := taskName(e)
	switch e.Kind {
	case execute.PlanRecorded:
		later := ""
		if e.ByRuns > 0 {
			later = "; " + view.Count(int(e.ByRuns), "more when its run is done", "more when their runs are done")
		}
		d.say("", "recorded %s%s", view.Count(int(e.Files), "change", "changes"), later)
	case execute.RunStarted:
		d.say("", "run %s: %s started", e.Run, e.Address)
	case execute.RunDone:
		d.say("", "run %s: %s %s%s", e.Run, e.Address, e.Status, after(": ", e.Error))
	case execute.TaskStarted, execute.Resumed:
		d.start(e, name)
	case execute.StepStarted:
		if t := d.tasks[e.Task]; t != nil {
			t.begin(e)
		}
	case execute.Progress:
		d.advance(e, name)
	case execute.StepRetry:
		d.say(e.Task, "%s: %s failed, trying again: %s", name, e.Step, e.Error)
	case execute.Waiting:
		d.say(e.Task, "%s waits for %s%s%s", name, e.Reason, already(e), atMost(e))
	case execute.DutyStarted:
		if t := d.tasks[e.Task]; t != nil {
			t.step.Store(e.Step)
		}
		d.say(e.Task, "%s: %s begins%s", name, e.Step, atMost(e))
	case execute.DutyPaid:
		d.say(e.Task, "%s: %s done", name, e.Step)
	case execute.TakenOver:
		d.say(e.Task, "%s: another process has it", name)
	case execute.TaskDone:
		d.finish(e, name)
	}
}

func (d *Display) start(e execute.Event, name string) {
	t := &liveTask{said: e.Time}
	t.step.Store("")
	if d.bars != nil {
		t.bar = d.bars.New(0, mpb.SpinnerStyle().PositionLeft(),
			mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.Name(name+"  ", decor.WCSyncSpaceR), decor.Any(func(decor.Statistics) string { return t.step.Load().(string) }, decor.WCSyncSpaceR)),
			mpb.AppendDecorators(decor.Any(func(s decor.Statistics) string { return t.count(s.Current) }), decor.Elapsed(decor.ET_STYLE_GO, decor.WCSyncSpace)),
		)
	}
	d.tasks[e.Task] = t
}

// begin takes the count of a step from nothing: each counts its own bytes.
func (t *liveTask) begin(e execute.Event) {
	t.step.Store(e.Step)
	t.total.Store(0)
	t.began.Store(e.Time.UnixNano())
	if t.bar != nil {
		t.bar.SetCurrent(0)
	}
}

// A step is guessed at when it ran for firstGuess and is through a twentieth, or ran for a minute: what its first seconds tell is often wrong.
const firstGuess = 3 * time.Second

// count gives the bytes of the step so far, how much that is of what is expected, how fast they came, and how long the rest may take.
func (t *liveTask) count(bytes int64) string {
	if bytes == 0 {
		return ""
	}
	total, took := t.total.Load(), time.Duration(t.last.Load()-t.began.Load())
	known := total >= bytes // otherwise more came than was expected
	text := unit.Bytes(bytes)
	if known {
		text += fmt.Sprintf(" of about %s, %d %%", unit.Bytes(total), int64(float64(bytes)/float64(total)*100))
	}
	if took <= 0 {
		return text
	}
	rate := float64(bytes) / took.Seconds()
	text += ", " + unit.Bytes(int64(rate)) + "/s"
	if known && took >= firstGuess && (bytes >= total/20 || took >= time.Minute) {
		text += ", about " + time.Duration(float64(total-bytes)/rate*float64(time.Second)).Round(time.Second).String() + " left"
	}
	return text
}

func (d *Display) advance(e execute.Event, name string) {
	t := d.tasks[e.Task]
	if t == nil {
		return
	}
	t.last.Store(e.Time.UnixNano())
	t.total.Store(e.Total)
	switch {
	case t.bar != nil:
		t.bar.SetCurrent(e.Bytes)
	case e.Time.Sub(t.said) >= d.every:
		t.said = e.Time
		d.say(e.Task, "%s: %s", name, strings.Join(nonempty(e.Step, files(e.Files), t.count(e.Bytes)), ", "))
	}
}

// files says how many files were counted; nothing where none are.
func files(n int64) string {
	if n == 0 {
		return ""
	}
	return view.Count(int(n), "file", "files")
}

func nonempty(texts ...string) []string {
	return slices.DeleteFunc(texts, func(s string) bool { return s == "" })
}

func (d *Display) finish(e execute.Event, name string) {
	d.Drop(e.Task)
	size := ""
	if e.Files > 0 || e.Bytes > 0 {
		size = fmt.Sprintf("  %s, %s", view.Count(int(e.Files), "file", "files"), unit.Bytes(e.Bytes))
	}
	d.say(e.Task, "%s %s%s%s%s", name, e.Status, size, after("  ", e.Reason), after(": ", e.Error))
}

// Drop ends the live line of a task.
func (d *Display) Drop(task string) {
	if t := d.tasks[task]; t != nil && t.bar != nil {
		t.bar.Abort(true)
	}
	delete(d.tasks, task)
}

// Print prints one line above the live ones, as it is.
func (d *Display) Print(line string) error {
	_, err := fmt.Fprintln(d.out, line)
	return err
}

// say prints one line; run and task come first.
func (d *Display) say(task, format string, args ...any) {
	if task != "" {
		task = "  " + task + " "
	}
	fmt.Fprintln(d.out, task+view.Line(fmt.Sprintf(format, args...)))
}

// Close ends the live display; what was printed stays.
func (d *Display) Close() {
	if d.bars == nil {
		return
	}
	for _, t := range d.tasks {
		t.bar.Abort(true)
	}
	d.bars.Wait()
}

func taskName(e execute.Event) string {
	name := e.Device
	if name == "" { // a script
		name = strings.TrimSpace(e.Address + " " + e.Activity)
	}
	name = strings.TrimPrefix(name, "device.")
	if e.Domain != "" {
		name += "/" + e.Domain
	}
	return name
}

// already says how long something waits, unless it has just begun.
func already(e execute.Event) string {
	if waited := e.Time.Sub(e.Since).Round(time.Second); !e.Since.IsZero() && waited > 0 {
		return ", " + waited.String() + " so far"
	}
	return ""
}

// atMost says how long something may take that has begun.
func atMost(e execute.Event) string {
	if e.Until.IsZero() {
		return ""
	}
	return ", at most " + e.Until.Sub(e.Time).Round(time.Second).String()
}

func after(sep, text string) string {
	if text == "" {
		return ""
	}
	return sep + text
}
