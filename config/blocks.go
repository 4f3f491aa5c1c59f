package config

import (
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/unit"
)

// Settings is the `settings` block: at most one.
type Settings struct {
	Header
	Environment     string `hcl:"environment,optional" json:"environment" default:"default" doc:"Name of the environment; shown in plans and passed to scripts."`
	RequiredVersion string `hcl:"required_version,optional" json:"required_version,omitempty" kind:"version" doc:"Version constraint on the holdfast binary, such as \">= 0.1\"."`
	Timezone        string `hcl:"timezone,optional" json:"timezone" default:"UTC" kind:"timezone" doc:"IANA zone for schedules, windows and freezes that name none."`
	AutoApply       string `hcl:"auto_apply,optional" json:"auto_apply" default:"safe" enum:"none|safe|not_worse|all" doc:"What the agent may apply without a person."`
	MaxParallel     int    `hcl:"parallel,optional" json:"parallel" default:"4" min:"1" max:"1000" doc:"Most tasks that run at one time in one run, over all backup plans."`
	BackupsEnabled  *bool  `hcl:"backups_enabled,optional" json:"backups_enabled,omitempty" doc:"false stops all backups, due or by hand, until it is gone again: they wait. Schedules, mirrors and retention go on. true when absent."`
}

// StateBackend is the `state` block: where recorded state lives. At most one.
type StateBackend struct {
	Header
	Type string `hcl:"type,label" json:"type" enum:"sqlite" doc:"Kind of backend."`
	Path string `hcl:"path,optional" json:"path" default:"holdfast.db" doc:"Database file; a relative path counts from the working directory."`
}

// Secret is a reference to a value that is read when a step needs it and never
// stored or printed. Exactly one of File, Env and Exec is set.
type Secret struct {
	Header
	File string   `hcl:"file,optional" json:"file,omitempty" doc:"File whose content, less a final newline, is the value."`
	Env  string   `hcl:"env,optional" json:"env,omitempty" doc:"Environment variable of the holdfast process that holds the value."`
	Exec []string `hcl:"exec,optional" json:"exec,omitempty" doc:"Command (no shell) whose standard output, less a final newline, is the value."`
}

// Site is a failure domain: a data centre, a region.
type Site struct {
	Header
	Region string            `hcl:"region,optional" json:"region,omitempty" doc:"Larger failure domain the site belongs to."`
	Labels map[string]string `hcl:"labels,optional" json:"labels,omitempty" doc:"Free labels."`
}

// Device is a system to protect. Its provider's settings stand beside its own.
type Device struct {
	Header
	Type      string            `hcl:"type,label" json:"type" doc:"The provider: how this device is reached and captured."`
	Site      Address           `hcl:"site,optional" json:"site,omitempty" ref:"site" doc:"Where the device is."`
	Labels    map[string]string `hcl:"labels,optional" json:"labels,omitempty" doc:"Free labels; activities can select by them."`
	MinFree   unit.Size         `hcl:"min_free,optional" json:"min_free,omitempty" min:"1B" doc:"Space that must be free on the device itself, where it puts a secure backup together; with less the backup does not begin. Not checked when absent."`
	Bandwidth unit.Size         `hcl:"bandwidth,optional" json:"bandwidth,omitempty" min:"1KiB" doc:"Most bytes a second that one capture puts into its store, as they are captured: compressed where the device compresses. Not limited when absent."`
	Nice      int               `hcl:"nice,optional" json:"nice,omitempty" min:"0" max:"19" doc:"How much captures give way to other programs for the processor, as of nice(1); 0 not at all. What the device does elsewhere, such as a database server, is not affected."`
	IONice    string            `hcl:"ionice,optional" json:"ionice,omitempty" enum:"idle|best-effort" doc:"How captures give way for the disk, as of ionice(1): idle, only when nobody else uses it, or best-effort, after all others. Some schedulers of disks do not heed it."`
	Exclude   *Exclusion        `hcl:"exclude,block" json:"exclude,omitempty" doc:"Leaves the device out of all backups until a date; shown as skipped, never silent."`
	Settings  any               `json:"-"` // a pointer to the provider's settings struct
}

func (d *Device) providerSettings() any { return d.Settings }

// Exclusion is a dated reason not to back a device up.
type Exclusion struct {
	Until  string `hcl:"until" json:"until" kind:"time" doc:"When the exclusion ends (RFC 3339)."`
	Reason string `hcl:"reason" json:"reason" doc:"Why; shown with every skipped task."`
}

// Store is where artifacts go.
type Store struct {
	Header
	Type     string        `hcl:"type,label" json:"type" doc:"The provider: the layout and medium."`
	Site     Address       `hcl:"site,optional" json:"site,omitempty" ref:"site" doc:"Where the store is."`
	Timeout  unit.Duration `hcl:"timeout,optional" json:"timeout,omitempty" min:"1s" doc:"How long one call on the store may go unanswered before it counts as gone, 5m when absent. Media that must be fetched first need more."`
	Verify   *Verification `hcl:"verify,block" json:"verify,omitempty" doc:"How often every artifact is read back, byte for byte. Without it only captures are verified, and what holdfast verify is told to read."`
	Settings any           `json:"-"`
}

// Verification is the promise that every artifact of a store is read back within a period.
type Verification struct {
	Within unit.Duration `hcl:"within" json:"within" min:"1d" doc:"The longest time in which no artifact stays unread. Each is due when two thirds of it have passed; its capture counts as read."`
	Window Address       `hcl:"maintenance_window,optional" json:"maintenance_window,omitempty" ref:"maintenance_window" doc:"When artifacts may be read; any time when absent. Freezes of backups hold this back, too."`
}

func (s *Store) providerSettings() any { return s.Settings }

// MaintenanceWindow says when work may start. With End not after Start it
// crosses midnight and belongs to the day it starts on.
type MaintenanceWindow struct {
	Header
	Days     []string `hcl:"days,optional" json:"days,omitempty" enum:"mon|tue|wed|thu|fri|sat|sun" doc:"Days the window starts on; all days when absent."`
	Start    string   `hcl:"start" json:"start" kind:"clock" doc:"First minute, HH:MM in the window's zone."`
	End      string   `hcl:"end" json:"end" kind:"clock" doc:"First minute after the window, HH:MM (24:00 is midnight)."`
	Timezone string   `hcl:"timezone,optional" json:"timezone,omitempty" kind:"timezone" doc:"IANA zone; that of settings when absent."`
	AtClose  string   `hcl:"at_close,optional" json:"at_close" default:"finish" enum:"finish|stop" doc:"finish: running tasks may end; stop: they are cancelled."`
}

// Freeze is a stretch of days on which no work of the named kinds starts.
type Freeze struct {
	Header
	From      string   `hcl:"from" json:"from" kind:"date" doc:"First day, YYYY-MM-DD."`
	To        string   `hcl:"to" json:"to" kind:"date" doc:"Last day, YYYY-MM-DD, included."`
	Timezone  string   `hcl:"timezone,optional" json:"timezone,omitempty" kind:"timezone" doc:"IANA zone; that of settings when absent."`
	AppliesTo []string `hcl:"applies_to,optional" json:"applies_to,omitempty" enum:"backup|mirror|role" doc:"Kinds of work held back; all when absent."`
	Reason    string   `hcl:"reason,optional" json:"reason,omitempty" doc:"Why; shown with deferred work."`
}

// BackupPlan is the declared thing that IBM DPOD calls a backup plan: when,
// where to, how long kept, and what is done to which devices.
type BackupPlan struct {
	Header
	Enabled     *bool       `hcl:"enabled,optional" json:"enabled,omitempty" doc:"false switches the schedule off; shown in every plan."`
	Description string      `hcl:"description,optional" json:"description,omitempty" doc:"For people."`
	Schedule    string      `hcl:"schedule,optional" json:"schedule,omitempty" kind:"cron" doc:"Five-field cron in the plan's zone; exactly once per nominal time. Without it the backup plan runs only by hand."`
	Timezone    string      `hcl:"timezone,optional" json:"timezone,omitempty" kind:"timezone" doc:"IANA zone of the schedule; that of settings when absent."`
	Window      Address     `hcl:"maintenance_window,optional" json:"maintenance_window,omitempty" ref:"maintenance_window" doc:"When tasks may start; any time when absent."`
	Store       Address     `hcl:"store" json:"store" ref:"store" doc:"Where artifacts go."`
	Retention   Address     `hcl:"retention,optional" json:"retention,omitempty" ref:"retention" doc:"How long artifacts are kept; for ever when absent."`
	OnError     string      `hcl:"on_error,optional" json:"on_error" default:"continue" enum:"continue|halt" doc:"halt: when a task fails, waiting tasks are cancelled and running ones finish."`
	Missed      string      `hcl:"missed,optional" json:"missed" default:"run_once" enum:"run_once|skip" doc:"What happens to nominal times that passed while nothing could run."`
	Parallel    int         `hcl:"parallel,optional" json:"parallel" default:"4" min:"1" max:"1000" doc:"Most tasks at one time; never two on one device."`
	PreScript   *Script     `hcl:"pre_script,block" json:"pre_script,omitempty" doc:"Runs once before the first task; a failure stops the backup plan."`
	PostScript  *Script     `hcl:"post_script,block" json:"post_script,omitempty" doc:"Runs once after the last task."`
	Activities  []*Activity `hcl:"activity,blocks" json:"activity" doc:"What is done, in order. At least one."`

	// BackupsEnabled is that of the settings when it is false. It is part of the specification, so that the record says whether
	// backups are stopped, and a plan made before they were is stale.
	BackupsEnabled *bool `json:"backups_enabled,omitempty"`
}

// Off reports whether the backup plan runs only by hand.
func (bp *BackupPlan) Off() bool { return bp.Enabled != nil && !*bp.Enabled }

// Stopped reports whether all backups are switched off in the settings.
func (bp *BackupPlan) Stopped() bool { return bp.BackupsEnabled != nil && !*bp.BackupsEnabled }

// Activity is one action on the devices and domains that match its patterns.
type Activity struct {
	Name       string            `hcl:"name,label" json:"name" doc:"Name, unique in its backup plan."`
	Action     string            `hcl:"action" json:"action" enum:"secure_backup|export_domain" doc:"secure_backup: everything needed to rebuild the device; export_domain: one portable part of it."`
	Devices    []string          `hcl:"devices,optional" json:"devices,omitempty" kind:"pattern" doc:"Device names or patterns; * matches any characters anywhere."`
	Labels     map[string]string `hcl:"labels,optional" json:"labels,omitempty" doc:"Selects the devices that have all of these labels."`
	Exclude    []string          `hcl:"exclude,optional" json:"exclude,omitempty" kind:"pattern" doc:"Device names or patterns left out."`
	Domains    []string          `hcl:"domains,optional" json:"domains,omitempty" kind:"pattern" doc:"Domain names or patterns; every domain when absent. Only with export_domain."`
	OnError    string            `hcl:"on_error,optional" json:"on_error,omitempty" enum:"continue|halt" doc:"That of the backup plan when absent."`
	Quiesce    *Quiesce          `hcl:"quiesce,block" json:"quiesce,omitempty" doc:"Lets the device or domain finish its work and take no more while it is captured. Who is quiesced already is skipped."`
	PreScript  *Script           `hcl:"pre_script,block" json:"pre_script,omitempty" doc:"Runs before each task; a failure stops the task."`
	PostScript *Script           `hcl:"post_script,block" json:"post_script,omitempty" doc:"Runs after each task."`
}

// Quiesce says how long a device may take to stop taking work, and how long it may be kept from it.
type Quiesce struct {
	Timeout unit.Duration `hcl:"timeout,optional" json:"timeout" default:"60s" min:"60s" doc:"How long it may take to finish its work. Three minutes later the task fails and takes the request back."`
	MaxHold unit.Duration `hcl:"max_hold,optional" json:"max_hold" default:"30m" min:"2m" doc:"Longest time from the request until it is let go again, even in the middle of a capture, which then fails."`
}

// Script is a command around work: an argument list, never a shell line.
type Script struct {
	Command     []string      `hcl:"command" json:"command" doc:"Program and arguments; no shell. In arguments {backup_plan}, {run} and {task} are replaced, in an activity also {activity}, {device}, {domain} and {action}, in a post script also {status}; {{device}} is the text itself. The same stands in HOLDFAST_BACKUP_PLAN, HOLDFAST_RUN and so on, with HOLDFAST_REASON, _ERROR, _TASKS, _TASKS_SUCCEEDED, _TASKS_FAILED, _TASKS_SKIPPED, _FILES, _BYTES, _SOURCE_FILES and _SOURCE_BYTES: what went wrong, and how much is protected."`
	Timeout     unit.Duration `hcl:"timeout,optional" json:"timeout" default:"5m" min:"1s" doc:"After this the script and its children are killed and it counts as failed."`
	On          []string      `hcl:"on,optional" json:"on,omitempty" enum:"success|failure" doc:"Post scripts: the outcomes after which it runs; both when absent."`
	Restartable bool          `hcl:"restartable,optional" json:"restartable,omitempty" doc:"true: may run again after a crash in the middle of it. Otherwise a person decides."`
}

// Retention is how long artifacts are kept: the union of its rules, above its floors.
type Retention struct {
	Header
	KeepLast    int           `hcl:"keep_last,optional" json:"keep_last,omitempty" min:"0" max:"100000" doc:"The newest n."`
	KeepHourly  int           `hcl:"keep_hourly,optional" json:"keep_hourly,omitempty" min:"0" max:"100000" doc:"The newest of each of the last n hours that have one."`
	KeepDaily   int           `hcl:"keep_daily,optional" json:"keep_daily,omitempty" min:"0" max:"100000" doc:"The newest of each of the last n days that have one."`
	KeepWeekly  int           `hcl:"keep_weekly,optional" json:"keep_weekly,omitempty" min:"0" max:"100000" doc:"The newest of each of the last n weeks that have one."`
	KeepMonthly int           `hcl:"keep_monthly,optional" json:"keep_monthly,omitempty" min:"0" max:"100000" doc:"The newest of each of the last n months that have one."`
	KeepYearly  int           `hcl:"keep_yearly,optional" json:"keep_yearly,omitempty" min:"0" max:"100000" doc:"The newest of each of the last n years that have one."`
	KeepWithin  unit.Duration `hcl:"keep_within,optional" json:"keep_within,omitempty" doc:"Everything this much older than the newest, at most."`
	MinCopies   int           `hcl:"min_copies,optional" json:"min_copies" default:"1" min:"1" max:"100000" doc:"Never fewer good artifacts than this."`
	MaxDelete   int           `hcl:"max_delete_percent,optional" json:"max_delete_percent,omitempty" min:"0" max:"100" doc:"A plan that deletes more than this percentage of the good artifacts, and more than 5, needs --allow-delete. 50 when absent or 0."`
}

// Mirror keeps a target directory tree a copy of a source tree.
type Mirror struct {
	Header
	Source  string        `hcl:"source" json:"source" kind:"endpoint" doc:"endpoint(\"file:///path\"), or failover.NAME.active to follow the role."`
	Target  string        `hcl:"target" json:"target" kind:"endpoint" doc:"endpoint(\"file:///path\"), or failover.NAME.standby to follow the role."`
	Every   unit.Duration `hcl:"every" json:"every" min:"1s" doc:"How often a pass is due, counted from the start of the last complete one."`
	MaxLag  unit.Duration `hcl:"max_lag,optional" json:"max_lag,omitempty" doc:"Age of the copy above which the mirror is unhealthy."`
	Window  Address       `hcl:"maintenance_window,optional" json:"maintenance_window,omitempty" ref:"maintenance_window" doc:"When a pass may start; any time when absent."`
	Exclude []string      `hcl:"exclude,optional" json:"exclude,omitempty" kind:"paths" doc:"Paths not copied and not deleted, as in .gitignore: *.tmp and cache/ at every level, /cache at the top only, a/**/b, {a,b}, [ab]; ! takes back."`
	Delete  *MirrorDelete `hcl:"delete,block" json:"delete,omitempty" doc:"How files that vanished from the source are removed from the target."`
}

// MirrorDelete bounds what a pass may remove.
type MirrorDelete struct {
	MaxPercent int `hcl:"max_percent,optional" json:"max_percent" default:"20" min:"0" max:"100" doc:"A pass that would delete more than this percentage of the target's files deletes none and fails. 0 never deletes."`
}

// FailoverTarget is one typed thing whose active side can move.
type FailoverTarget struct {
	Header
	Type     string    `hcl:"type,label" json:"type" doc:"The provider: what is moved and how."`
	Members  []*Member `hcl:"member,blocks" json:"member" doc:"One per site. At least two."`
	Settings any       `json:"-"`
}

func (t *FailoverTarget) providerSettings() any { return t.Settings }

// Member finds the member at a site, or nil.
func (t *FailoverTarget) Member(site Address) *Member {
	for _, m := range t.Members {
		if m.Site == site {
			return m
		}
	}
	return nil
}

// Member is one place a failover target can run.
type Member struct {
	Name     string  `hcl:"name,label" json:"name" doc:"Name, unique in its target."`
	Site     Address `hcl:"site" json:"site" ref:"site" doc:"The site it is at; one member per site."`
	Settings any     `json:"settings,omitempty"` // the provider's member settings; shown as "settings" in the specification
}

// Failover is the group of targets that moves together. Which site is active is
// recorded state with an epoch, never declared.
type Failover struct {
	Header
	Preferred Address         `hcl:"preferred" json:"preferred" ref:"site" doc:"The site that should be active; changing it plans a switchover."`
	Standby   []Address       `hcl:"standby" json:"standby" ref:"site" doc:"The other sites it can run at."`
	Mode      string          `hcl:"mode,optional" json:"mode" default:"manual" enum:"manual|assisted|automatic" doc:"Who decides that a failover starts. This version executes planned switchovers only."`
	Failback  string          `hcl:"failback,optional" json:"failback" default:"manual" enum:"manual|window" doc:"How it returns to the preferred site."`
	Window    Address         `hcl:"maintenance_window,optional" json:"maintenance_window,omitempty" ref:"maintenance_window" doc:"When a planned switchover may start; any time when absent."`
	Steps     []*FailoverStep `hcl:"step,blocks" json:"step" doc:"The order of the switchover. A step named freeze stops writers; every other one switches its targets."`
}

// Sites lists every site the group can run at, preferred first.
func (f *Failover) Sites() []Address { return append([]Address{f.Preferred}, f.Standby...) }

// Targets lists the group's targets in switch order, each once.
func (f *Failover) Targets() []Address {
	var all []Address
	seen := map[Address]bool{}
	for _, s := range f.Steps {
		for _, t := range s.Targets {
			if s.Name != StepFreeze && !seen[t] {
				seen[t] = true
				all = append(all, t)
			}
		}
	}
	return all
}

// StepFreeze is the name of the failover step that stops writers.
const StepFreeze = "freeze"

// FailoverStep is one position in the order of a switchover.
type FailoverStep struct {
	Name    string    `hcl:"name,label" json:"name" doc:"freeze, or a name of your own."`
	Targets []Address `hcl:"targets" json:"targets" ref:"failover_target" doc:"The targets it acts on, in order."`
}

// Moved keeps an object's history when its address changes.
type Moved struct {
	From  Address    `hcl:"from" json:"from" kind:"address" doc:"The address it had."`
	To    Address    `hcl:"to" json:"to" kind:"address" doc:"The address it has now."`
	Range diag.Range `json:"-"`
}

// Removed says that an object's absence is meant, and what becomes of its data.
type Removed struct {
	From  Address    `hcl:"from" json:"from" kind:"address" doc:"The address of the removed block."`
	Data  string     `hcl:"data,optional" json:"data" default:"keep" enum:"keep|delete" doc:"What becomes of its artifacts."`
	Range diag.Range `json:"-"`
}
