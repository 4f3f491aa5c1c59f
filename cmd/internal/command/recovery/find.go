package command

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-dr/holdfast/cmd/internal/view"
	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/state"
	"github.com/holdfast-dr/holdfast/state/sqlstore"
)

const atUsage = "newest artifact taken at or before this time, such as 2026-11-20T06:00:00Z or \"2026-11-20 06:00\" here"

// pastTime reads a time that has passed: as RFC 3339, or as the tables show it, without a zone in the local one. Empty text is no time.
func pastTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	for _, layout := range []string{"2006-01-02 15:04:05 MST", "2006-01-02 15:04:05", "2006-01-02 15:04"} {
		if err != nil {
			t, err = time.ParseInLocation(layout, text, time.Local)
		}
	}
	if name, offset := t.Zone(); err != nil || offset == 0 && name != "UTC" && name != "" && t.Location() != time.Local { // an abbreviation that is not known here
		return t, fmt.Errorf("--at %q is no time: write it as 2026-11-20T06:00:00Z, or as 2026-11-20 06:00 in the zone of this machine", text)
	}
	if t.After(now) {
		return t, fmt.Errorf("--at %s has not come yet: it is %s now. Leave --at away for the newest artifact", text, now.UTC().Format(time.RFC3339))
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
			return ": nothing is known of " + name + meant(name, known), nil
		}
	}
	if is.Domain != "" && len(domains) > 0 && !domains[is.Domain] {
		return ": it has no domain " + is.Domain + meant(is.Domain, domains), nil
	}
	return "", nil
}

func meant(name string, known map[string]bool) string {
	candidates := sorted(known)
	if near := diag.Nearest(name, candidates); near != "" {
		return " (did you mean " + near + "?)"
	}
	return ""
}

// nothing says that no artifact was chosen. A name that is known nowhere is an error; nothing to do is none.
func (c *cli) nothing(ctx context.Context, st *sqlstore.Store, f artifactFlags, due, list bool) error {
	hint, err := nearest(ctx, st, f)
	switch {
	case err != nil:
		return err
	case hint != "":
		return fmt.Errorf("there is no %s%s", wanted(nil, f, ""), hint)
	case c.json:
		return nil
	}
	text := "There is no " + wanted(nil, f, "") + "."
	if due && !list {
		text = "Nothing is due to be read."
	}
	_, err = fmt.Fprintln(c.out, view.Line(text))
	return err
}
