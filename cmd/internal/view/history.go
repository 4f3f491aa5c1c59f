package view

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/state"
)

// Runs prints runs with the columns of IBM DPOD's plan details page.
func Runs(w io.Writer, runs []state.Run, s Style) error {
	if len(runs) == 0 {
		_, err := fmt.Fprintln(w, "No runs are recorded yet.")
		return err
	}
	var rows [][]string
	for _, r := range runs {
		rows = append(rows, []string{
			r.ID, s.time(started(r)), r.Address, r.Kind, string(r.Status), strconv.Itoa(r.Devices), strconv.Itoa(r.Domains),
			strconv.Itoa(r.Succeeded), strconv.Itoa(r.Failed), strconv.Itoa(r.Skipped), length(r.StartedAt, r.EndedAt), r.Error, Protected(r.SourceFiles, r.SourceBytes),
		})
	}
	return s.table(w, []string{"ID", "START TIME", "OBJECT", "KIND", "STATUS", "DEVICES", "DOMAINS", "OK", "FAILED", "SKIPPED", "TOOK", "ERROR MESSAGE", "PROTECTED"}, rows)
}

func started(r state.Run) time.Time {
	if r.StartedAt.IsZero() {
		return r.CreatedAt
	}
	return r.StartedAt
}

// RunDetail is a run with everything below it: activities, tasks, files.
type RunDetail struct {
	Run        state.Run        `json:"run"`
	Activities []ActivityDetail `json:"activities"`
	Tasks      []TaskDetail     `json:"tasks"`
}

// ActivityDetail sums up the tasks of one activity.
type ActivityDetail struct {
	ID            string       `json:"id"` // run "/" activity
	Activity      string       `json:"activity"`
	StatusTime    time.Time    `json:"status_time"`
	DevicePattern string       `json:"device_pattern"`
	DomainPattern string       `json:"domain_pattern"`
	Action        string       `json:"action"`
	Status        state.Status `json:"status"`
	Succeeded     int          `json:"succeeded"`
	Failed        int          `json:"failed"`
	Skipped       int          `json:"skipped"`
}

// TaskDetail is a task with its steps and the files it made.
type TaskDetail struct {
	state.TaskRun
	Steps     []state.StepRun  `json:"steps,omitempty"`
	Artifacts []state.Artifact `json:"artifacts,omitempty"`
}

// Patterns are what an activity was declared with.
type Patterns struct{ Device, Domain string }

// Activities sums tasks up by activity, in order of their first task. Patterns are those of the configuration the run was planned from, by activity.
func Activities(run string, tasks []TaskDetail, patterns map[string]Patterns) []ActivityDetail {
	var all []ActivityDetail
	index := map[string]int{}
	outcomes := map[string][]state.Outcome{}
	for _, t := range tasks {
		if t.Kind != "backup" {
			continue
		}
		i, ok := index[t.Activity]
		if !ok {
			i = len(all)
			index[t.Activity] = i
			p := patterns[t.Activity]
			all = append(all, ActivityDetail{
				ID: run + "/" + t.Activity, Activity: t.Activity, Action: strings.ToUpper(t.Action), DevicePattern: p.Device, DomainPattern: p.Domain,
			})
		}
		a := &all[i]
		if t.StatusAt.After(a.StatusTime) {
			a.StatusTime = t.StatusAt
		}
		outcomes[t.Activity] = append(outcomes[t.Activity], t.Outcome())
		a.Status = state.Summarise(outcomes[t.Activity])
		switch t.Status {
		case state.Succeeded, state.Warned:
			a.Succeeded++
		case state.Failed, state.Attention:
			a.Failed++
		case state.Skipped, state.Cancelled:
			a.Skipped++
		}
	}
	return all
}

// Run prints one run down to its files.
func Run(w io.Writer, d RunDetail, s Style) error {
	r := d.Run
	fmt.Fprintf(w, "%s %s   %s   %s\n", s.bold("Run "+r.ID), Line(r.Address), s.verdict(string(r.Status)), Line(r.Reason))
	fmt.Fprintf(w, "started %s, took %s, by %s", s.time(started(r)), length(r.StartedAt, r.EndedAt), Line(r.Actor))
	if r.Commit != "" {
		fmt.Fprintf(w, ", commit %s", r.Commit[:min(7, len(r.Commit))])
	}
	if text := Protected(r.SourceFiles, r.SourceBytes); text != "" {
		fmt.Fprintf(w, "; protected %s", text)
	}
	fmt.Fprintln(w)
	if r.Error != "" {
		fmt.Fprintf(w, "%s %s\n", s.red("error:"), Clean(r.Error))
	}
	if len(d.Activities) > 0 {
		var rows [][]string
		for _, a := range d.Activities {
			rows = append(rows, []string{
				a.ID, s.time(a.StatusTime), a.DevicePattern, a.DomainPattern, a.Action, string(a.Status),
				strconv.Itoa(a.Succeeded), strconv.Itoa(a.Failed), strconv.Itoa(a.Skipped),
			})
		}
		fmt.Fprintf(w, "\n%s\n", s.bold("Activities"))
		if err := s.table(w, []string{"ID", "STATUS TIME", "DEVICE PATTERN", "DOMAIN PATTERN", "ACTION", "STATUS", "OK", "FAILED", "SKIPPED"}, rows); err != nil {
			return err
		}
	}
	fmt.Fprintf(w, "\n%s\n", s.bold("Tasks"))
	var rows [][]string
	for _, t := range d.Tasks {
		device := t.Device
		if t.Kind == state.KindScript {
			device = "script " + t.Activity
		}
		message := t.Error
		if t.Reason != "" {
			message = strings.TrimSuffix(t.Reason+": "+t.Error, ": ")
		}
		rows = append(rows, []string{t.ID, s.time(t.StatusAt), device, t.Domain, strconv.Itoa(t.Files), strconv.Itoa(t.Errors), string(t.Status), message})
	}
	if err := s.table(w, []string{"ID", "STATUS TIME", "DEVICE NAME", "DOMAIN NAME", "FILES D/L", "D/L ERRORS", "STATUS", "ERROR MESSAGE"}, rows); err != nil {
		return err
	}
	return runFiles(w, d, s)
}

// runFiles prints what was downloaded, and about which device.
func runFiles(w io.Writer, d RunDetail, s Style) error {
	for _, t := range d.Tasks {
		for _, a := range t.Artifacts {
			var m struct {
				DeviceType string `json:"device_type"`
				DeviceInfo struct {
					Identity string `json:"identity"`
					Model    string `json:"model"`
					Firmware string `json:"firmware"`
					Build    string `json:"build"`
				} `json:"device_info"`
				Files []struct {
					Path   string `json:"path"`
					Size   int64  `json:"size"`
					SHA256 string `json:"sha256"`
				} `json:"files"`
			}
			if err := json.Unmarshal(a.Manifest, &m); err != nil {
				return fmt.Errorf("read the manifest of artifact %s: %w", a.ID, err)
			}
			fmt.Fprintf(w, "\n%s %s in %s, %s\n", s.bold("Artifact"), Line(a.ID), Line(a.Store), a.State)
			about := []string{"type " + m.DeviceType}
			for _, f := range []struct{ name, value string }{
				{"identity", m.DeviceInfo.Identity}, {"model", m.DeviceInfo.Model}, {"firmware", m.DeviceInfo.Firmware}, {"build", m.DeviceInfo.Build},
			} {
				if f.value != "" {
					about = append(about, f.name+" "+f.value)
				}
			}
			fmt.Fprintf(w, "from %s (%s)\n", Line(a.Device), Line(strings.Join(about, ", ")))
			var rows [][]string
			for _, f := range m.Files {
				rows = append(rows, []string{f.Path, unit.Bytes(f.Size), f.SHA256})
			}
			if err := s.table(w, []string{"FILE", "SIZE", "SHA-256"}, rows); err != nil {
				return err
			}
		}
	}
	return nil
}

// remark is what there is to say about a step: its error, or who told that it was done.
func remark(st state.StepRun) string {
	var told struct {
		By   string `json:"told_by"`
		Note string `json:"note"`
	}
	if st.Error == "" && len(st.Output) > 0 && json.Unmarshal(st.Output, &told) == nil && told.By != "" {
		return "told by " + told.By + ": " + told.Note
	}
	return st.Error
}

// Steps prints the journal of one task.
func Steps(w io.Writer, t TaskDetail, s Style) error {
	fmt.Fprintf(w, "%s   %s\n", s.bold("Task "+t.ID), s.verdict(string(t.Status)))
	var rows [][]string
	for _, st := range t.Steps {
		rows = append(rows, []string{strconv.Itoa(st.Index), st.Name, string(st.Class), string(st.State), s.time(st.Began), length(st.Began, st.Ended), remark(st)})
	}
	return s.table(w, []string{"STEP", "NAME", "CLASS", "STATE", "BEGAN", "TOOK", "ERROR"}, rows)
}
