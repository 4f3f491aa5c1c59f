package command

import (
	"io"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/state"
)

// streamFormat is the version of the lines below. It rises when a reader of the old form would misunderstand the new one.
const streamFormat = "1.0"

// Streams marks the commands that print JSON lines with --json: it is their annotations.
var Streams = map[string]string{"output": "stream"}

// Stream is what a command marked by Streams prints with --json: JSON lines of hclog, each with a type. The first is of type
// "version", the last of type "result", also after an error; between them come "diagnostic", "plan", "hold" (nothing was to be done,
// and somebody holds applies back) and the events of the work.
type Stream struct {
	log  hclog.Logger
	done view.ResultJSON
}

func newStream(out io.Writer) *Stream {
	s := &Stream{log: hclog.New(&hclog.LoggerOptions{Name: "holdfast", Output: out, JSONFormat: true, Level: hclog.Info, TimeFn: utc})}
	s.Line("version", "holdfast "+Version, "version", Version, "format_version", streamFormat)
	return s
}

// utc is the present as programs are told it.
func utc() time.Time { return time.Now().UTC() }

// OpenStream begins the JSON lines of a command that prints them, once; for others and without --json it does nothing. A
// command calls it before anything that may fail.
func (c *Call) OpenStream(cmd *cobra.Command) {
	if c.JSON && c.stream == nil && cmd.Annotations["output"] == Streams["output"] {
		c.stream = newStream(c.Out)
	}
}

// Stream gives the JSON lines that were begun; nil: the command prints for people, or one JSON document.
func (c *Call) Stream() *Stream { return c.stream }

// Line prints one line. The fields are names with their values.
func (s *Stream) Line(kind, message string, fields ...any) {
	s.log.Info(message, append([]any{"type", kind}, fields...)...)
}

// Problems prints one line for each problem of a configuration or a plan.
func (s *Stream) Problems(list diag.List) {
	for _, d := range list {
		level := hclog.Warn
		if d.Severity == diag.Error {
			level = hclog.Error
		}
		s.log.Log(level, d.Summary, "type", "diagnostic", "diagnostic", d)
	}
}

// Result keeps what was done for the last line, which Call.End prints with the exit code.
func (s *Stream) Result(done view.ResultJSON) { s.done = done }

// end prints the last line.
func (s *Stream) end(err error, code int) {
	r := s.done
	r.Exit = code
	if r.Runs == nil {
		r.Runs = []state.Run{}
	}
	if r.Left == nil {
		r.Left = []view.Left{}
	}
	if err != nil {
		r.Error = err.Error()
	}
	level, message := hclog.Info, "done"
	if code != ExitDone {
		level, message = hclog.Error, "not done"
		if r.Error != "" {
			message = r.Error
		}
	}
	s.log.Log(level, message, "type", "result", "result", r)
}
