package command

import (
	"io"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/execute"
	"github.com/holdfast-dr/holdfast/state"
)

// streamFormat is the version of the lines below. It rises when a reader of the old form would misunderstand the new one.
const streamFormat = "1.0"

// stream is what apply and run print with --json: JSON lines of hclog, each with a type. The first is of type "version",
// the last of type "result", also after an error; between them come "diagnostic", "plan" and the events of the work.
type stream struct{ log hclog.Logger }

func newStream(out io.Writer) *stream {
	s := &stream{hclog.New(&hclog.LoggerOptions{Name: "holdfast", Output: out, JSONFormat: true, Level: hclog.Info})}
	s.log.Info("holdfast "+Version, "type", "version", "version", Version, "format_version", streamFormat)
	return s
}

// streams marks the commands that print JSON lines.
var streams = map[string]string{"output": "stream"}

// open begins the JSON lines of a command that prints them; for others and without --json it does nothing.
func (c *cli) open(cmd *cobra.Command) {
	if c.json && c.stream == nil && cmd.Annotations["output"] == streams["output"] {
		c.stream = newStream(c.out)
	}
}

// problems prints one line for each problem of a configuration or a plan.
func (s *stream) problems(list diag.List) {
	for _, d := range list {
		level := hclog.Warn
		if d.Severity == diag.Error {
			level = hclog.Error
		}
		s.log.Log(level, d.Summary, "type", "diagnostic", "diagnostic", d)
	}
}

// plan prints what is about to be done: the summary, and what must be allowed. The whole plan is what plan --json prints.
func (s *stream) plan(p *reconcile.Plan) {
	s.problems(p.Findings)
	s.log.Info(view.Summary(p), "type", "plan", "digest", p.Digest, "summary", p.Summary, "gates", p.Gates, "deferred", p.Deferred,
		"applyable", p.Applyable, "complete", p.Complete, "errored", p.Errored)
}

func (s *stream) event(e execute.Event) {
	s.log.Info(strings.ReplaceAll(string(e.Kind), "_", " "), "type", string(e.Kind), "event", e)
}

// result prints the last line.
func (s *stream) result(r view.ResultJSON, err error, code int) {
	r.Exit = code
	if r.Runs == nil {
		r.Runs = []state.Run{}
	}
	if err != nil {
		r.Error = err.Error()
	}
	level, message := hclog.Info, "done"
	if code != exitDone {
		level, message = hclog.Error, "not done"
		if r.Error != "" {
			message = r.Error
		}
	}
	s.log.Log(level, message, "type", "result", "result", r)
}
