package recovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/app"
	"github.com/holdfast-dr/holdfast/cmd/internal/command"
	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/cmd/internal/view/progress"
	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile/artifact"
	"github.com/holdfast-dr/holdfast/reconcile/execute"
	"github.com/holdfast-dr/holdfast/reconcile/status"
	"github.com/holdfast-dr/holdfast/reconcile/store"
	"github.com/holdfast-dr/holdfast/reconcile/verification"
	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

func verifyCommand(c *command.Call) *cobra.Command {
	var f artifactFlags
	var all, due, list bool
	cmd := &cobra.Command{
		Use:     "verify [ARTIFACT ...]",
		GroupID: command.SectionData,
		Short:   "Read every byte of artifacts and compare it with what was recorded",
		Long: `Read every byte of the chosen artifacts in their stores and compare size and
SHA-256 with the record. One that differs is quarantined: it counts for nothing
from then on, and status says what to do. A store that cannot be reached fails
the check and quarantines nothing. An artifact without a manifest (unverified) is
not read: there is nothing to compare it with.

A store with a verify block is read back by apply, a share at a time. --due reads
all at once that is due there.`,
		Example: "  holdfast verify --all\n  holdfast verify --due\n  holdfast verify --device web\n  holdfast verify --list",

		ValidArgsFunction: c.CompleteState(completeArtifacts),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			switch {
			case len(args) == 0 && !all && !due && !list && f == (artifactFlags{}):
				return errors.New("name artifacts, or say --all or --due; --list shows what there is")
			case len(args) > 0 && (all || due), all && due:
				return errors.New("name artifacts, or say --all or --due: one of them")
			}
			open := c.WithState
			if list {
				open = c.ReadState
			}
			return open(ctx, func(a *app.App, st *sqlstore.Store) error {
				chosen, err := choose(ctx, st, args, f, list && !all && !due)
				if err == nil && due {
					chosen, err = onlyDue(ctx, a, st, chosen)
				}
				if err != nil {
					return err
				}
				if len(chosen) == 0 {
					if err := nothing(ctx, c, st, f, due, list); err != nil || !c.JSON {
						return err
					}
				}
				if list {
					if c.JSON {
						return view.JSON(c.Out, map[string]any{"artifacts": chosen})
					}
					return view.Artifacts(c.Out, chosen, c.Style(c.Out))
				}
				return verify(ctx, c, a, st, chosen)
			})
		},
	}
	f.add(c, cmd)
	cmd.Flags().BoolVar(&all, "all", false, "every artifact that is recorded as good")
	cmd.Flags().BoolVar(&due, "due", false, "those that the verify blocks of their stores make due")
	cmd.Flags().BoolVar(&list, "list", false, "only list the artifacts, also those that are not good")
	return cmd
}

// choose finds the named artifacts, or the good ones of the flags; with bad also those that are there and not good.
func choose(ctx context.Context, st *sqlstore.Store, ids []string, f artifactFlags, bad bool) ([]state.Artifact, error) {
	if len(ids) == 0 {
		filter := f.filter()
		if !bad {
			filter.State = state.ArtifactGood
		}
		found, err := st.Artifacts(ctx, filter)
		return slices.DeleteFunc(found, func(a state.Artifact) bool {
			return a.State == state.ArtifactExpiring || a.State == state.ArtifactDeleted
		}), err
	}
	var chosen []state.Artifact
	for _, id := range ids {
		found, err := st.Artifacts(ctx, state.ArtifactFilter{ID: id})
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("there is no artifact %s; holdfast verify --list shows what there is", id)
		}
		chosen = append(chosen, found...)
	}
	return chosen, nil
}

// onlyDue picks what is due to be read back, longest ago first.
func onlyDue(ctx context.Context, a *app.App, st *sqlstore.Store, chosen []state.Artifact) ([]state.Artifact, error) {
	snap, err := st.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	byID := make(map[string]state.Artifact, len(chosen))
	for _, art := range chosen {
		byID[art.ID] = art
	}
	due := []state.Artifact{}
	for _, d := range verification.Due(snap, a.Now()) {
		if art, ok := byID[d.ID]; ok {
			due = append(due, art)
		}
	}
	return due, nil
}

// verdict is what was found of one artifact.
type verdict struct {
	Artifact string              `json:"artifact"`
	State    state.ArtifactState `json:"state"`
	Error    string              `json:"error,omitempty"`
	Todo     string              `json:"todo,omitempty"` // about one that is quarantined

	read bool // something can be said of it
}

// verify checks artifacts one after another and records the outcome of each at once.
func verify(ctx context.Context, c *command.Call, a *app.App, st *sqlstore.Store, chosen []state.Artifact) error {
	opener, err := recordedOpener(ctx, c, a, st)
	if err != nil {
		return err
	}
	snap, err := st.Snapshot(ctx)
	if err != nil {
		return err
	}
	v := &verifier{app: a, st: st, opener: opener, snap: snap, wrong: wrongCopies(ctx, opener, snap, chosen), told: map[string]bool{}}
	if !c.JSON {
		v.progress = progress.New(c.Out)
		defer v.progress.Close()
	}
	verdicts, bad, skipped := []verdict{}, 0, 0
	for _, art := range chosen {
		one, err := v.read(ctx, art)
		switch {
		case err != nil:
			return err
		case !one.read:
			skipped++
		case one.Error != "":
			bad++
		}
		verdicts = append(verdicts, one)
		if v.progress != nil {
			_ = v.progress.Print(v.line(art, one)) // the verdict is recorded; the last line says whether anybody reads
		}
	}
	if err := v.remedies(ctx, chosen, verdicts); err != nil {
		return err
	}
	if c.JSON {
		err = view.JSON(c.Out, map[string]any{"verdicts": verdicts})
	} else {
		err = v.progress.Print(summary(chosen, verdicts, bad, skipped))
	}
	switch {
	case err != nil:
		return err
	case skipped > 0 && skipped == len(chosen):
		return command.Exit(command.ExitFailed, nil)
	case bad+skipped > 0:
		return command.Exit(command.ExitPartial, nil)
	}
	return nil
}

// remedies says of every artifact that is quarantined what to do, when all are read: one of them may be what another is replaced by.
func (v *verifier) remedies(ctx context.Context, chosen []state.Artifact, verdicts []verdict) error {
	if !slices.ContainsFunc(verdicts, func(v verdict) bool { return v.State == state.ArtifactQuarantined }) {
		return nil
	}
	snap, err := v.st.Snapshot(ctx)
	if err != nil {
		return err
	}
	remedy := status.Remedies(snap, v.app.Now())
	for i, a := range chosen {
		if verdicts[i].State == state.ArtifactQuarantined {
			verdicts[i].Todo = remedy(state.ArtifactBrief{
				ID: a.ID, Store: a.Store, BackupPlan: a.BackupPlan, Device: a.Device, Domain: a.Domain, Action: a.Action, Variant: a.Variant, Started: a.Started,
			})
		}
	}
	return nil
}

// summary is what is said when all are read: what to do about the damaged ones, and how many there are.
func summary(chosen []state.Artifact, verdicts []verdict, bad, skipped int) string {
	var b strings.Builder
	for _, v := range verdicts {
		if v.Todo != "" {
			fmt.Fprintf(&b, "%s  to do: %s\n", v.Artifact, view.Line(v.Todo))
		}
	}
	fmt.Fprintf(&b, "%s read, %d not good", view.Count(len(chosen)-skipped, "artifact", "artifacts"), bad)
	if skipped > 0 {
		fmt.Fprintf(&b, "; %d could not be read", skipped)
	}
	return b.String() + "."
}

// verifier is one call of holdfast verify.
type verifier struct {
	app      *app.App
	st       *sqlstore.Store
	opener   *providers.Opener
	snap     *state.Snapshot
	wrong    map[string]error  // stores that are not the recorded ones
	progress *progress.Display // nil: nobody looks
	told     map[string]bool   // stores of which it was said why they are wrong
}

// read checks one artifact and records the outcome. An error ends the verification.
func (v *verifier) read(ctx context.Context, art state.Artifact) (verdict, error) {
	found := verdict{Artifact: art.ID, State: art.State}
	if found.Error = unread(art, v.wrong); found.Error != "" {
		return found, nil
	}
	fits := func(_ context.Context, address string, info providers.StoreInfo) error {
		return store.Fits(v.snap.Objects[address], info)
	}
	live := newReading(v.progress, v.app, art, "read")
	reading, err := artifact.ReadBack(ctx, v.opener, art, fits, v.app.Now, live.read)
	live.end()
	if ctx.Err() != nil {
		return found, ctx.Err()
	}
	if reading != nil {
		found.read = true
		if found.State, err = recordReading(ctx, v.st, *reading, err); found.State == "" {
			return found, err
		}
	}
	if err != nil {
		found.Error = err.Error()
	}
	return found, nil
}

// wrongCopies looks at the stores before anything is read: what is said of another copy of a store says nothing of the store. One that cannot be
// looked at fails its artifacts, one after another.
func wrongCopies(ctx context.Context, opener *providers.Opener, snap *state.Snapshot, chosen []state.Artifact) map[string]error {
	wrong, looked := map[string]error{}, map[string]bool{}
	for _, art := range chosen {
		rec, recorded := snap.Objects[art.Store]
		if looked[art.Store] || !recorded {
			continue
		}
		looked[art.Store] = true
		s, err := opener.Store(ctx, art.Store)
		if err != nil {
			continue
		}
		if info, err := s.Stat(ctx); err == nil {
			wrong[art.Store] = store.Fits(rec, info)
		}
		_ = s.Close() // nothing was written
	}
	return wrong
}

// unread says why an artifact is not read; empty: it is.
func unread(a state.Artifact, wrong map[string]error) string {
	switch {
	case a.State == state.ArtifactUnverified:
		return "it has no manifest, so there is nothing to compare it with." + despite(a)
	case wrong[a.Store] != nil:
		return wrong[a.Store].Error()
	}
	return ""
}

// recordReading writes an outcome and gives what is to be told of it: nothing is wrong with an artifact whose deletion began while it was read. An
// empty state means that the outcome could not be written.
func recordReading(ctx context.Context, st *sqlstore.Store, r state.Reading, damage error) (state.ArtifactState, error) {
	after, err := st.PutReading(ctx, r)
	switch {
	case err != nil:
		return "", err
	case after == state.ArtifactExpiring || after == state.ArtifactDeleted:
		return after, nil
	case after == state.ArtifactQuarantined && damage == nil:
		return after, errors.New("it is quarantined, and stays so although every byte matched now")
	}
	return after, damage
}

// line is the verdict on one artifact. What is wrong with a store is said once.
func (v *verifier) line(art state.Artifact, one verdict) string {
	line := fmt.Sprintf("%s  %s/%s  ", art.ID, art.Device, art.Domain)
	switch {
	case one.State == state.ArtifactExpiring || one.State == state.ArtifactDeleted:
		return line + "deleted meanwhile"
	case one.read && one.State == state.ArtifactQuarantined:
		return line + "NOT GOOD: " + view.Line(one.Error)
	case !one.read && v.wrong[art.Store] != nil && v.told[art.Store]:
		return line + "NOT READ: it is in " + art.Store + ", too"
	case one.Error != "":
		v.told[art.Store] = v.told[art.Store] || v.wrong[art.Store] != nil
		return line + "NOT READ: " + view.Line(one.Error)
	}
	return line + unit.Bytes(art.Bytes) + "  good"
}

// reading shows one artifact while it is read, by one goroutine or several; without a progress it shows nothing.
type reading struct {
	mu  sync.Mutex // the display and the count are used by one goroutine at a time
	p   *progress.Display
	now func() (e execute.Event)
	n   int64
}

func newReading(p *progress.Display, a *app.App, art state.Artifact, step string) *reading {
	r := &reading{p: p}
	r.now = func() execute.Event {
		return execute.Event{Time: a.Now(), Task: art.ID, Step: step, Device: art.Device, Domain: art.Domain, Bytes: r.n}
	}
	r.show(execute.TaskStarted)
	r.show(execute.StepStarted)
	return r
}

func (r *reading) show(kind execute.EventKind) {
	if r.p != nil {
		e := r.now()
		e.Kind = kind
		r.p.Event(e)
	}
}

func (r *reading) read(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n += n
	r.show(execute.Progress)
}

func (r *reading) end() {
	if r.p != nil {
		r.p.Drop(r.now().Task)
	}
}
