package config

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// Placeholders of scripts: words in braces that stand in an argument for something known only when the script runs. {{word}} is
// the text {word}, and ${word} is no placeholder, so that scripts can be written in line.
const (
	PlaceBackupPlan = "backup_plan" // name of the backup plan
	PlaceRun        = "run"         // number of the run
	PlaceTask       = "task"        // number of the task
	PlaceActivity   = "activity"    // name of the activity
	PlaceDevice     = "device"      // name of the device
	PlaceDomain     = "domain"      // domain, or all-domains
	PlaceAction     = "action"      // secure_backup or export_domain
	PlaceStatus     = "status"      // how it went so far: succeeded, failed, ...
)

// ScriptPlace is where a script stands, which decides what can be told to it.
type ScriptPlace struct {
	Activity bool // around one task; otherwise around the backup plan
	Post     bool // after the work
}

// Placeholders lists those that have a value in a script at this place.
func (p ScriptPlace) Placeholders() []string {
	all := []string{PlaceBackupPlan, PlaceRun, PlaceTask}
	if p.Activity {
		all = append(all, PlaceActivity, PlaceDevice, PlaceDomain, PlaceAction)
	}
	if p.Post {
		all = append(all, PlaceStatus)
	}
	return all
}

var placeholder = regexp.MustCompile(`\{\{[a-z_]+\}\}|\$?\{[a-z_]+\}`)

// FillPlaceholders replaces the placeholders of one argument. Those without a value stay as they are.
func FillPlaceholders(arg string, values map[string]string) string {
	return placeholder.ReplaceAllStringFunc(arg, func(found string) string {
		if text, ok := strings.CutPrefix(found, "{{"); ok {
			return "{" + strings.TrimSuffix(text, "}")
		}
		if value, ok := values[strings.Trim(found, "{}")]; ok && found[0] == '{' {
			return value
		}
		return found
	})
}

// placeholders lists the words in braces of one argument, as they would be replaced.
func placeholders(arg string) (words []string) {
	for _, found := range placeholder.FindAllString(arg, -1) {
		if !strings.HasPrefix(found, "{{") && found[0] == '{' {
			words = append(words, strings.Trim(found, "{}"))
		}
	}
	return words
}

var (
	shells      = []string{"sh", "ash", "bash", "dash", "ksh", "mksh", "zsh", "fish", "csh", "tcsh"}
	shellOption = regexp.MustCompile(`^-[A-Za-z]*c[A-Za-z]*$`)
)

// shellLine gives the index of the argument that a shell takes apart, or -1.
func shellLine(argv []string) int {
	shell := false
	for i, a := range argv[:max(0, len(argv)-1)] {
		switch {
		case slices.Contains(shells, path.Base(a)):
			shell = true
		case shell && shellOption.MatchString(a):
			return i + 1
		}
	}
	return -1
}
