package command

import (
	"fmt"
	"io"
	"os"
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

// progress shows work while it runs: live on a terminal, plain lines elsewhere, JSON lines for programs. Its
// methods are called by one goroutine at a time.
type progress struct {
	out   io.Writer
	style view.Style
	lines *stream              // JSON lines; nil for people
	bars  *mpb.Progress        // nil when not on a terminal
	tasks map[string]*liveTask // by task ID
	said  map[string]time.Time // last plain line about a task's progress
	every time.Duration        // between such lines
}

// liveTask is what a line on the terminal shows.
type liveTask struct {
	bar  *mpb.Bar
	step atomic.Value // string; the display reads it at its own pace
}

func (c *cli) progress() *progress {
	p := &progress{out: c.out, style: c.style(c.out), tasks: map[string]*liveTask{}, said: map[string]time.Time{}, every: 10 * time.Second}
	if c.stream != nil {
		p.lines = c.stream
		return p
	}
	if f, ok := c.out.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		p.bars = mpb.New(mpb.WithOutput(f), mpb.WithRefreshRate(150*time.Millisecond))
		p.out = p.bars
	}
	return p
}

// event shows one event of the executor.
func (p *progress) event(e execute.Event) {
	if p.lines != nil {
		p.lines.event(e)
		return
	}
	name := taskName(e)
	switch e.Kind {
	case execute.PlanRecorded:
		p.say("", "recorded %s", view.Count(int(e.Files), "change", "changes"))
	case execute.RunStarted:
		p.say("", "run %s: %s started", e.Run, e.Address)
	case execute.RunDone:
		p.say("", "run %s: %s %s%s", e.Run, e.Address, e.Status, after(": ", e.Error))
	case execute.TaskStarted, execute.Resumed:
		p.start(e, name)
	case execute.StepStarted:
		if t := p.tasks[e.Task]; t != nil {
			t.step.Store(e.Step)
		}
	case execute.Progress:
		p.advance(e, name)
	case execute.StepRetry:
		p.say(e.Task, "%s: %s failed, trying again: %s", name, e.Step, e.Error)
	case execute.Waiting:
		p.say(e.Task, "%s waits for %s", name, e.Reason)
	case execute.DutyPaid:
		p.say(e.Task, "%s: %s done", name, e.Step)
	case execute.TakenOver:
		p.say(e.Task, "%s: another process has it", name)
	case execute.TaskDone:
		p.finish(e, name)
	}
}

func (p *progress) start(e execute.Event, name string) {
	if p.bars == nil {
		return
	}
	t := &liveTask{}
	t.step.Store("")
	t.bar = p.bars.New(0, mpb.SpinnerStyle().PositionLeft(),
		mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(name+"  ", decor.WCSyncSpaceR), decor.Any(func(decor.Statistics) string { return t.step.Load().(string) }, decor.WCSyncSpaceR)),
		mpb.AppendDecorators(decor.CurrentKibiByte("% .1f"), decor.AverageSpeed(decor.SizeB1024(0), "  % .1f"), decor.Elapsed(decor.ET_STYLE_GO, decor.WCSyncSpace)),
	)
	p.tasks[e.Task] = t
}

func (p *progress) advance(e execute.Event, name string) {
	if t := p.tasks[e.Task]; t != nil {
		t.bar.SetCurrent(e.Bytes)
		return
	}
	if p.bars == nil && e.Time.Sub(p.said[e.Task]) >= p.every {
		if _, first := p.said[e.Task]; first {
			p.say(e.Task, "%s: %s, %s, %s", name, e.Step, view.Count(int(e.Files), "file", "files"), unit.Bytes(e.Bytes))
		}
		p.said[e.Task] = e.Time
	}
}

func (p *progress) finish(e execute.Event, name string) {
	p.drop(e.Task)
	size := ""
	if e.Files > 0 || e.Bytes > 0 {
		size = fmt.Sprintf("  %s, %s", view.Count(int(e.Files), "file", "files"), unit.Bytes(e.Bytes))
	}
	p.say(e.Task, "%s %s%s%s%s", name, e.Status, size, after("  ", e.Reason), after(": ", e.Error))
}

// drop ends the live line of a task.
func (p *progress) drop(task string) {
	if t := p.tasks[task]; t != nil {
		t.bar.Abort(true)
		delete(p.tasks, task)
	}
}

// say prints one line; run and task come first.
func (p *progress) say(task, format string, args ...any) {
	if task != "" {
		task = "  " + task + " "
	}
	fmt.Fprintln(p.out, task+view.Line(fmt.Sprintf(format, args...)))
}

// close ends the live display; what was printed stays.
func (p *progress) close() {
	if p.bars == nil {
		return
	}
	for _, t := range p.tasks {
		t.bar.Abort(true)
	}
	p.bars.Wait()
}

func taskName(e execute.Event) string {
	name := e.Device
	if name == "" {
		name = e.Address
	}
	name = strings.TrimPrefix(name, "device.")
	if e.Domain != "" {
		name += "/" + e.Domain
	}
	return name
}

func after(sep, text string) string {
	if text == "" {
		return ""
	}
	return sep + text
}
