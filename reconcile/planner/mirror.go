package planner

import (
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// route is where a mirror copies from and to at the moment.
type route struct {
	source, target string         // endpoint URLs
	failover       config.Address // whose role gives the direction; empty for fixed endpoints
	epoch          int64
	after          []int  // actions that must have ended well first
	waits          string // not empty: there is no direction now, and why
}

func (b *builder) route(m *config.Mirror) route {
	group := roleOf(m.Source)
	if group == "" {
		group = roleOf(m.Target)
	}
	if group == "" {
		return route{source: m.Source, target: m.Target}
	}
	f, ok := config.Lookup[*config.Failover](b.doc, group)
	if !ok {
		return route{waits: fmt.Sprintf("%s, which is not declared", group)}
	}
	r := route{failover: group}
	var active config.Address
	role, recorded := b.role(group)
	mv, moving := b.moves[group]
	switch {
	case moving && recorded:
		r.waits = fmt.Sprintf("the switchover of %s; plan again after it", group)
		return r
	case moving:
		active, r.epoch, r.after = mv.to, mv.epoch, []int{mv.action}
	case !recorded:
		r.waits = fmt.Sprintf("%s, whose active side is not recorded yet", group)
		return r
	case role.State != state.RoleSettled:
		r.waits = fmt.Sprintf("%s, whose role is %s", group, role.State)
		return r
	case b.look(f).contradicts(role):
		r.waits = fmt.Sprintf("%s, whose targets do not show the recorded role", group)
		return r
	default:
		active, r.epoch = config.Address(role.Active), role.Epoch
	}
	r.source, r.waits = b.roleEndpoint(f, m.Source, active)
	if r.waits == "" {
		r.target, r.waits = b.roleEndpoint(f, m.Target, active)
	}
	return r
}

// roleOf gives the failover that an endpoint follows: failover.orders for "failover.orders.active".
func roleOf(endpoint string) config.Address {
	if !strings.HasPrefix(endpoint, config.KindFailover+".") {
		return ""
	}
	if a, ok := strings.CutSuffix(endpoint, ".active"); ok {
		return config.Address(a)
	}
	a, _ := strings.CutSuffix(endpoint, ".standby")
	return config.Address(a)
}

// roleEndpoint gives the tree that "active" or "standby" stands for: the path of the member of the group's only files target.
func (b *builder) roleEndpoint(f *config.Failover, endpoint string, active config.Address) (place, problem string) {
	if roleOf(endpoint) == "" {
		return endpoint, ""
	}
	site := active
	if strings.HasSuffix(endpoint, ".standby") {
		var standby []config.Address
		for _, s := range f.Sites() {
			if s != active {
				standby = append(standby, s)
			}
		}
		if len(standby) != 1 {
			return "", fmt.Sprintf("%s, which has %d standby sites: a mirror can follow one", f.Address, len(standby))
		}
		site = standby[0]
	}
	var trees []string
	for _, a := range f.Targets() {
		if t, ok := config.Lookup[*config.FailoverTarget](b.doc, a); ok && t.Type == filesTarget {
			if m := t.Member(site); m != nil {
				trees = append(trees, memberPath(m))
			}
		}
	}
	if len(trees) != 1 || trees[0] == "" {
		return "", fmt.Sprintf("%s, which has %d files targets: a mirror can follow a group with one", f.Address, len(trees))
	}
	return (&url.URL{Scheme: "file", Path: trees[0]}).String(), ""
}

// filesTarget is the type of failover target whose members are directory trees.
const filesTarget = "files"

// memberPath is the directory of a files target's member. The planner reads this setting of a provider, since the direction
// of mirrors depends on it.
func memberPath(m *config.Member) string {
	var settings struct {
		Path string `json:"path"`
	}
	body, err := json.Marshal(m.Settings)
	if err != nil || json.Unmarshal(body, &settings) != nil {
		return ""
	}
	return settings.Path
}

// mirrors plans every mirror whose pass is due.
func (b *builder) mirrors() {
	for _, m := range all[*config.Mirror](b) {
		if !b.wants(m.Address) {
			continue
		}
		r := b.route(m)
		reason, due := b.mirrorDue(m, r)
		if r.waits != "" {
			b.postpone(m.Address, reconcile.ActionMirror, reason, r.waits, time.Time{})
			continue
		}
		if !b.mirrorSafe(m, r) || !due || b.planned[string(m.Address)] {
			continue
		}
		if open, ok := b.running(m.Address); ok {
			b.postpone(m.Address, reconcile.ActionMirror, reason, "run "+open.ID+" of it, which has not ended", time.Time{})
			continue
		}
		w := b.window(m.Window, workMirror)
		if b.mayStart(m.Address, reconcile.ActionMirror, reason, w) {
			b.addMirror(m, r, w, reason, state.TriggerApply)
		}
	}
}

// mirrorDue says whether a pass is due and why, in words.
func (b *builder) mirrorDue(m *config.Mirror, r route) (reason string, due bool) {
	pos, ok := b.position(m.Address)
	switch {
	case !ok:
		return "first sync", true
	case r.waits != "":
		return "a pass in the new direction", false
	case pos.Source == r.target && pos.Target == r.source && r.failover != "":
		return fmt.Sprintf("direction reversed with epoch %d", r.epoch), true
	case pos.Source == r.target && pos.Target == r.source:
		return "direction reversed", true
	case pos.Source != r.source || pos.Target != r.target:
		return "its endpoints changed", true
	}
	next := pos.At.Add(m.Every.Std())
	if b.now.Before(next) {
		return "", false
	}
	var old config.Mirror
	if json.Unmarshal(b.recorded[string(m.Address)].Spec, &old) == nil && b.now.Before(pos.At.Add(old.Every.Std())) {
		return "it is to be copied every " + m.Every.String() + " from now on", true // nobody asked for it at next
	}
	return "due since " + next.In(b.settingsZone()).Format("Mon 2006-01-02 15:04 MST"), true
}

func (b *builder) position(a config.Address) (state.Position, bool) {
	p, ok := b.st.Positions[b.recordedAddress(a)]
	return p, ok
}

// guard is a directory that is the active side of a failover, and those of its standby sides.
type guard struct {
	failover config.Address
	active   config.Address // site
	path     string
	standby  []string
}

// guardActive lists what no mirror with fixed endpoints may overwrite from a standby side.
func (b *builder) guardActive() []guard {
	if b.guarded {
		return b.guards
	}
	b.guarded = true
	for _, f := range all[*config.Failover](b) {
		sites := b.activeSites(f)
		for _, a := range f.Targets() {
			if t, ok := config.Lookup[*config.FailoverTarget](b.doc, a); ok && t.Type == filesTarget {
				b.guardMembers(f, t, sites)
			}
		}
	}
	return b.guards
}

// activeSites lists where a group is active: as recorded or written by this plan, and as its targets show.
func (b *builder) activeSites(f *config.Failover) []config.Address {
	var sites []config.Address
	if role, ok := b.role(f.Address); ok {
		sites = append(sites, config.Address(role.Active))
	}
	if mv, moving := b.moves[f.Address]; moving {
		sites = []config.Address{mv.to}
	} else if s := b.look(f); s.seen && !slices.Contains(sites, s.site) {
		sites = append(sites, s.site)
	}
	return sites
}

func (b *builder) guardMembers(f *config.Failover, t *config.FailoverTarget, sites []config.Address) {
	for _, site := range sites {
		active := t.Member(site)
		if active == nil {
			continue
		}
		g := guard{failover: f.Address, active: site, path: cleaned(active)}
		for _, m := range t.Members {
			if m != active {
				g.standby = append(g.standby, cleaned(m))
			}
		}
		b.guards = append(b.guards, g)
	}
}

// cleaned is the path of a files target's member; empty: it has none.
func cleaned(m *config.Member) string {
	if p := memberPath(m); p != "" {
		return path.Clean(p)
	}
	return ""
}

// mirrorSafe refuses a mirror with fixed endpoints that would copy from a standby over the active side.
func (b *builder) mirrorSafe(m *config.Mirror, r route) bool {
	if r.failover != "" {
		return true
	}
	source, target := localPath(r.source), localPath(r.target)
	for _, g := range b.guardActive() {
		from := func(dir string) bool { return overlap(source, dir) }
		if overlap(target, g.path) && slices.ContainsFunc(g.standby, from) {
			b.errorf(m.Address, "HF-MIR-003", m.At("source"), "The mirror would overwrite the active side",
				"%s copies from %s over %s, but %s is the active side of %s. Write source = %s.active and target = %s.standby, so that the direction follows the role.",
				m.Address, r.source, r.target, g.active, g.failover, g.failover, g.failover)
			return false
		}
	}
	return true
}

// localPath gives the cleaned path of a file URL; empty: it is none.
func localPath(endpoint string) string {
	if u, err := url.Parse(endpoint); err == nil && u.Scheme == "file" {
		return path.Clean(u.Path)
	}
	return ""
}

// overlap reports whether one of two cleaned paths lies in the other.
func overlap(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	return a != "" && strings.HasPrefix(b, a) && (len(a) == len(b) || a == "/" || b[len(a)] == '/')
}

// addMirror adds the action of one pass, to be done within a window, and gives its index.
func (b *builder) addMirror(m *config.Mirror, r route, w opening, reason string, trigger state.Trigger) int {
	args := reconcile.MirrorArgs{
		Mirror: string(m.Address), Source: r.source, Target: r.target, Exclude: m.Exclude, MaxDeletePercent: 20,
		Failover: string(r.failover), Epoch: r.epoch,
	}
	if m.Delete != nil {
		args.MaxDeletePercent = m.Delete.MaxPercent
	}
	if r.failover != "" && len(r.after) == 0 {
		b.needEpoch(r.failover, r.epoch)
	}
	b.needRecorded(m.Address)
	b.use(m.Address)
	return b.add(reconcile.Action{
		Address: string(m.Address), Kind: reconcile.ActionMirror, Class: reconcile.ClassSafe, Reason: reason, Trigger: trigger, After: r.after,
		Summary: b.mirrorSummary(m, r, args.MaxDeletePercent),
		Tasks: []reconcile.Task{{
			Kind: "mirror", Stage: reconcile.StageWork, Device: string(m.Address), Action: r.source + " -> " + r.target,
			Locks: []string{lockName(m.Address)}, Estimate: b.toCopy(m.Address, r),
			Steps: []reconcile.Step{
				w.step,
				reconcile.NewStep("copy", reconcile.OpMirrorCopy, state.Rerun, args),
				reconcile.NewStep("prune", reconcile.OpMirrorPrune, state.Rerun, args),
				reconcile.NewStep("record", reconcile.OpMirrorRecord, state.Rerun, args),
			},
		}},
	})
}

// toCopy is how many bytes a pass copies, as far as it was looked at.
func (b *builder) toCopy(a config.Address, r route) int64 {
	if b.in.Options.Unreviewed {
		return 0 // nobody looks
	}
	seen, ok := b.mirrorSeen(a, r)
	if !ok {
		return 0
	}
	return seen.CopyBytes
}

// mirrorSummary tells what the pass will do, as far as it was looked at.
func (b *builder) mirrorSummary(m *config.Mirror, r route, maxPercent int) string {
	where := fmt.Sprintf("%s -> %s", r.source, r.target)
	if b.in.Options.Unreviewed {
		return where
	}
	seen, ok := b.mirrorSeen(m.Address, r)
	if !ok {
		return where
	}
	if seen.Nested {
		b.errorf(m.Address, "HF-MIR-004", m.At("target"), "One side of the mirror lies in the other",
			"%s: %s. Every pass would copy the copy. Choose two directories that do not contain each other.", m.Address, seen.Error)
		return where
	}
	if seen.Error != "" {
		b.warnf(m.Address, "HF-MIR-001", m.At("source"), "The mirror cannot be compared", "%s: %s.", m.Address, seen.Error)
		return where
	}
	s := fmt.Sprintf("%s: %s to copy (%s)", where, plural(int(seen.CopyFiles), "file", "files"), unit.Bytes(seen.CopyBytes))
	if seen.DeleteFiles > 0 {
		s += fmt.Sprintf(", %d to delete", seen.DeleteFiles)
		if seen.DeleteFiles*100 > int64(maxPercent)*seen.TargetFiles {
			b.warnf(m.Address, "HF-MIR-002", m.At("delete"), "Too many deletes",
				"A pass of %s would delete %d of %d files at the target, more than %d %%. It will copy, but delete nothing and fail. If that is meant, raise delete { max_percent } for one pass.",
				m.Address, seen.DeleteFiles, seen.TargetFiles, maxPercent)
		}
	}
	return s
}
