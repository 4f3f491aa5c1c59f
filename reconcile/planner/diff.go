package planner

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// protectedKinds are recorded as protected: removing their block is not enough to lose them.
var protectedKinds = []string{config.KindStore, config.KindFailover, config.KindBackupPlan}

// diff compares desired with recorded objects.
func (b *builder) diff() {
	if b.plan.Mode == reconcile.ModeDestroy {
		for _, addr := range sortedKeys(b.recorded) {
			if b.wants(config.Address(addr)) {
				b.removal(b.recorded[addr])
			}
		}
		return
	}
	now, last := reconcile.ShortCommit(b.in.Config.Commit), reconcile.ShortCommit(b.st.LastCommit())
	if b.in.Rewound {
		b.diags.Errorf("HF-GIT-001", diag.Range{}, "The commit goes back",
			"Commit %s does not descend from %s, which was applied last: it is older, the branch was rewritten, or it is of another repository. Planning it would undo what was applied since. Merge the applied commit first, or allow it with --allow-rewind.",
			now, last)
	}
	if b.in.Unproven {
		b.diags.Errorf("HF-GIT-002", diag.Range{}, "Whether the commit goes back cannot be checked",
			"The history at hand ends before it says whether commit %s descends from %s, which was applied last. Fetch all of it (git fetch --unshallow; in a workflow fetch-depth: 0, or GIT_DEPTH: 0), or allow it with --allow-rewind.",
			now, last)
	}
	b.plan.Changes = make([]reconcile.Change, 0, max(0, len(b.desired)-len(b.recorded)))
	for _, d := range b.desired {
		if !b.wants(d.Address) {
			continue
		}
		rec, ok := b.recorded[string(d.Address)]
		moved := ok && rec.Address != string(d.Address)
		switch {
		case !ok:
			b.plan.Changes = append(b.plan.Changes, b.creation(d))
		case moved, rec.Digest != d.Digest:
			b.plan.Changes = append(b.plan.Changes, b.update(d, rec, moved))
		}
	}
	for _, addr := range sortedKeys(b.recorded) {
		if _, ok := b.byAddr[config.Address(addr)]; !ok && b.wants(config.Address(addr)) {
			b.removal(b.recorded[addr])
		}
	}
	b.suggestMoves()
}

// applyMoves puts recorded objects under the addresses that moved blocks give them. The order of the blocks means nothing.
func (b *builder) applyMoves() {
	b.recorded = maps.Clone(b.st.Objects)
	if b.recorded == nil {
		b.recorded = map[string]state.Object{}
	}
	b.renamed = map[string]string{}
	for _, addr := range sortedKeys(b.st.Objects) {
		if to, _ := b.destination(addr); to != addr {
			b.renamed[addr] = to
			delete(b.recorded, addr)
		}
	}
	for _, addr := range sortedKeys(b.renamed) {
		to, by := b.destination(addr)
		if _, taken := b.recorded[to]; taken {
			b.errorf(config.Address(addr), "HF-MOV-001", by.Range, "The new address is taken",
				"%s cannot move to %s, which is recorded already. Remove the moved block, or remove one of the two objects first.", addr, to)
			delete(b.renamed, addr)
			b.recorded[addr] = b.st.Objects[addr]
			continue
		}
		b.recorded[to] = b.st.Objects[addr]
	}
}

// destination follows the moved blocks from a recorded address to the one it has now. By is the first of them.
func (b *builder) destination(addr string) (to string, by config.Moved) {
	to = addr
	for range b.doc.Moved {
		i := slices.IndexFunc(b.doc.Moved, func(m config.Moved) bool { return string(m.From) == to })
		if i < 0 { // an instance may have a block of its own, which comes before that of all instances
			i = slices.IndexFunc(b.doc.Moved, func(m config.Moved) bool { return m.From == config.Address(to).Block() && m.To == m.To.Block() })
		}
		if i < 0 {
			break
		}
		m := b.doc.Moved[i]
		if to == addr {
			by = m
		}
		to = string(m.To) + strings.TrimPrefix(to, string(m.From))
	}
	return to, by
}

func (b *builder) creation(d config.Specified) reconcile.Change {
	c := reconcile.Change{
		Address: string(d.Address), Action: reconcile.Create, Class: reconcile.ClassSafe, After: d.Spec, Range: d.Object.Head().Range,
		Protect: slices.Contains(protectedKinds, d.Address.Kind()),
	}
	switch o := d.Object.(type) {
	case *config.Store:
		c.Identity = b.storeIdentity(d.Address)
		c.ByAction = true
	case *config.Failover:
		b.newFailover(o, &c)
	case *config.BackupPlan:
		b.inherit(o, &c)
	case *config.Freeze:
		c.Class = reconcile.ClassDegrade
		c.Note = fmt.Sprintf("holds work back from %s to %s", o.From, o.To)
	}
	return c
}

func (b *builder) update(d config.Specified, rec state.Object, moved bool) reconcile.Change {
	c := reconcile.Change{
		Address: string(d.Address), Action: reconcile.Update, Class: reconcile.ClassSafe, Before: readable(rec.Spec), After: d.Spec,
		Protect: rec.Protect, IfGeneration: rec.Generation, Range: d.Object.Head().Range,
		Paths: diffPaths(rec.Spec, d.Spec),
	}
	if moved {
		c.Action, c.Previous = reconcile.Move, rec.Address
		if rec.Digest == d.Digest {
			c.Class, c.Paths = reconcile.ClassNone, nil
			return c
		}
	}
	c.Class, c.Note = grade(d.Object, rec.Spec, c.Paths)
	switch o := d.Object.(type) {
	case *config.Retention:
		b.previewDeletion(o, &c)
	case *config.BackupPlan:
		b.gradeRetention(o, rec.Spec, &c)
		b.restarts(o, &c)
	case *config.Store:
		c.Identity = rec.Identity
	case *config.Failover:
		b.preferenceChange(o, rec, &c)
	}
	return c
}

// removal plans the end of a recorded object that is no longer declared.
func (b *builder) removal(rec state.Object) {
	addr := config.Address(rec.Address)
	c := reconcile.Change{Address: rec.Address, Action: reconcile.Delete, Class: reconcile.ClassSafe, Before: readable(rec.Spec), IfGeneration: rec.Generation, Protect: rec.Protect}
	switch addr.Kind() {
	case config.KindDevice, config.KindMirror, config.KindFailoverTarget:
		c.Class = reconcile.ClassDegrade
	case config.KindStore, config.KindBackupPlan, config.KindFailover:
		c.Class = reconcile.ClassDestroy
	}
	i := slices.IndexFunc(b.doc.Removed, func(r config.Removed) bool { return r.From == addr || r.From == addr.Block() })
	if i >= 0 {
		c.Action, c.Range = reconcile.Forget, b.doc.Removed[i].Range
		c.Note = "its data stays where it is"
		if b.doc.Removed[i].Data == "delete" {
			b.errorf(addr, "HF-DEL-003", c.Range, "Deleting data is not in this version",
				"This version of holdfast deletes artifacts only by retention. Write data = \"keep\" to forget %s and keep what it made.", addr)
		}
	} else if (rec.Protect || b.owns(rec)) && b.plan.Mode != reconcile.ModeDestroy {
		b.errorf(addr, "HF-DEL-001", diag.Range{}, "The object is protected",
			"%s is recorded as protected, so taking its block away is not enough. To forget it and keep its data, add: removed { from = %s } - or put the block back.", addr, addr)
	}
	if h := b.st.Artifacts[rec.Address]; h.Count > 0 {
		c.Note = fmt.Sprintf("its %s", plural(h.Count, "artifact stays where it is", "artifacts stay where they are"))
	}
	if role, ok := b.st.Roles[rec.Address]; ok {
		c.Note = fmt.Sprintf("%s stays active; its epoch %d is remembered", role.Active, role.Epoch)
	}
	b.plan.Changes = append(b.plan.Changes, c)
}

// owns reports whether something made good artifacts that are still kept.
func (b *builder) owns(rec state.Object) bool { return b.st.Artifacts[rec.Address].Count > 0 }

// suggestMoves notices a rename without a moved block: same specification, other name.
func (b *builder) suggestMoves() {
	gone := map[string][]string{} // addresses by kind and specification
	key := func(address string, spec json.RawMessage) string {
		return config.Address(address).Kind() + " " + string(spec)
	}
	for _, c := range b.plan.Changes {
		if c.Action == reconcile.Delete {
			gone[key(c.Address, c.Before)] = append(gone[key(c.Address, c.Before)], c.Address)
		}
	}
	if len(gone) == 0 {
		return
	}
	for _, c := range b.plan.Changes {
		k := key(c.Address, c.After)
		if c.Action != reconcile.Create || len(gone[k]) == 0 {
			continue
		}
		was := gone[k][0]
		gone[k] = gone[k][1:]
		b.warnf(config.Address(c.Address), "HF-MOV-002", c.Range, "This looks like a rename",
			"%s has the specification that %s had. To keep its history, add: moved { from = %s  to = %s } with each argument on its own line.",
			c.Address, was, was, c.Address)
	}
}

// grade says how grave an update is, with a note where it is not obvious.
func grade(o config.Object, before json.RawMessage, paths []string) (reconcile.Class, string) {
	touched := func(names ...string) bool { return touches(paths, names...) }
	switch o := o.(type) {
	case *config.Retention:
		if shrinks(before, o) {
			return reconcile.ClassDestroy, "keeps less than before"
		}
	case *config.Store:
		if touched("path", "type") {
			return reconcile.ClassDegrade, "artifacts at the old place are no longer reachable"
		}
	case *config.BackupPlan:
		switch {
		case o.Stopped() && touched("backups_enabled"):
			return reconcile.ClassDegrade, "all backups are switched off in the settings"
		case o.Enabled != nil && !*o.Enabled && touched("enabled"):
			return reconcile.ClassDegrade, "its schedule is switched off"
		case touched("schedule") && o.Schedule == "":
			return reconcile.ClassDegrade, "it runs only by hand from now on"
		case touched("activity"):
			return reconcile.ClassDegrade, "what is backed up changes"
		case touched("store"):
			return reconcile.ClassDegrade, "new artifacts go to another store"
		}
	case *config.Mirror:
		return gradeMirror(o, before, touched)
	case *config.Device:
		if o.Exclude != nil && touched("exclude") {
			return reconcile.ClassDegrade, "excluded until " + o.Exclude.Until + ": " + o.Exclude.Reason
		}
	case *config.Freeze:
		return reconcile.ClassDegrade, ""
	case *config.FailoverTarget:
		return reconcile.ClassDegrade, ""
	}
	return reconcile.ClassSafe, ""
}

// gradeMirror looks at what a pass would overwrite after the change.
func gradeMirror(m *config.Mirror, before json.RawMessage, touched func(...string) bool) (reconcile.Class, string) {
	var old config.Mirror
	unreadable := json.Unmarshal(before, &old) != nil
	switch {
	case unreadable:
		return reconcile.ClassDegrade, ""
	case m.Source == old.Target && m.Target == old.Source:
		return reconcile.ClassDestroy, "copies the other way round: what was the source is overwritten"
	case touched("target"):
		return reconcile.ClassDegrade, "what is at the new target is overwritten"
	case touched("source"):
		return reconcile.ClassDegrade, "the target becomes a copy of another source"
	case m.Every > old.Every:
		return reconcile.ClassDegrade, "copies less often"
	}
	return reconcile.ClassSafe, ""
}

// touches reports whether any path lies in one of some arguments.
func touches(paths []string, names ...string) bool {
	return slices.ContainsFunc(paths, func(p string) bool {
		if i := strings.IndexAny(p, ".["); i >= 0 {
			p = p[:i]
		}
		return slices.Contains(names, p)
	})
}

// readable leaves out a recorded specification that is no JSON: a damaged record does not stop planning.
func readable(spec json.RawMessage) json.RawMessage {
	if !json.Valid(spec) {
		return nil
	}
	return spec
}

// shrinks reports whether any rule of a retention keeps less than the recorded one. A rule that goes away keeps less,
// too.
func shrinks(before json.RawMessage, now *config.Retention) bool {
	var old config.Retention
	if json.Unmarshal(before, &old) != nil {
		return true // unreadable: ask
	}
	pairs := [][2]int64{
		{int64(old.KeepLast), int64(now.KeepLast)}, {int64(old.KeepHourly), int64(now.KeepHourly)},
		{int64(old.KeepDaily), int64(now.KeepDaily)}, {int64(old.KeepWeekly), int64(now.KeepWeekly)},
		{int64(old.KeepMonthly), int64(now.KeepMonthly)}, {int64(old.KeepYearly), int64(now.KeepYearly)},
		{int64(old.KeepWithin), int64(now.KeepWithin)}, {int64(old.MinCopies), int64(now.MinCopies)},
	}
	return slices.ContainsFunc(pairs, func(p [2]int64) bool { return p[1] < p[0] })
}

// diffPaths lists the arguments in which two specifications differ, as "a.b" and "a[0].b".
func diffPaths(before, after json.RawMessage) []string {
	var x, y any
	if json.Unmarshal(before, &x) != nil || json.Unmarshal(after, &y) != nil {
		return []string{"(unreadable)"}
	}
	var paths []string
	var walk func(path string, x, y any)
	walk = func(path string, x, y any) {
		mx, okx := x.(map[string]any)
		my, oky := y.(map[string]any)
		if okx && oky {
			keys := map[string]bool{}
			for k := range mx {
				keys[k] = true
			}
			for k := range my {
				keys[k] = true
			}
			for _, k := range slices.Sorted(maps.Keys(keys)) {
				walk(strings.TrimPrefix(path+"."+k, "."), mx[k], my[k])
			}
			return
		}
		lx, okx := x.([]any)
		ly, oky := y.([]any)
		if okx && oky && len(lx) == len(ly) {
			for i := range lx {
				walk(fmt.Sprintf("%s[%d]", path, i), lx[i], ly[i])
			}
			return
		}
		if string(encode(x)) != string(encode(y)) {
			paths = append(paths, cmp.Or(path, "(unreadable)"))
		}
	}
	walk("", x, y)
	return paths
}

// encode gives canonical JSON of a decoded value.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("planner: " + err.Error()) // the value came from JSON
	}
	return b
}
