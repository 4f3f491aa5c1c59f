package reconcile

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/config/diag"
)

// planLifetime is how long a plan that destroys or moves a role may be applied.
const planLifetime = 24 * time.Hour

// Seal closes a plan that is complete but for what follows from its content: the limit of its life, counts, findings, whether
// it is applyable, and the digest.
func (p *Plan) Seal(found diag.List) {
	if p.grave() {
		p.ExpiresAt = p.Timestamp.Add(planLifetime)
		p.Preconditions = append(p.Preconditions, Precondition{Kind: NeedNotAfter, Want: p.ExpiresAt.Format(time.RFC3339)})
	}
	slices.SortFunc(p.Preconditions, func(x, y Precondition) int {
		return cmp.Or(strings.Compare(string(x.Kind), string(y.Kind)), strings.Compare(x.Address, y.Address), strings.Compare(x.Want, y.Want))
	})
	p.Summary = summarise(p)
	p.Findings = append([]diag.Diagnostic{}, found...)
	p.Errored = found.HasErrors()
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
	for _, d := range p.Deletions {
		s.Deletes += d.Count
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

// digest seals what an approval is about. Texts for people, observations and the time of planning are left out: the same
// work planned an hour later has the same digest.
func (p *Plan) digest() (string, error) {
	s := sealer{sum: sha256.New()}
	s.enc = json.NewEncoder(s.sum)
	s.put(p.FormatVersion, p.Mode, p.Environment, p.Config.Digest, p.Errored, p.Applyable, p.Parallel)
	s.put("changes", len(p.Changes))
	for _, c := range p.Changes {
		before, after := c.Before, c.After
		c.Range, c.Note, c.Before, c.After = diag.Range{}, "", nil, nil
		s.put(c)
		s.raw(before)
		s.raw(after)
	}
	s.put("actions", len(p.Actions))
	for _, a := range p.Actions {
		s.action(a)
	}
	if len(p.Deletions) > 0 {
		s.put("deletions", p.Deletions)
	}
	if p.Restore != nil {
		r := *p.Restore
		r.Seen = RestoreSeen{}
		s.put("restore", r)
	}
	s.put("gates", len(p.Gates))
	for _, g := range p.Gates {
		g.Reason = ""
		s.put(g)
	}
	s.put("preconditions", len(p.Preconditions))
	for _, n := range p.Preconditions {
		if n.Kind == NeedNotAfter {
			n.Want = ""
		}
		s.put(n)
	}
	s.put("objects", len(p.Objects))
	for _, address := range slices.Sorted(maps.Keys(p.Objects)) {
		o := p.Objects[address]
		s.put(address, o.Type, o.Identity)
		if o.Epoch != 0 {
			s.put(o.Epoch)
		}
		s.raw(o.Spec)
	}
	if s.err != nil {
		return "", fmt.Errorf("encode plan: %w", s.err)
	}
	return "sha256:" + hex.EncodeToString(s.sum.Sum(nil)), nil
}

// sealer adds values to a digest. What is JSON already is not decoded for it.
type sealer struct {
	sum hash.Hash
	enc *json.Encoder
	buf []byte
	of  *byte // what buf was made of by raw: several steps share their arguments
	err error
}

func (s *sealer) put(values ...any) {
	for _, v := range values {
		s.err = errors.Join(s.err, s.enc.Encode(v))
	}
}

func (s *sealer) action(a Action) {
	tasks := a.Tasks
	a.Reason, a.Summary, a.Space, a.Tasks = "", "", nil, nil
	s.put(a, len(tasks))
	for _, t := range tasks {
		steps := t.Steps
		t.Steps, t.Estimate = nil, 0
		if t.Skip != nil {
			t.Skip = &Skip{Code: t.Skip.Code}
		}
		s.put(t, len(steps))
		for _, step := range steps {
			fmt.Fprintf(s.sum, "%q %q %q %t\n", step.Name, step.Op, step.Class, step.Always)
			s.raw(step.Args)
		}
	}
}

// raw adds JSON in the form that encoding and decoding a plan, indented or not, does not change.
func (s *sealer) raw(m json.RawMessage) {
	if len(m) > 0 && &m[0] == s.of {
		s.sum.Write(s.buf)
		return
	}
	buf, text, escaped := s.buf[:0], false, false
	for _, c := range m {
		switch {
		case !text && (c == ' ' || c == '\n' || c == '\t' || c == '\r'):
			continue
		case c == '<' || c == '>' || c == '&':
			buf = fmt.Appendf(buf, "\\u%04x", c)
		default:
			buf = append(buf, c)
		}
		switch {
		case escaped:
			escaped = false
		case text && c == '\\':
			escaped = true
		case c == '"':
			text = !text
		}
	}
	if bytes.Contains(buf, []byte("\u2028")) || bytes.Contains(buf, []byte("\u2029")) {
		buf = bytes.ReplaceAll(bytes.ReplaceAll(buf, []byte("\u2028"), []byte(`\u2028`)), []byte("\u2029"), []byte(`\u2029`))
	}
	s.buf = append(buf, '\n')
	s.of = nil
	if len(m) > 0 {
		s.of = &m[0]
	}
	s.sum.Write(s.buf)
}
