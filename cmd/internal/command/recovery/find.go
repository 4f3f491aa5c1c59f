package recovery

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-dr/holdfast/cmd/internal/command"
	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

// artifactFlags select artifacts.
type artifactFlags struct{ device, domain, store, plan string }

func (f *artifactFlags) add(c *command.Call, cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.device, "device", "", "of this device (name or address)")
	cmd.Flags().StringVar(&f.domain, "domain", "", "of this domain")
	cmd.Flags().StringVar(&f.store, "store", "", "in this store (name or address)")
	cmd.Flags().StringVar(&f.plan, "backup-plan", "", "made by this backup plan (name or address)")
	for flag, kind := range map[string]string{"device": config.KindDevice, "store": config.KindStore, "backup-plan": config.KindBackupPlan} {
		_ = cmd.RegisterFlagCompletionFunc(flag, c.CompleteObjects(kind)) // the flag was declared above
	}
	_ = cmd.RegisterFlagCompletionFunc("domain", c.CompleteState(completeDomains("device"))) // the flag was declared above
}

func (f *artifactFlags) filter() state.ArtifactFilter {
	return state.ArtifactFilter{
		Device: command.Address(config.KindDevice, f.device), Domain: f.domain, Store: command.Address(config.KindStore, f.store),
		BackupPlan: command.Address(config.KindBackupPlan, f.plan),
	}
}

// mostOffered bounds what a shell is offered of a long list.
const mostOffered = 100

// completeArtifacts offers the newest artifacts, with what they are of.
func completeArtifacts(cmd *cobra.Command, st *sqlstore.Store) (offers []string, err error) {
	all, err := st.Artifacts(cmd.Context(), state.ArtifactFilter{})
	for _, a := range all[:min(len(all), mostOffered)] {
		offers = append(offers, fmt.Sprintf("%s\t%s/%s, %s, %s", a.ID, a.Device, a.Domain, timeText(a.Started, time.Local), a.State))
	}
	return offers, err
}

// completeDomains offers the domains that the device named by a flag has artifacts of.
func completeDomains(flag string) func(*cobra.Command, *sqlstore.Store) ([]string, error) {
	return func(cmd *cobra.Command, st *sqlstore.Store) ([]string, error) {
		device, err := cmd.Flags().GetString(flag)
		if err != nil {
			return nil, err
		}
		all, err := st.Artifacts(cmd.Context(), state.ArtifactFilter{Device: command.Address(config.KindDevice, device)})
		return domainsOf(all), err
	}
}

func domainsOf(all []state.Artifact) []string {
	domains := map[string]bool{}
	for _, a := range all {
		domains[a.Domain] = true
	}
	return slices.Sorted(maps.Keys(domains))
}

func timeText(t time.Time, zone *time.Location) string {
	return t.In(zone).Format("2006-01-02 15:04:05 MST")
}

// pick finds the artifact that is meant. Of those that are not named, only what fits is taken. Times are read and said in the zone of now.
func pick(ctx context.Context, st *sqlstore.Store, now time.Time, args []string, f artifactFlags, at string, fits func(state.Artifact) bool) (state.Artifact, error) {
	filter := f.filter()
	if len(args) == 1 {
		filter = state.ArtifactFilter{ID: args[0]}
	} else {
		filter.State = state.ArtifactGood
	}
	limit, err := pastTime(at, now)
	if err != nil {
		return state.Artifact{}, err
	}
	all, err := st.Artifacts(ctx, filter)
	if err != nil {
		return state.Artifact{}, err
	}
	if len(args) == 0 {
		all = slices.DeleteFunc(all, func(a state.Artifact) bool { return !fits(a) })
	}
	if domains := domainsOf(all); len(args) == 0 && f.domain == "" && len(domains) > 1 {
		return state.Artifact{}, fmt.Errorf("%s has artifacts of several domains: name one with --domain: %v", f.device, domains)
	}
	for _, a := range all { // newest first
		if limit.IsZero() || !a.Started.After(limit) {
			if a.State != state.ArtifactGood {
				return a, fmt.Errorf("artifact %s is %s: %s%s", a.ID, a.State, a.Error, despite(a))
			}
			return a, nil
		}
	}
	hint := ""
	if len(all) > 0 {
		hint = "; the oldest is of " + timeText(all[len(all)-1].Started, now.Location())
	} else if len(args) == 0 {
		if hint, err = nearest(ctx, st, f); err != nil {
			return state.Artifact{}, err
		}
	}
	if !limit.IsZero() {
		at = timeText(limit, now.Location())
	}
	return state.Artifact{}, fmt.Errorf("there is no %s%s; holdfast verify --list shows what there is", wanted(args, f, at), hint)
}

// despite says how an artifact that is not good is put back all the same.
func despite(a state.Artifact) string {
	const how = " To put it back all the same: holdfast restore apply --dir DIRECTORY --artifact "
	switch a.State {
	case state.ArtifactQuarantined:
		return how + a.ID + " --allow-quarantined"
	case state.ArtifactUnverified:
		return how + a.ID + " --raw --allow-unverified"
	}
	return ""
}

// wanted says which artifact was asked for.
func wanted(args []string, f artifactFlags, at string) string {
	if len(args) == 1 {
		return "artifact " + args[0]
	}
	text := "good artifact"
	for _, part := range []struct{ before, value string }{{" of ", f.device}, {"/", f.domain}, {" in store ", f.store}, {" of backup plan ", f.plan}, {" as of ", at}} {
		if part.value != "" {
			text += part.before + part.value
		}
	}
	return text
}

const atUsage = "newest artifact taken at or before this time, such as 2026-11-20T06:00:00Z or \"2026-11-20 06:00\" here"

// pastTime reads a time that has passed: as RFC 3339, or as the tables show it, without a zone in that of now. Empty text is no time.
func pastTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	for _, layout := range []string{"2006-01-02 15:04:05 MST", "2006-01-02 15:04:05", "2006-01-02 15:04"} {
		if err != nil {
			t, err = time.ParseInLocation(layout, text, now.Location())
		}
	}
	if name, offset := t.Zone(); err != nil || offset == 0 && name != "UTC" && name != "" && t.Location() != now.Location() { // an abbreviation that is not known here
		zone := now.Location().String()
		if zone == "Local" {
			zone = "of this machine"
		}
		return t, fmt.Errorf("--at %q is no time: write it as 2026-11-20T06:00:00Z, or as 2026-11-20 06:00 in the zone %s", text, zone)
	}
	if t.After(now) {
		return t, fmt.Errorf("--at %s has not come yet: it is %s now. Leave --at away for the newest artifact", timeText(t, now.Location()), timeText(now, now.Location()))
	}
	return t, nil
}

// nearest says which name that was given is known nowhere, and what was probably meant; nothing when all names are known.
func nearest(ctx context.Context, st *sqlstore.Store, f artifactFlags) (string, error) {
	snap, err := st.Snapshot(ctx)
	if err != nil {
		return "", err
	}
	all, err := st.Artifacts(ctx, state.ArtifactFilter{})
	if err != nil {
		return "", err
	}
	known, domains := map[string]bool{}, map[string]bool{}
	for address := range snap.Objects {
		known[address] = true
	}
	is := f.filter()
	for _, a := range all {
		known[a.Device], known[a.Store], known[a.BackupPlan] = true, true, true
		if a.Device == is.Device {
			domains[a.Domain] = true
		}
	}
	for _, name := range []string{is.Device, is.Store, is.BackupPlan} {
		if name != "" && !known[name] {
			return ": nothing is known of " + name + command.Meant(name, known), nil
		}
	}
	if is.Domain != "" && len(domains) > 0 && !domains[is.Domain] {
		return ": it has no domain " + is.Domain + command.Meant(is.Domain, domains), nil
	}
	return "", nil
}

// nothing says that no artifact was chosen. A name that is known nowhere is an error; nothing to do is none.
func nothing(ctx context.Context, c *command.Call, st *sqlstore.Store, f artifactFlags, due, list bool) error {
	hint, err := nearest(ctx, st, f)
	switch {
	case err != nil:
		return err
	case hint != "":
		return fmt.Errorf("there is no %s%s", wanted(nil, f, ""), hint)
	case c.JSON:
		return nil
	}
	text := "There is no " + wanted(nil, f, "") + "."
	switch {
	case due && !list:
		text = "Nothing is due to be read."
	case f == (artifactFlags{}):
		text = "There are no artifacts yet: holdfast apply takes the backups that are due, holdfast run BACKUP_PLAN one at once."
		snap, err := st.Snapshot(ctx)
		if err != nil {
			return err
		}
		if len(snap.Catalogue) > 0 {
			text = "There is no good artifact; holdfast verify --list shows what there is."
		}
	}
	_, err = fmt.Fprintln(c.Out, view.Line(text))
	return err
}
