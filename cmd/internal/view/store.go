package view

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/reconcile/store"
	"github.com/holdfast-dr/holdfast/state"
)

// Stores prints how stores stand.
func Stores(w io.Writer, all []store.Status, s Style) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "No store is recorded or declared.")
		return err
	}
	var rows [][]string
	for _, st := range all {
		kind := "local"
		if st.Place.Remote {
			kind = "remote"
		}
		if st.Place.Mounted {
			kind += ", mounted"
		}
		epoch, free := "-", "-"
		if st.Place.Initialised {
			epoch = strconv.FormatInt(st.Place.Epoch, 10)
		}
		if st.Place.TotalBytes > 0 {
			free = fmt.Sprintf("%s of %s", unit.Bytes(st.Place.FreeBytes), unit.Bytes(st.Place.TotalBytes))
		}
		good := st.Records[state.ArtifactGood]
		others := 0
		for state, t := range st.Records {
			if state != "good" {
				others += t.Count
			}
		}
		standing := "fits"
		if len(st.Problems) > 0 {
			standing = Count(len(st.Problems), "problem", "problems")
		}
		rows = append(rows, []string{st.Store, standing, st.Place.Identity, epoch, kind, free, strconv.Itoa(good.Count), unit.Bytes(good.Bytes), strconv.Itoa(others)})
	}
	if err := s.table(w, []string{"STORE", "STANDING", "IDENTITY", "EPOCH", "PLACE", "FREE", "GOOD", "SIZE", "NOT GOOD"}, rows); err != nil {
		return err
	}
	for _, st := range all {
		for _, h := range st.Place.Heads {
			fmt.Fprintf(w, "%s: its catalogue has %s of writer %s.\n", Line(st.Store), Count(int(h.Seq), "entry", "entries"), Line(h.Writer))
		}
	}
	for _, st := range all {
		for _, p := range st.Problems {
			fmt.Fprintf(w, "%s %s: %s\n", s.red("!"), Line(st.Store), Line(p))
		}
	}
	return nil
}

// words explains the kinds of findings, which are a format and no text for people.
var words = map[string]string{
	"marker_damaged":   "The store's identity cannot be read",
	"catalog_gap":      "Entries of the catalogue are gone",
	"catalog_changed":  "Entries of the catalogue are not what was written",
	"manifest_missing": "Artifacts are gone that the catalogue has",
	"manifest_changed": "Manifests are not what was committed",
	"not_catalogued":   "Artifacts are not in the catalogue",
	"not_deleted":      "Deleted artifacts are there",
	"file_missing":     "Files are gone",
	"file_size":        "Files have another size than their manifest says",
	"file_extra":       "Files are in no manifest",
	"recorded_missing": "Artifacts are recorded as good and cannot be read",
	"not_recorded":     "Artifacts are not in the record",
	"record_differs":   "Artifacts are recorded otherwise",
	"unreadable":       "Places could not be looked at",
}

// mostListed bounds the findings of one kind that are printed for people; --json has all of them.
const mostListed = 20

// StoreChecks prints what checks found, by kind.
func StoreChecks(w io.Writer, all []store.Checked, s Style) error {
	for _, one := range all {
		switch {
		case one.Error != "":
			fmt.Fprintf(w, "%s %s: %s\n", s.red("!"), s.bold(Line(one.Store)), Line(strings.TrimPrefix(one.Error, one.Store+": ")))
		case len(one.Findings) == 0:
			fmt.Fprintf(w, "%s: %s, nothing found. Their content is read by holdfast verify.\n", s.bold(Line(one.Store)), Count(one.Artifacts, "artifact", "artifacts"))
		default:
			fmt.Fprintf(w, "%s: %s, %s.\n", s.bold(Line(one.Store)), Count(one.Artifacts, "artifact", "artifacts"), s.red(Count(len(one.Findings), "finding", "findings")))
		}
		kind, shown := "", 0
		for i, f := range one.Findings {
			if string(f.Kind) != kind {
				kind, shown = string(f.Kind), 0
				title := words[kind]
				if title == "" {
					title = strings.ReplaceAll(kind, "_", " ")
				}
				fmt.Fprintf(w, "\n  %s\n", s.yellow(Line(title)))
			}
			if shown++; shown > mostListed {
				if i+1 == len(one.Findings) || one.Findings[i+1].Kind != f.Kind {
					fmt.Fprintf(w, "    and %d more; --json lists them\n", shown-mostListed)
				}
				continue
			}
			where := Line(f.Path)
			if f.Artifact != "" {
				where = strings.TrimSpace(Line(string(f.Artifact)) + "  " + where)
			}
			fmt.Fprintf(w, "    %s\n      %s\n", where, Line(f.Detail))
		}
		if n := len(one.Repaired); n > 0 {
			fmt.Fprintf(w, "%s: %s put into the catalogue.\n", s.bold(Line(one.Store)), Count(n, "artifact was", "artifacts were"))
		}
		if sw := one.Swept; sw != nil {
			fmt.Fprintf(w, "%s: removed %s and finished %s: %s, %s.\n", s.bold(Line(one.Store)), Count(len(sw.Staged), "staging area", "staging areas"),
				Count(len(sw.Deleted), "deletion", "deletions"), Count(sw.Files, "file", "files"), unit.Bytes(sw.Bytes))
		}
	}
	return nil
}

// Rescanned prints what a rescan found and what became of it.
func Rescanned(w io.Writer, r store.Rescanned, s Style) error {
	found := "no artifacts"
	if len(r.Found) > 0 {
		var parts []string
		for _, c := range slices.Sorted(maps.Keys(r.Found)) {
			parts = append(parts, fmt.Sprintf("%d %s", r.Found[c], c))
		}
		found = strings.Join(parts, ", ")
	}
	verb := "were"
	if r.DryRun {
		verb = "would be"
	}
	fmt.Fprintf(w, "%s: found %s. Records: %d %s added, %d changed, %d kept", s.bold(Line(r.Store)), found, r.Result.Added, verb, r.Result.Changed, r.Result.Kept)
	if r.Result.Elsewhere > 0 {
		fmt.Fprintf(w, ", %d left alone that are recorded in another store", r.Result.Elsewhere)
	}
	fmt.Fprintln(w, ".")
	if r.Catalogued > 0 {
		fmt.Fprintf(w, "%s: %s put into its catalogue, which did not know of them.\n", s.bold(Line(r.Store)), Count(r.Catalogued, "artifact was", "artifacts were"))
	}
	if r.Uncatalogued > 0 {
		fmt.Fprintf(w, "%s %s not in the store's catalogue, so that nobody would miss them.\n", s.yellow("!"), Count(r.Uncatalogued, "artifact is", "artifacts are"))
	}
	for _, c := range r.Cursors {
		fmt.Fprintf(w, "%s: goes on after %s.\n", Line(c.Address), s.time(c.At))
	}
	for _, p := range r.Skipped {
		fmt.Fprintf(w, "%s %s: its schedule is not known, so it may run again for a time it has artifacts of.\n", s.yellow("!"), Line(p))
	}
	if len(r.Bad) > 0 {
		var rows [][]string
		for _, b := range r.Bad[:min(len(r.Bad), mostListed)] {
			rows = append(rows, []string{b.Artifact, string(b.Condition), b.Device + "/" + b.Domain, s.time(b.Started), b.Detail})
		}
		if err := s.table(w, []string{"ARTIFACT", "CONDITION", "OF", "TAKEN", "WHY"}, rows); err != nil {
			return err
		}
		more(w, len(r.Bad))
	}
	for _, p := range r.Problems[:min(len(r.Problems), mostListed)] {
		fmt.Fprintf(w, "%s Not understood: %s\n", s.red("!"), Line(p))
	}
	more(w, len(r.Problems))
	for _, id := range r.Unknown[:min(len(r.Unknown), mostListed)] {
		fmt.Fprintf(w, "%s Recorded as good, and the store knows nothing of it: %s\n", s.red("!"), Line(id))
	}
	more(w, len(r.Unknown))
	if len(r.Unknown) > 0 {
		fmt.Fprintf(w, "These stay as they are recorded; holdfast verify reads them and quarantines what is not there.\n")
	}
	if !r.Hold.Until.IsZero() && !r.DryRun {
		fmt.Fprintf(w, "Nothing is deleted before %s (%s). To end that: holdfast state release-hold --reason ...\n", s.time(r.Hold.Until), Line(r.Hold.Reason))
	}
	return nil
}

func more(w io.Writer, n int) {
	if n > mostListed {
		fmt.Fprintf(w, "  and %d more; --json lists them\n", n-mostListed)
	}
}
