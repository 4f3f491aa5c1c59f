package execution

import (
	"fmt"

	"github.com/holdfast-dr/holdfast/cmd/internal/command"
	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/reconcile"
)

// Review says how a plan is printed that is not done now.
type Review struct {
	Format   string // text, markdown or json; with --json it is json
	MaxBytes int    // markdown is cut to this size; 0: no limit
	Verbose  bool   // text has every task and every argument
	Code     int    // exit code, which JSON repeats
}

// Show prints a plan for review.
func Show(c *command.Call, p *reconcile.Plan, r Review) error {
	if c.JSON {
		r.Format = "json"
	}
	allowed := defaultAllowed()
	switch r.Format {
	case "json":
		return view.PlanJSON(c.Out, p, r.Code)
	case "markdown":
		return view.Markdown(c.Out, p, allowed, r.MaxBytes)
	case "text":
		return view.Plan(c.Out, p, view.PlanOptions{Style: c.Style(c.Out), Allowed: allowed, Verbose: r.Verbose})
	}
	return fmt.Errorf("--format=%s: write text, markdown or json", r.Format)
}

// Saved says how a plan that was written to a file is done, with the flags that its gates need. Doing is the command without its file.
func Saved(c *command.Call, p *reconcile.Plan, doing, path string) {
	line := doing + " " + path
	for _, g := range p.Closed(defaultAllowed()) {
		line += " " + g.Allow
	}
	fmt.Fprintf(c.Out, "Saved. To do exactly this: %s\n", line)
}

// Announce shows the plan that is about to be done, to people or as a line for programs. The question is the one that follows; where its answer
// is known, the plan is done whether it can be shown or not.
func Announce(c *command.Call, p *reconcile.Plan, allowed reconcile.Allowed, q Question, verbose bool) error {
	if Stream(c, p) {
		return nil
	}
	o := view.PlanOptions{Style: c.Style(c.Out), Allowed: allowed, Verbose: verbose}
	if !q.Approved && c.Interactive() {
		o.Asked = q.Opens
	}
	if err := view.Plan(c.Out, p, o); !q.Approved {
		return err
	}
	return nil
}

// Stream announces the plan to programs: its findings, the summary, and what must be allowed. The whole plan is what plan
// --json prints. For people it prints nothing and gives false.
func Stream(c *command.Call, p *reconcile.Plan) bool {
	s := c.Stream()
	if s == nil {
		return false
	}
	s.Problems(p.Findings)
	s.Line("plan", view.Summary(p), "digest", p.Digest, "summary", p.Summary, "gates", p.Gates, "deferred", p.Deferred,
		"applyable", p.Applyable, "complete", p.Complete, "errored", p.Errored)
	return true
}
