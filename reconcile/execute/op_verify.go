package execute

import (
	"context"
	"fmt"
	"strings"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/artifact"
	"github.com/holdfast-dr/holdfast/state"
)

// checkArtifact reads an artifact back. What was deleted, or is about to be, since the plan was made is left alone.
func checkArtifact(ctx context.Context, c *call) (outcome, error) {
	var a reconcile.CheckArgs
	if err := c.args(&a); err != nil {
		return outcome{}, err
	}
	art, err := c.recorded(ctx, a.Artifact, a.Store)
	if err != nil {
		return outcome{}, err
	}
	if art.State != state.ArtifactGood {
		return noLonger(art)
	}
	if mutant == mutantBlindCheck {
		return outcome{output: &report{}, entry: state.Entry{Readings: []state.Reading{{Artifact: a.Artifact, At: c.o.Now()}}}}, nil
	}
	meter := c.meter(art.Bytes)
	reading, err := artifact.ReadBack(ctx, c.opener(), art, c.isRecorded, c.o.Now, func(n int64) { meter.add(0, n) })
	switch {
	case reading == nil:
		return outcome{}, fmt.Errorf("read artifact %s back from %s: %w", a.Artifact, a.Store, err)
	case err == nil:
		return outcome{output: &report{FilesDone: art.Files, BytesDone: art.Bytes}, entry: state.Entry{Readings: []state.Reading{*reading}}}, nil
	}
	if now, lookErr := c.recorded(ctx, a.Artifact, a.Store); lookErr == nil && (now.State == state.ArtifactExpiring || now.State == state.ArtifactDeleted) {
		return noLonger(now) // its deletion took away what was read
	}
	reading.Error = c.text(err)
	return outcome{entry: state.Entry{Readings: []state.Reading{*reading}}}, ends(state.Failed, FailedVerify,
		"artifact %s in %s is damaged: %s. It is quarantined and counts for nothing; holdfast status says what to do", a.Artifact, a.Store, unended(c.text(err)))
}

// noLonger is the outcome for an artifact that there is no point in reading.
func noLonger(a state.Artifact) (outcome, error) {
	if a.State == state.ArtifactQuarantined {
		return outcome{}, ends(state.Failed, FailedVerify, "artifact %s was quarantined meanwhile: %s", a.ID, a.Error)
	}
	return outcome{output: &report{Note: "its deletion has begun"}, skipped: true}, nil
}

type auditOutput struct {
	report
	Findings []providers.Finding `json:"findings,omitempty"` // the first mostFindings
}

const (
	mostFindings = 100 // kept in the journal
	toldFindings = 3   // in the message
)

// audit compares a store's catalogue, manifests and files. What does not fit fails the task; a file too many is only worth a warning.
func audit(ctx context.Context, c *call) (out outcome, err error) {
	o := &auditOutput{}
	out.output = o
	wrong := 0
	err = c.withStore(ctx, func(a reconcile.StoreArgs, s providers.Store) error {
		for f, err := range s.Check(ctx) {
			if err != nil {
				return fmt.Errorf("look through %s: %w", a.Store, err)
			}
			if f.Kind == providers.FileExtra {
				if len(o.Warnings) < toldFindings {
					o.Warnings = append(o.Warnings, f.Path+": "+f.Detail)
				}
				continue
			}
			if wrong++; len(o.Findings) < mostFindings {
				o.Findings = append(o.Findings, f)
			}
		}
		if wrong > 0 {
			return ends(state.Failed, FailedVerify, "%s does not fit together in %d places: %s", a.Store, wrong, findingsText(o.Findings, wrong))
		}
		return nil
	})
	return out, err
}

// findingsText names the first findings, each with its path and artifact.
func findingsText(all []providers.Finding, total int) string {
	var told []string
	for _, f := range all[:min(len(all), toldFindings)] {
		text := fmt.Sprintf("%s at %s", f.Kind, f.Path)
		if f.Artifact != "" {
			text += fmt.Sprintf(" of artifact %s", f.Artifact)
		}
		told = append(told, text+": "+strings.TrimSuffix(f.Detail, "."))
	}
	if more := total - len(told); more > 0 {
		told = append(told, fmt.Sprintf("%d more", more))
	}
	return strings.Join(told, "; ")
}
