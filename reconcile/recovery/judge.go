package recovery

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

func (b *builder) errorf(code, summary, detail string, args ...any) {
	b.report(diag.Error, code, summary, detail, args...)
}

func (b *builder) warnf(code, summary, detail string, args ...any) {
	b.report(diag.Warning, code, summary, detail, args...)
}

func (b *builder) report(how diag.Severity, code, summary, detail string, args ...any) {
	b.found = append(b.found, diag.Diagnostic{
		Severity: how, Code: code, Address: b.address(), Summary: summary, Detail: fmt.Sprintf(detail, args...),
	})
}

// need notes a requirement, and gives whether it is met.
func (b *builder) need(name, want, got string, met bool) bool {
	r := reconcile.Requirement{Name: name, Want: want, Got: got, Met: reconcile.Unmet}
	switch {
	case met:
		r.Met = reconcile.Met
	case got == "":
		r.Met = reconcile.Untold
	}
	b.plan.Restore.Seen.Requirements = append(b.plan.Restore.Seen.Requirements, r)
	return met
}

// judge compares what the restore depends on with what there is.
func (b *builder) judge() {
	b.judgeArtifact()
	b.judgeStore()
	if len(b.Include) > 0 && b.Seen.Whole != "" {
		b.errorf("HF-RST-019", "The artifact cannot be put back in parts", "%s. %s", b.Seen.Whole, b.instead())
	}
	if b.Dir != "" {
		b.judgeDir()
	} else {
		b.judgeDevice()
	}
	if b.Lenient || b.Device != "" && len(b.Include) > 0 && b.Seen.Whole == "" {
		b.judgePartial()
	}
}

// instead says how parts of an artifact are had that do not go where they were to go.
func (b *builder) instead() string {
	if b.Dir == "" {
		return "Leave --include away, or have the parts put into a directory with --dir."
	}
	return fmt.Sprintf("Leave --include away, or choose among its files as they were captured, with --raw; holdfast artifact files %s --raw lists them.", b.Source.Artifact)
}

// judgePartial has what may not be the whole go to where nothing is.
func (b *builder) judgePartial() {
	switch {
	case b.Seen.Strict != "":
		b.errorf("HF-RST-020", "Nothing can be left out", "%s. Leave --lenient away.", b.Seen.Strict)
	case b.plan.Restore.Target.Replace:
		b.errorf("HF-RST-020", "What is not the whole replaces nothing", "%s is there, or nobody knows that it is not. Name a domain that is not there with --to and --to-domain.", b.where())
	}
}

func (b *builder) judgeArtifact() {
	s := b.Source
	if b.need("artifact", string(state.ArtifactGood), string(s.State), s.State == state.ArtifactGood) {
		if b.Seen.Verified.IsZero() {
			b.warnf("HF-RST-001", "The artifact was never verified", "Nobody read artifact %s back since it was written. It is read as a whole before anything is restored.", s.Artifact)
		}
		return
	}
	switch {
	case s.State == state.ArtifactUnverified:
		b.judgeUnverified()
	case s.State != state.ArtifactQuarantined:
		b.errorf("HF-RST-002", "The artifact is being deleted", "Artifact %s is %s: its content may be gone already. Choose another one: holdfast verify --list", s.Artifact, s.State)
	case b.Dir == "":
		b.errorf("HF-RST-003", "The artifact is quarantined", "A check of artifact %s failed, so it never goes into a device. To look at what it holds, restore it into a directory with --dir and --allow-quarantined.", s.Artifact)
	case !b.AllowQuarantined:
		b.errorf("HF-RST-003", "The artifact is quarantined", "A check of artifact %s failed. When there is nothing better, say --allow-quarantined: bytes that differ still end the restore.", s.Artifact)
	default:
		b.warnf("HF-RST-003", "The artifact is quarantined", "A check of artifact %s failed. It is restored because that was asked for; bytes that still differ end the restore.", s.Artifact)
	}
}

// judgeUnverified lets an artifact that is known by its path alone go where a person can look at it: nothing says what its files should
// hold, or in which form they are.
func (b *builder) judgeUnverified() {
	const code, summary = "HF-RST-017", "The artifact is unverified"
	s := b.Source
	switch {
	case b.Dir == "" || !b.Raw:
		b.errorf(code, summary, "Artifact %s has no manifest: it was found by its path alone, so its files can only be put back as they lie in the store. Say --dir, --raw and --allow-unverified.", s.Artifact)
	case !b.AllowUnverified:
		b.errorf(code, summary, "Artifact %s has no manifest: nothing says that its files are complete and what they should hold. To put them back all the same, say --allow-unverified.", s.Artifact)
	default:
		b.warnf(code, summary, "Artifact %s has no manifest. It is put back because that was asked for; nothing says that its files are complete and what they should hold, only that they are as they were found.", s.Artifact)
	}
}

func (b *builder) judgeStore() {
	s, seen := b.Source, b.Seen.Store
	object, recorded := b.State.Objects[s.Store]
	switch {
	case !recorded:
		b.need("store", s.Store, "", false)
		b.errorf("HF-RST-004", "The store is not recorded", "Artifact %s is in %s, which is no longer recorded. Declare it again with its path and run holdfast store init --adopt %s, or use the files in it directly.", s.Artifact, s.Store, s.Store)
		return
	case seen.Error != "":
		b.need("store", s.Store, seen.Error, false)
		b.errorf("HF-RST-005", "The store cannot be used", "%s: %s", s.Store, seen.Error)
		return
	case !seen.Initialised:
		b.need("store", object.Identity, "no store", false)
		b.errorf("HF-RST-005", "The store cannot be used", "The place of %s holds no store; recorded is %q. Is its file system mounted? holdfast store status tells more.", s.Store, object.Identity)
		return
	case object.Identity != "" && seen.Identity != object.Identity:
		b.need("store", object.Identity, seen.Identity, false)
		b.errorf("HF-RST-005", "The store cannot be used", "The place of %s carries the identity %q, recorded is %q. Is the right file system mounted there?", s.Store, seen.Identity, object.Identity)
		return
	}
	misfit := reconcile.Mark(object).Misfit(s.Store, seen.Mark())
	if misfit == nil {
		misfit = reconcile.Behind(b.State, s.Store, seen.Last)
	}
	if misfit != nil {
		if b.plan.Restore.Safety {
			b.need("store", s.Store, misfit.Summary, false)
			b.errorf("HF-RST-005", "The store cannot be used", "%s %s, so the safety backup cannot go there. %s", s.Store, misfit.Summary, misfit.Detail)
			return
		}
		b.warnf("HF-RST-018", "The store is not as it was recorded", "%s %s. It is only read. %s", s.Store, misfit.Summary, misfit.Detail)
	}
	b.need("store", s.Store, s.Store, true)
	switch {
	case b.Seen.NoKey:
		b.need("key", "the store can decrypt it", "no key", false)
		b.errorf("HF-RST-006", "The store has no key for the artifact", "%s%s", sentence(b.Seen.Unreadable), b.whereKey())
	case b.Seen.Unreadable != "":
		b.need("content", "can be read", b.Seen.Unreadable, false)
		b.errorf("HF-RST-007", "The artifact cannot be read", "%s Check it with: holdfast verify %s", sentence(b.Seen.Unreadable), s.Artifact)
	case b.Seen.Encrypted:
		b.need("key", "the store can decrypt it", "yes", true)
	default:
		b.need("content", "can be read", "yes", true)
	}
}

// whereKey says what to do about a key that is a secret which cannot be had. Other problems with keys say it themselves, as does a secret
// without a configuration that declares it.
func (b *builder) whereKey() string {
	if !b.Seen.NoSecret || b.Secrets == nil {
		return ""
	}
	return " Its secret block in the configuration says where it is read from: put it there, or name the place where it is, and plan again."
}

// sentence ends a text with one full stop.
func sentence(text string) string {
	if strings.HasSuffix(text, ".)") {
		return text
	}
	return strings.TrimRight(text, ".") + "."
}

func (b *builder) judgeDir() {
	s, seen := b.Source, b.Seen
	if !b.Raw {
		b.judgeType(s.Device, "Its files can still be written as they were captured: --raw.")
	}
	if seen.Occupied != "" {
		b.errorf("HF-RST-008", "The directory cannot be used", "%s. Name one that is absent or empty, where you may write.", seen.Occupied)
	}
	b.judgeRoom()
}

// judgeRoom compares what is to be written with the room for it.
func (b *builder) judgeRoom() {
	s, free := b.Source, b.Seen.FreeBytes
	need, text := s.Content, unit.Bytes(s.Content)
	switch {
	case len(b.Include) > 0:
		need, text = 0, "a part of what the artifact holds"
	case b.Raw:
	case s.Unpacked == 0:
		text = "at least " + text
	case s.AtMost:
		need, text = max(s.Unpacked, s.Content), "at most "+unit.Bytes(max(s.Unpacked, s.Content))
	default:
		need, text = s.Unpacked, unit.Bytes(s.Unpacked)
	}
	const code, summary = "HF-RST-009", "There is no room for the content"
	switch {
	case free < 0:
		b.need("room", text, "", false)
	case b.need("room", text, unit.Bytes(free)+" free", free >= need):
	case !b.Raw && s.AtMost && free >= s.Content:
		b.warnf(code, "There may be no room for the content", "The content has %s, less where files have holes; %s are free at %s. Without room the restore fails, and leaves nothing.", text, unit.Bytes(free), b.Dir)
	default:
		b.errorf(code, summary, "The content has %s; %s are free at %s. Name a directory on a larger file system.", text, unit.Bytes(free), b.Dir)
	}
}

// judgeType checks that a device is of the type that made the artifact.
func (b *builder) judgeType(device, otherwise string) bool {
	typ := b.typeOf(device)
	switch {
	case typ == "":
		b.need("device type", b.Source.DeviceType, "", false)
		b.errorf("HF-RST-010", "The device is not recorded", "%s is not recorded, and its type knows the form of the artifact. Is the name right? holdfast state list shows what is recorded. %s", device, otherwise)
	case b.Source.DeviceType == "":
		b.need("device type", "not told by the manifest", typ, true)
		return true
	case !b.need("device type", b.Source.DeviceType, typ, typ == b.Source.DeviceType):
		b.errorf("HF-RST-011", "The device is of another type", "Artifact %s was made by a device of type %q, and %s is of type %q. %s", b.Source.Artifact, b.Source.DeviceType, device, typ, otherwise)
	default:
		return true
	}
	return false
}

func (b *builder) judgeDevice() {
	if !b.judgeType(b.Device, "Restore it into a directory with --dir.") {
		return
	}
	if b.Seen.Refused != "" {
		b.errorf("HF-RST-012", "The device cannot be restored into", "%s: %s. Restore into a directory with --dir, and put the content in place by hand.", b.Device, b.Seen.Refused)
		return
	}
	i := slices.IndexFunc(b.State.OpenRuns, func(r state.Run) bool {
		return r.Kind == string(reconcile.ActionRestore) && r.Address == b.Device
	})
	if i >= 0 {
		open := b.State.OpenRuns[i]
		b.errorf("HF-RST-013", "Another restore has not ended", "Run %s restores into %s and is %s. Continue it first: holdfast apply --resume %s", open.ID, b.Device, open.Status, open.ID)
	}
	b.judgeSeen()
	b.judgeSafety()
}

// judgeSeen compares what the device says of itself with what the manifest tells of the one that was captured.
func (b *builder) judgeSeen() {
	seen, s := b.Seen.Target, b.Source
	if seen == nil || seen.Unavailable || seen.Error != "" {
		problem := "it was not asked"
		if seen != nil {
			problem = cmp.Or(seen.Error, "no reason given")
		}
		b.need("device", "can be inspected", problem, false)
		if !b.NoSafety {
			b.errorf("HF-RST-014", "The device cannot be inspected", "%s: %s. So it cannot be backed up first. When there is nothing left on it to save, say --no-safety-backup --reason \"...\".", b.Device, problem)
		}
		return
	}
	b.need("device", "can be inspected", "yes", true)
	for _, fact := range []struct{ name, want, got string }{{"model", s.Model, seen.Model}, {"firmware", s.Firmware, seen.Firmware}} {
		if fact.want == "" {
			continue
		}
		if !b.need(fact.name, fact.want, fact.got, fact.want == fact.got) && fact.got != "" {
			b.warnf("HF-RST-015", "The device is not as it was", "Its %s is %s; it was %s when artifact %s was taken.", fact.name, fact.got, fact.want, s.Artifact)
		}
	}
	if s.Identity != "" && seen.Identity != "" && s.Device == b.Device && s.Identity != seen.Identity {
		b.need("identity", s.Identity, seen.Identity, false)
		b.warnf("HF-RST-015", "The device is not as it was", "%s is another machine than the one artifact %s was taken from: %s, and it was %s.", b.Device, s.Artifact, seen.Identity, s.Identity)
	}
}

func (b *builder) judgeSafety() {
	r := b.plan.Restore
	switch {
	case !r.Target.Replace, !b.NoSafety:
	case b.Reason == "":
		b.errorf("HF-RST-016", "No reason is given", "What %s holds is lost without a safety backup: say why with --reason.", b.where())
	default:
		b.warnf("HF-RST-016", "There is no safety backup", "What %s holds now cannot be brought back. Reason: %s", b.where(), b.Reason)
	}
}
