package config

import (
	"fmt"
	"net/url"
	"path"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/schedule"
)

// rule is one thing a configuration must obey; its code never changes its
// meaning. Codes below HF-CFG-100 belong to config/load.
type rule struct{ code, summary string }

var (
	noActivity       = rule{"HF-CFG-101", "Backup plan without an activity"}
	noSelection      = rule{"HF-CFG-102", "Activity without devices"}
	domainsMisplaced = rule{"HF-CFG-103", "Domains without export_domain"}
	unknownDevice    = rule{"HF-CFG-104", "Device not declared"}
	nothingSelected  = rule{"HF-CFG-105", "Nothing is selected"}
	emptyWindow      = rule{"HF-CFG-106", "Window without a length"}
	freezeBackwards  = rule{"HF-CFG-107", "Freeze ends before it begins"}
	outsideWindow    = rule{"HF-CFG-108", "Schedule outside the maintenance window"}
	badMirror        = rule{"HF-CFG-109", "Mirror onto itself"}
	badRoles         = rule{"HF-CFG-110", "Mirror does not follow one failover"}
	badSites         = rule{"HF-CFG-111", "Sites of a failover"}
	badSteps         = rule{"HF-CFG-112", "Steps of a failover"}
	noMember         = rule{"HF-CFG-113", "Failover target not at every site"}
	targetTwice      = rule{"HF-CFG-114", "Failover target used twice"}
	badMembers       = rule{"HF-CFG-115", "Members of a failover target"}
	noKeepRule       = rule{"HF-CFG-116", "Retention without a rule"}
	badMove          = rule{"HF-CFG-117", "Move that cannot be"}
	badRemoval       = rule{"HF-CFG-118", "Removal that cannot be"}
	badSecret        = rule{"HF-CFG-119", "Secret without one place"}
	modeLimited      = rule{"HF-CFG-120", "Failover mode is not active yet"}
	badCommand       = rule{"HF-CFG-121", "Command that cannot run"}
	misplacedOn      = rule{"HF-CFG-122", "Outcomes on a pre script"}
	shortHold        = rule{"HF-CFG-123", "Quiesced for too short a time"}
	rareWindow       = rule{"HF-CFG-128", "Window opens too seldom for the verification"}
	badPlaceholder   = rule{"HF-CFG-130", "Placeholder without a value"}
	shellPlaceholder = rule{"HF-CFG-131", "Placeholder in a shell line"}
)

// checker is one run of Check.
type checker struct {
	doc     *Document
	list    diag.List
	devices []string // names, sorted
	zones   map[string]*time.Location
	never   map[[4]string]bool // answers of neverInside
	seen    map[string]string  // answers about device patterns: pattern -> problem
	groups  map[Address]*Failover
}

// Check applies the rules that need more than one argument to judge. Blocks
// marked Incomplete are not judged.
func Check(doc *Document) diag.List {
	c := &checker{doc: doc, zones: map[string]*time.Location{}, never: map[[4]string]bool{}, seen: map[string]string{}, groups: map[Address]*Failover{}}
	for _, d := range doc.Devices {
		c.devices = append(c.devices, d.Address.Name())
	}
	slices.Sort(c.devices)
	each(doc.Secrets, c.secret)
	each(doc.Stores, c.verification)
	each(doc.Windows, c.window)
	each(doc.Freezes, c.freeze)
	each(doc.BackupPlans, c.backupPlan)
	each(doc.Retentions, c.retention)
	each(doc.Mirrors, c.mirror)
	each(doc.FailoverTargets, c.failoverTarget)
	each(doc.Failovers, c.failover)
	c.history()
	return c.list
}

func each[T Object](objects []T, check func(T)) {
	for _, o := range objects {
		if !o.Head().Incomplete {
			check(o)
		}
	}
}

func (c *checker) errorf(r rule, h *Header, path, detail string, args ...any) {
	c.add(diag.Error, r, h.Address, h.At(path), detail, args...)
}

func (c *checker) warnf(r rule, h *Header, path, detail string, args ...any) {
	c.add(diag.Warning, r, h.Address, h.At(path), detail, args...)
}

func (c *checker) add(sev diag.Severity, r rule, a Address, rng diag.Range, detail string, args ...any) {
	c.list = append(c.list, diag.Diagnostic{Severity: sev, Code: r.code, Summary: r.summary, Detail: fmt.Sprintf(detail, args...), Address: string(a), Range: rng})
}

func (c *checker) secret(s *Secret) {
	n := 0
	for _, set := range []bool{s.File != "", s.Env != "", len(s.Exec) > 0} {
		if set {
			n++
		}
	}
	switch {
	case n == 0:
		c.errorf(badSecret, &s.Header, "", "%s does not say where its value is. Write file = \"/path\", env = \"NAME\" or exec = [\"program\", \"argument\"].", s.Address)
	case n > 1:
		c.errorf(badSecret, &s.Header, "", "%s names more than one place for its value. Keep one of file, env and exec.", s.Address)
	case len(s.Exec) > 0:
		c.command(&s.Header, "exec", s.Exec)
	}
}

func (c *checker) window(w *MaintenanceWindow) {
	switch {
	case w.Start == w.End:
		c.errorf(emptyWindow, &w.Header, "end", "%s starts and ends at %s: that could mean no time or a whole day. For whole days write start = \"00:00\" and end = \"24:00\".", w.Address, w.Start)
	case w.Start == "24:00":
		c.errorf(emptyWindow, &w.Header, "start", "%s starts at 24:00, which is the end of a day. Write start = \"00:00\" and choose the days it starts on.", w.Address)
	}
}

func (c *checker) freeze(f *Freeze) {
	from, err1 := schedule.ParseDate(f.From)
	to, err2 := schedule.ParseDate(f.To)
	if err1 == nil && err2 == nil && to.Compare(from) < 0 {
		c.errorf(freezeBackwards, &f.Header, "to", "%s ends on %s, before it begins on %s. Exchange the two dates.", f.Address, f.To, f.From)
	}
}

func (c *checker) retention(r *Retention) {
	if r.KeepLast+r.KeepHourly+r.KeepDaily+r.KeepWeekly+r.KeepMonthly+r.KeepYearly == 0 && r.KeepWithin == 0 {
		c.errorf(noKeepRule, &r.Header, "", "%s keeps nothing beyond min_copies. Give at least one rule, such as keep_daily = 14. To keep everything for ever, leave the argument retention out of the backup plan instead.", r.Address)
	}
}

func (c *checker) backupPlan(bp *BackupPlan) {
	if len(bp.Activities) == 0 {
		c.errorf(noActivity, &bp.Header, "", "%s does nothing, because it has no activity. Write for example activity \"secure\" { ... } with action and devices.", bp.Address)
	}
	c.schedule(bp)
	c.scripts(&bp.Header, "", false, bp.PreScript, bp.PostScript)
	for i, a := range bp.Activities {
		c.activity(bp, a, fmt.Sprintf("activity[%d]", i))
	}
}

func (c *checker) activity(bp *BackupPlan, a *Activity, path string) {
	h := &bp.Header
	c.scripts(h, path+".", true, a.PreScript, a.PostScript)
	if q := a.Quiesce; q != nil && q.MaxHold <= q.Timeout {
		c.errorf(shortHold, h, path+".quiesce.max_hold", "max_hold counts from the request, so with %s a device that takes its timeout of %s could never be captured. Write more, such as \"30m\".", q.MaxHold, q.Timeout)
	}
	if len(a.Domains) > 0 && a.Action != "export_domain" {
		c.errorf(domainsMisplaced, h, path+".domains", "The activity %q takes whole devices, so it cannot choose domains. Remove domains, or write action = \"export_domain\".", a.Name)
	}
	if len(a.Devices) == 0 && len(a.Labels) == 0 {
		c.errorf(noSelection, h, path, "The activity %q selects no devices. Write devices = [\"NAME\"] with names or patterns, or labels = { ... }.", a.Name)
		return
	}
	before := len(c.list)
	for i, p := range a.Devices {
		c.devicePattern(h, fmt.Sprintf("%s.devices[%d]", path, i), p, true)
	}
	for i, p := range a.Exclude {
		c.devicePattern(h, fmt.Sprintf("%s.exclude[%d]", path, i), p, false)
	}
	if len(a.Labels) > 0 && len(c.list) == before && !c.labelled(a.Labels) {
		c.warnf(nothingSelected, h, path+".labels", "No device has all of these labels now, so the activity %q does nothing until one does.", a.Name)
	}
}

// labelled reports whether any device has all labels.
func (c *checker) labelled(want map[string]string) bool {
	return slices.ContainsFunc(c.doc.Devices, func(d *Device) bool {
		if d.Incomplete {
			return true
		}
		for k, v := range want {
			if has, ok := d.Labels[k]; !ok || has != v {
				return false
			}
		}
		return true
	})
}

// devicePattern checks that a name exists and that a pattern matches something.
func (c *checker) devicePattern(h *Header, path, pattern string, selects bool) {
	problem, known := c.seen[pattern]
	if !known {
		problem = c.patternProblem(pattern)
		c.seen[pattern] = problem
	}
	switch {
	case problem == "":
	case !strings.Contains(pattern, "*"):
		c.errorf(unknownDevice, h, path, "%s", problem)
	case selects:
		c.warnf(nothingSelected, h, path, "%s", problem)
	}
}

func (c *checker) patternProblem(pattern string) string {
	head, _, wild := strings.Cut(pattern, "*")
	i := sort.SearchStrings(c.devices, head)
	for ; i < len(c.devices) && strings.HasPrefix(c.devices[i], head); i++ {
		if MatchPattern(pattern, c.devices[i]) {
			return ""
		}
	}
	if name, negated := strings.CutPrefix(pattern, "!"); negated {
		return fmt.Sprintf("Devices are left out with exclude = [%q].", name)
	}
	if block, _, _ := strings.Cut(pattern, `["`); strings.ContainsAny(block, "?[]{}") {
		return fmt.Sprintf("No device matches %q: of the special characters only * is one here. Write several patterns, such as [\"web1\", \"db*\"].", pattern)
	}
	if wild {
		return fmt.Sprintf("No device matches %q now, so it selects nothing until one does.", pattern)
	}
	if name, ok := strings.CutPrefix(pattern, KindDevice+"."); ok && slices.Contains(c.devices, name) {
		return fmt.Sprintf("Devices are selected by name here, because patterns are allowed. Write %q.", name)
	}
	if near := diag.Nearest(pattern, c.devices); near != "" {
		return fmt.Sprintf("There is no device named %q. Did you mean %q?", pattern, near)
	}
	if slices.ContainsFunc(c.devices, func(d string) bool { return strings.HasPrefix(d, pattern+"[") }) {
		return fmt.Sprintf("The device %q has for_each, so it is several. Write %q for all of them.", pattern, pattern+"*")
	}
	return fmt.Sprintf("There is no device named %q. Declare it with device \"TYPE\" %q { ... }.", pattern, pattern)
}

// scripts checks the pre and post script of a backup plan or an activity.
func (c *checker) scripts(h *Header, prefix string, activity bool, pre, post *Script) {
	if pre != nil {
		c.command(h, prefix+"pre_script.command", pre.Command)
		c.placeholders(h, prefix+"pre_script.command", pre.Command, ScriptPlace{Activity: activity})
		if len(pre.On) > 0 {
			c.errorf(misplacedOn, h, prefix+"pre_script.on", "A pre script runs before there is an outcome, so it cannot have on. Remove it.")
		}
	}
	if post != nil {
		c.command(h, prefix+"post_script.command", post.Command)
		c.placeholders(h, prefix+"post_script.command", post.Command, ScriptPlace{Activity: activity, Post: true})
	}
}

// placeholders checks that every word in braces has a value in this script, and that no value becomes part of a shell line.
func (c *checker) placeholders(h *Header, path string, argv []string, place ScriptPlace) {
	known := place.Placeholders()
	line := shellLine(argv)
	for i, arg := range argv {
		at := fmt.Sprintf("%s[%d]", path, i)
		words := placeholders(arg)
		bad := slices.IndexFunc(words, func(w string) bool { return !slices.Contains(known, w) })
		switch {
		case len(words) > 0 && i == 0:
			c.errorf(badPlaceholder, h, at, "The program itself cannot be a placeholder. Write its path, and {%s} as an argument.", words[0])
		case bad >= 0:
			w := words[bad]
			c.errorf(badPlaceholder, h, at, "{%s} %s For the text itself write {{%s}}.", w, noValue(w, known), w)
		case len(words) > 0 && i == line:
			c.errorf(shellPlaceholder, h, at, "A shell takes this argument apart, and with it whatever {%s} is replaced by. Write $1 here, and \"sh\", \"{%s}\" as two arguments after it.", words[0], words[0])
		}
	}
}

// noValue says why a word in braces is no placeholder here, and what could be meant.
func noValue(word string, known []string) string {
	switch {
	case word == PlaceStatus:
		return "has a value only in a post script: before the work there is no outcome."
	case slices.Contains(ScriptPlace{Activity: true}.Placeholders(), word):
		return "is about one task, and this script is about the whole backup plan. Move the script into an activity, or remove the placeholder."
	}
	if near := diag.Nearest(word, known); near != "" {
		return fmt.Sprintf("is no placeholder. Did you mean {%s}?", near)
	}
	return fmt.Sprintf("is no placeholder. There are {%s}.", strings.Join(known, "}, {"))
}

// command checks an argument list: no shell finds the program.
func (c *checker) command(h *Header, path string, argv []string) {
	switch {
	case len(argv) == 0 || strings.TrimSpace(argv[0]) == "":
		c.errorf(badCommand, h, path, "The command is empty. Write the program and its arguments, such as [\"/opt/hooks/announce\", \"start\"].")
	case strings.Contains(argv[0], "/") && !strings.HasPrefix(argv[0], "/"):
		c.errorf(badCommand, h, path, "%q is a relative path, which would depend on where holdfast was started. Write the absolute path, or a plain name that is found in PATH.", argv[0])
	case len(argv) == 1 && strings.ContainsAny(argv[0], " \t"):
		c.errorf(badCommand, h, path, "%q is a whole command line, but there is no shell to take it apart. Write the program and each argument as a text of its own: %s.", argv[0], argumentList(argv[0]))
	}
}

func argumentList(line string) string {
	var quoted []string
	for _, w := range strings.Fields(line) {
		quoted = append(quoted, fmt.Sprintf("%q", w))
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

func (c *checker) mirror(m *Mirror) {
	from, fromRole, fromFollows := RoleEndpoint(m.Source)
	to, toRole, toFollows := RoleEndpoint(m.Target)
	switch {
	case m.Source == m.Target:
		c.errorf(badMirror, &m.Header, "target", "The source and the target of %s are the same place.", m.Address)
	case fromFollows != toFollows:
		c.errorf(badRoles, &m.Header, "target", "One side of %s follows a failover and the other does not, so after a switchover it could copy in the wrong direction. Write source = failover.NAME.active and target = failover.NAME.standby.", m.Address)
	case fromFollows && from != to:
		c.errorf(badRoles, &m.Header, "target", "The sides of %s follow different failovers, %s and %s. Both must follow the same one.", m.Address, from, to)
	case fromFollows && (fromRole != RoleActive || toRole != RoleStandby):
		c.errorf(badRoles, &m.Header, "source", "%s copies from the standby side onto the active one, which would overwrite live data. Write source = %s.active and target = %s.standby.", m.Address, from, from)
	case !fromFollows && nested(m.Source, m.Target):
		c.errorf(badMirror, &m.Header, "target", "One side of %s lies inside the other, so every pass would copy the copy.", m.Address)
	}
}

// nested reports whether one URL lies below the other.
func nested(a, b string) bool {
	a, b = place(a), place(b)
	below := func(dir, p string) bool { return strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/") }
	return a == b || below(a, b) || below(b, a)
}

// place gives one form to the URLs of one place.
func place(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return endpoint
	}
	return u.Scheme + "://" + u.Host + path.Clean("/"+u.Path)
}
