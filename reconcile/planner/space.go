package planner

import (
	"slices"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/retention"
	"github.com/holdfast-dr/holdfast/state"
)

// estimateOf is how many former artifacts an estimate looks at: the largest of them is what the next one may need.
const estimateOf = 5

// estimate gives the bytes that a capture will need in its store; 0 when nothing of it was taken before.
func (b *builder) estimate(c reconcile.CaptureArgs) int64 {
	if b.sizes == nil {
		b.measure()
	}
	at := func(a string) string { return b.recordedAddress(config.Address(a)) }
	return b.sizes[retention.Group{
		BackupPlan: at(c.BackupPlan), Store: at(c.Store), Device: at(c.Device), Domain: c.Domain, Action: c.Action, Variant: c.Variant,
	}]
}

// measure finds the largest of the newest artifacts of each group.
func (b *builder) measure() {
	b.sizes = map[retention.Group]int64{}
	all := map[retention.Group][]state.ArtifactBrief{}
	for _, a := range b.st.Catalogue {
		if a.State == state.ArtifactGood {
			g := retention.GroupOf(a)
			all[g] = append(all[g], a)
		}
	}
	for g, of := range all {
		slices.SortFunc(of, func(x, y state.ArtifactBrief) int { return y.Started.Compare(x.Started) })
		for _, a := range of[:min(len(of), estimateOf)] {
			b.sizes[g] = max(b.sizes[g], a.Bytes)
		}
	}
}

// weigh sums up what the tasks of a backup will need, for its first check, for the reader and for the store's account.
func (b *builder) weigh(bp *config.BackupPlan, a *reconcile.Action) {
	s := &reconcile.Space{Store: string(bp.Store), Free: -1}
	work := 0
	for _, t := range a.Tasks {
		if t.Kind != "backup" || t.Skip != nil {
			continue
		}
		work++
		s.Needs += t.Estimate
		if t.Estimate == 0 {
			s.Unknown++
		}
	}
	if work == 0 {
		return
	}
	for i := range a.Tasks {
		if a.Tasks[i].Stage == reconcile.StageBefore {
			a.Tasks[i].Estimate = s.Needs
		}
	}
	if seen, ok := b.spaceSeen(bp.Store); ok {
		s.Free = max(0, seen.FreeBytes-seen.MinFreeBytes)
	}
	a.Space = s
	if b.fill == nil {
		b.fill = map[string]int64{}
	}
	b.fill[s.Store] += s.Needs
}

// spaceSeen gives the condition of a store whose free space is known. What is free where nothing is mounted says nothing.
func (b *builder) spaceSeen(a config.Address) (reconcile.StoreSeen, bool) {
	seen, ok := b.storeSeen(a)
	return seen, ok && seen.Error == "" && seen.Unmounted == "" && seen.TotalBytes > 0 && seen.FreeBytes >= 0
}

// room warns of stores that have too little space for what this plan puts there. It is no error: what is free can change until
// the first task looks, and a plan may also delete.
func (b *builder) room() {
	for _, store := range sortedKeys(b.fill) {
		a := config.Address(store)
		seen, ok := b.spaceSeen(a)
		if !ok {
			continue
		}
		var at diag.Range
		if s, ok := config.Lookup[*config.Store](b.doc, a); ok {
			at = s.Range
		}
		switch needs, free := b.fill[store], seen.FreeBytes-seen.MinFreeBytes; {
		case free < 0 || seen.FreeBytes == 0:
			b.warnf(a, "HF-SPC-001", at, "The store has too little space",
				"%s has %s free, and %s have to stay free. Backups into it fail with PRE_VALIDATION_BACKUP_STORE_OUT_OF_SPACE or FAILED_STORE_SPACE until there is more.",
				a, unit.Bytes(seen.FreeBytes), unit.Bytes(seen.MinFreeBytes))
		case seen.MinFreeInodes > 0 && seen.FreeInodes >= 0 && seen.FreeInodes < seen.MinFreeInodes:
			b.warnf(a, "HF-SPC-001", at, "The store has too little space",
				"%s has %d inodes free, and %d have to stay free. Backups into it fail until there are more.", a, seen.FreeInodes, seen.MinFreeInodes)
		case needs > free:
			b.warnf(a, "HF-SPC-002", at, "The store may be too small for these backups",
				"By the sizes of former artifacts this plan needs about %s in %s, and %s may be written. Backups that do not fit fail before they begin.",
				unit.Bytes(needs), a, unit.Bytes(free))
		}
	}
}
