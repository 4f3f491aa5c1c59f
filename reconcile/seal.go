package reconcile

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/diag"
)

// planLifetime is how long a plan that destroys or moves a role may be applied.
const planLifetime = 24 * time.Hour

// finish counts, gates and seals the plan.
func (b *builder) finish() {
	p := b.plan
	if len(p.Actions) > 0 {
		for _, s := range b.doc.Secrets {
			p.Objects[string(s.Address)] = Spec{Spec: config.Spec(s)}
		}
	}
	b.gates()
	b.preconditions()
	p.Summary = summarise(p)
	b.diags.Sort()
	p.Findings = append([]diag.Diagnostic{}, b.diags...)
	p.Errored = b.diags.HasErrors()
	p.Applyable = !p.Errored && !p.Empty() && p.Mode != ModeCompare
	digest, err := p.digest()
	if err != nil {
		panic("reconcile: encode plan: " + err.Error()) // plain structs of ours: cannot fail
	}
	p.Digest = digest
}

func summarise(p *Plan) Summary {
	s := Summary{Actions: len(p.Actions), Deferred: len(p.Deferred), Drift: len(p.Drift)}
	for _, c := range p.Changes {
		switch c.Action {
		case Create, Adopt:
			s.Add++
		case Update:
			s.Change++
		case Delete, Forget:
			s.Destroy++
		case Move:
			s.Move++
		}
	}
	for _, a := range p.Actions {
		for _, t := range a.Tasks {
			if t.Skip != nil {
				s.Skipped++
			} else {
				s.Tasks++
			}
		}
	}
	return s
}

// preconditions adds those that concern the plan as a whole; phases add the rest where they rely on something.
func (b *builder) preconditions() {
	p := b.plan
	b.need(Precondition{Kind: NeedLineage, Want: p.State.Lineage})
	for _, c := range p.Changes {
		addr := c.Address
		if c.Action == Move {
			addr = c.Previous
		}
		b.need(Precondition{Kind: NeedGeneration, Address: addr, Want: fmt.Sprint(c.IfGeneration)})
	}
	if last := b.st.LastCommit(); last != "" && len(p.Changes) > 0 && p.Config.Commit != "" {
		b.need(Precondition{Kind: NeedDescends, Want: last})
	}
	if p.grave() {
		p.ExpiresAt = p.Timestamp.Add(planLifetime)
		b.need(Precondition{Kind: NeedNotAfter, Want: p.ExpiresAt.Format(time.RFC3339)})
	}
	slices.SortFunc(p.Preconditions, func(x, y Precondition) int {
		return strings.Compare(string(x.Kind)+" "+x.Address+" "+x.Want, string(y.Kind)+" "+y.Address+" "+y.Want)
	})
}

// grave reports whether the plan may be applied for a limited time only.
func (p *Plan) grave() bool {
	return slices.ContainsFunc(p.Gates, func(g Gate) bool { return g.Class == ClassDestroy || g.Class == ClassRole })
}

// Intact checks that a plan read from a file is of a form this version knows and is the plan its digest names.
func (p *Plan) Intact() error {
	if p.FormatVersion != FormatVersion {
		return fmt.Errorf("its format is %q, this version reads %q; make a new plan", p.FormatVersion, FormatVersion)
	}
	for address, spec := range p.Objects {
		if !json.Valid(spec.Spec) {
			return fmt.Errorf("the specification of %s is damaged; make a new plan", address)
		}
	}
	changed := errors.New("its content does not match its digest: it was cut or changed; make a new plan")
	digest, err := p.digest()
	if err != nil || digest != p.Digest {
		return changed
	}
	limit := time.Time{} // times are not in the digest, since it is the same an hour later
	if p.grave() {
		limit = p.Timestamp.Add(planLifetime)
	}
	if !p.ExpiresAt.Equal(limit) {
		return changed
	}
	for _, n := range p.Preconditions {
		if n.Kind == NeedNotAfter && n.Want != limit.UTC().Format(time.RFC3339) {
			return changed
		}
	}
	return p.wellFormed()
}

// wellFormed checks what execution relies on and a digest made over anything cannot promise.
func (p *Plan) wellFormed() error {
	for i, a := range p.Actions {
		for _, j := range a.After {
			if j < 0 || j >= i {
				return fmt.Errorf("the work on %s waits for action %d, which is not before it; make a new plan", a.Address, j)
			}
		}
		for _, t := range a.Tasks {
			for _, s := range t.Steps {
				if !slices.Contains(Ops, s.Op) {
					return fmt.Errorf("the work on %s has a step %q that this version does not know (%q); make a new plan", a.Address, s.Name, s.Op)
				}
			}
		}
	}
	return nil
}

// sealedPlan is what an approval is about, besides the lists that digest adds.
type sealedPlan struct {
	Format      string
	Mode        Mode
	Environment string
	Config      string
	Errored     bool
	Applyable   bool
	Parallel    int
}

// digest seals what an approval is about. Texts for people, observations and the time of planning are left out: the same
// work planned an hour later has the same digest.
func (p *Plan) digest() (string, error) {
	sum := sha256.New()
	enc := json.NewEncoder(sum)
	err := enc.Encode(sealedPlan{p.FormatVersion, p.Mode, p.Environment, p.Config.Digest, p.Errored, p.Applyable, p.Parallel})
	put := func(list string, n int, item func(i int) any) {
		fmt.Fprintf(sum, "%s %d\n", list, n)
		for i := range n {
			err = errors.Join(err, enc.Encode(item(i)))
		}
	}
	put("changes", len(p.Changes), func(i int) any {
		c := p.Changes[i]
		c.Range, c.Note = diag.Range{}, ""
		return c
	})
	put("actions", len(p.Actions), func(i int) any {
		a := p.Actions[i]
		a.Reason, a.Summary, a.Tasks = "", "", nil
		return a
	})
	for _, a := range p.Actions {
		put("tasks", len(a.Tasks), func(i int) any {
			t := a.Tasks[i]
			if t.Skip != nil {
				t.Skip = &Skip{Code: t.Skip.Code}
			}
			return t
		})
	}
	put("gates", len(p.Gates), func(i int) any {
		g := p.Gates[i]
		g.Reason = ""
		return g
	})
	put("preconditions", len(p.Preconditions), func(i int) any {
		if n := p.Preconditions[i]; n.Kind != NeedNotAfter {
			return n
		}
		return NeedNotAfter
	})
	names := sortedKeys(p.Objects)
	put("objects", len(names), func(i int) any { return map[string]Spec{names[i]: p.Objects[names[i]]} })
	if err != nil {
		return "", fmt.Errorf("encode plan: %w", err)
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), nil
}
