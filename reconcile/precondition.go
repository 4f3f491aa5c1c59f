package reconcile

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/state"
)

// Broken names the first assumption of the plan that no longer holds, as a *state.StaleError, or
// gives nil. It is asked before the first step; nothing is done when it is not nil.
func (p *Plan) Broken(s *state.Snapshot, now time.Time) error {
	if major, _, _ := strings.Cut(p.FormatVersion, "."); major != strings.Split(FormatVersion, ".")[0] {
		return stale("The plan has format version %s; this version of holdfast reads %s", p.FormatVersion, FormatVersion)
	}
	if !p.ExpiresAt.IsZero() && now.After(p.ExpiresAt) {
		return stale("The plan expired at %s", p.ExpiresAt.UTC().Format(time.RFC3339))
	}
	// Of another state nothing else can be compared.
	if i := slices.IndexFunc(p.Preconditions, func(n Precondition) bool { return n.Kind == NeedLineage }); i >= 0 {
		if err := p.Preconditions[i].broken(s, now); err != nil {
			return err
		}
	}
	for _, need := range p.Preconditions {
		err := need.broken(s, now)
		if need.Kind == NeedDeleteSet {
			err = p.deleteSetBroken(need, s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (n Precondition) broken(s *state.Snapshot, now time.Time) error {
	switch n.Kind {
	case NeedLineage:
		if n.Want != s.Meta.Lineage {
			return stale("The plan was made against another state (lineage %s, this one is %s)", n.Want, s.Meta.Lineage)
		}
	case NeedGeneration:
		want, err := strconv.ParseInt(n.Want, 10, 64)
		if err != nil {
			return stale("The plan's precondition on %s is unreadable: %q is no generation", n.Address, n.Want)
		}
		o, ok := s.Objects[n.Address]
		switch {
		case !ok && want != 0:
			return stale("%s is no longer recorded", n.Address)
		case ok && want == 0:
			return stale("%s was recorded meanwhile (generation %d, %s by %s)", n.Address, o.Generation, when(o.AppliedAt), o.AppliedBy)
		case ok && o.Generation != want && stops(o):
			return stale("All backups were switched off meanwhile (%s): generation %d -> %d of %s, %s by %s", BackupsDisabled, want, o.Generation, n.Address, when(o.AppliedAt), o.AppliedBy)
		case ok && o.Generation != want:
			return stale("%s was changed meanwhile (generation %d -> %d, %s by %s)", n.Address, want, o.Generation, when(o.AppliedAt), o.AppliedBy)
		}
	case NeedRoleEpoch:
		r := s.Roles[n.Address]
		if got := strconv.FormatInt(r.Epoch, 10); got != n.Want {
			return stale("%s changed role (epoch %s -> %s, %s, run %s)", n.Address, n.Want, got, when(r.Since), r.Run)
		}
		if r.State != "" && r.State != state.RoleSettled {
			return stale("The role of %s is %s (to %s, run %s)", n.Address, r.State, r.MovingTo, r.Run)
		}
	case NeedDescends:
		if last := s.LastCommit(); last != n.Want {
			return stale("Another commit was applied meanwhile (%s -> %s)", ShortCommit(n.Want), ShortCommit(last))
		}
	case NeedNotAfter:
		limit, err := time.Parse(time.RFC3339, n.Want)
		if err != nil || now.After(limit) {
			return stale("The plan may not be applied after %s", n.Want)
		}
	case NeedArtifact:
		i := slices.IndexFunc(s.Catalogue, func(a state.ArtifactBrief) bool { return a.ID == n.Address })
		switch {
		case i < 0:
			return stale("Artifact %s was deleted meanwhile", n.Address)
		case string(s.Catalogue[i].State) != n.Want:
			return stale("Artifact %s is %s now, and was %s", n.Address, s.Catalogue[i].State, n.Want)
		}
	case NeedDeleteSet: // see Plan.Broken
	default:
		return stale("The plan has a precondition this version does not know: %q", n.Kind)
	}
	return nil
}

// stops reports whether a recorded object is a backup plan of a time in which all backups are switched off.
func stops(o state.Object) bool {
	var bp config.BackupPlan
	return config.Address(o.Address).Kind() == config.KindBackupPlan && json.Unmarshal(o.Spec, &bp) == nil && bp.Stopped()
}

func stale(format string, args ...any) error {
	return &state.StaleError{What: fmt.Sprintf(format, args...)}
}

func when(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// deleteSetBroken says whether artifacts that are to go were pinned since the plan was made. One that is gone already is fine.
func (p *Plan) deleteSetBroken(n Precondition, s *state.Snapshot) error {
	i := slices.IndexFunc(p.Deletions, func(d Deletion) bool { return d.Address == n.Address })
	if i < 0 || p.Deletions[i].IDsDigest != n.Want || DigestIDs(p.Deletions[i].IDs) != n.Want {
		return stale("The artifacts that the plan deletes by %s are not those it was made for", n.Address)
	}
	ids := map[string]bool{}
	for _, id := range p.Deletions[i].IDs {
		ids[id] = true
	}
	for _, a := range s.Catalogue {
		if ids[a.ID] && a.Pinned && a.State != state.ArtifactExpiring {
			return stale("Artifact %s was pinned meanwhile, and the plan deletes it by %s", a.ID, n.Address)
		}
	}
	return nil
}

// DigestIDs sums up the artifacts of a Deletion. The order counts.
func DigestIDs(ids []string) string {
	sum := sha256.Sum256([]byte(strings.Join(ids, "\n")))
	return "sha256:" + hex.EncodeToString(sum[:])
}
