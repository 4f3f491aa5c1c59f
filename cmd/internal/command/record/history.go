package record

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/command"
	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

func historyCommand(c *command.Call) *cobra.Command {
	var limit int
	var open bool
	cmd := &cobra.Command{
		Use:     "history [RUN | TASK | ADDRESS]",
		GroupID: command.SectionLook,
		Short:   "Show what happened: runs, their activities, tasks and files",
		Long: `Without an argument, the last 40 runs. With an address, those of one object. With a
run's number, its activities, tasks and files; with a task's (12.3), its steps.`,
		ValidArgsFunction: completeHistory(c),

		Example: "  holdfast history\n  holdfast history backup_plan.nightly\n  holdfast history 12\n  holdfast history 12.3\n  holdfast history --json 12",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return c.ReadState(ctx, func(a *app.App, st *sqlstore.Store) error {
				f := state.RunFilter{Limit: limit, Open: open}
				if len(args) == 1 {
					switch {
					case isNumber(args[0]):
						return historyRun(ctx, c, st, args[0], a.Now())
					case isTask(args[0]):
						return historyTask(ctx, c, st, args[0], a.Now())
					}
					f.Address = args[0]
				}
				runs, err := runsOf(ctx, st, f)
				if err != nil {
					return err
				}
				locks, err := st.Locks(ctx)
				if err != nil {
					return err
				}
				for i := range runs {
					runs[i] = runs[i].Standing(locks, a.Now())
				}
				if c.JSON {
					return view.JSON(c.Out, map[string]any{"runs": runs})
				}
				if len(runs) == 0 && (open || len(args) == 1) {
					return noRuns(ctx, c, st, f)
				}
				return errors.Join(command.Explain(ctx, st, runs), view.Runs(c.Out, runs, c.Style(c.Out)))
			})
		},
	}
	command.Number(cmd, &limit, "limit", 40, "most runs shown; 0: all")
	cmd.Flags().BoolVar(&open, "open", false, "only runs that did not end")
	return cmd
}

// noRuns says that there are none of the kind that was asked for. Runs that ended with a question are not open, and are not forgotten.
func noRuns(ctx context.Context, c *command.Call, st *sqlstore.Store, f state.RunFilter) error {
	of := ""
	if f.Address != "" {
		of = " of " + view.Line(f.Address)
	}
	if !f.Open {
		_, err := fmt.Fprintf(c.Out, "No runs%s are recorded.\n", of)
		return err
	}
	snap, err := st.Snapshot(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.Out, "No run%s is open.\n", of)
	for _, r := range snap.Undecided {
		if f.Address == "" || f.Address == r.Address || strings.HasSuffix(r.Address, "."+f.Address) {
			fmt.Fprintf(c.Out, "Run %s of %s ended with a question: holdfast history %s\n", r.ID, view.Line(r.Address), r.ID)
		}
	}
	return nil
}

// runsOf finds the runs of an object by its address, which may be recorded no more, or by a bare name that only one recorded object has.
func runsOf(ctx context.Context, st *sqlstore.Store, f state.RunFilter) ([]state.Run, error) {
	runs, err := st.Runs(ctx, f)
	if err != nil || len(runs) > 0 || f.Address == "" {
		return runs, err
	}
	snap, err := st.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	o, err := recorded(snap, f.Address)
	if err != nil || o.Address == f.Address {
		return runs, err
	}
	f.Address = o.Address
	return st.Runs(ctx, f)
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func isTask(s string) bool {
	run, seq, ok := strings.Cut(s, ".")
	return ok && isNumber(run) && isNumber(seq)
}

func historyRun(ctx context.Context, c *command.Call, st *sqlstore.Store, id string, now time.Time) error {
	detail, err := runDetail(ctx, st, id, now)
	if err != nil {
		return err
	}
	if c.JSON {
		return view.JSON(c.Out, detail)
	}
	return view.Run(c.Out, detail, c.Style(c.Out))
}

// runDetail reads a run with everything below it.
func runDetail(ctx context.Context, st *sqlstore.Store, id string, now time.Time) (view.RunDetail, error) {
	run, err := st.Run(ctx, id)
	if errors.Is(err, state.ErrNotFound) {
		return view.RunDetail{}, fmt.Errorf("there is no run %s; holdfast history shows the last ones", id)
	}
	if err != nil {
		return view.RunDetail{}, err
	}
	tasks, err := st.Tasks(ctx, id)
	if err != nil {
		return view.RunDetail{}, err
	}
	artifacts, err := st.Artifacts(ctx, state.ArtifactFilter{Run: id})
	if err != nil {
		return view.RunDetail{}, err
	}
	locks, err := st.Locks(ctx)
	if err != nil {
		return view.RunDetail{}, err
	}
	d := view.RunDetail{Run: run.Standing(locks, now)}
	for _, t := range tasks {
		td := view.TaskDetail{TaskRun: t}
		for _, a := range artifacts {
			if a.Task == t.ID {
				td.Artifacts = append(td.Artifacts, a)
			}
		}
		d.Tasks = append(d.Tasks, td)
	}
	patterns, err := activityPatterns(ctx, st, run)
	if err != nil {
		return view.RunDetail{}, err
	}
	d.Activities = view.Activities(id, d.Tasks, patterns)
	return d, nil
}

// activityPatterns reads what the activities of a run were declared with, from the plan it was made from.
func activityPatterns(ctx context.Context, st *sqlstore.Store, run state.Run) (map[string]view.Patterns, error) {
	stored, err := st.Plan(ctx, run.Plan)
	if err != nil {
		return nil, fmt.Errorf("plan of run %s: %w", run.ID, err)
	}
	var plan reconcile.Plan
	if err := json.Unmarshal(stored.Body, &plan); err != nil {
		return nil, fmt.Errorf("plan of run %s: %w", run.ID, err)
	}
	var spec struct {
		Activities []struct {
			Name    string   `json:"name"`
			Devices []string `json:"devices"`
			Domains []string `json:"domains"`
		} `json:"activity"`
	}
	body, ok := plan.Objects[run.Address]
	if !ok {
		return nil, nil
	}
	if err := json.Unmarshal(body.Spec, &spec); err != nil {
		return nil, fmt.Errorf("plan of run %s: %w", run.ID, err)
	}
	patterns := map[string]view.Patterns{}
	for _, a := range spec.Activities {
		p := view.Patterns{Device: strings.Join(a.Devices, ", "), Domain: strings.Join(a.Domains, ", ")}
		if p.Domain == "" {
			p.Domain = "*"
		}
		patterns[a.Name] = p
	}
	return patterns, nil
}

func historyTask(ctx context.Context, c *command.Call, st *sqlstore.Store, id string, now time.Time) error {
	run, _, _ := strings.Cut(id, ".")
	detail, err := runDetail(ctx, st, run, now)
	if err != nil {
		return err
	}
	for _, t := range detail.Tasks {
		if t.ID != id {
			continue
		}
		if t.Steps, err = st.Steps(ctx, id); err != nil {
			return err
		}
		if c.JSON {
			return view.JSON(c.Out, t)
		}
		return view.Steps(c.Out, t, c.Style(c.Out))
	}
	return fmt.Errorf("task %s: %w", id, state.ErrNotFound)
}
