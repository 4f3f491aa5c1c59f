package view

import (
	"fmt"
	"io"
	"strconv"

	"github.com/holdfast-dr/holdfast/config/unit"
	"github.com/holdfast-dr/holdfast/reconcile/status"
)

// mostDamaged bounds the damaged artifacts that are shown; --json has all.
const mostDamaged = 20

// stores prints how far the stores are read back, and the artifacts that were found damaged.
func stores(w io.Writer, st status.Report, s Style) error {
	if len(st.Stores) > 0 {
		var rows [][]string
		for _, x := range st.Stores {
			within, oldest := "-", "-"
			if x.Within > 0 {
				within = x.Within.String()
			}
			if x.Artifacts > 0 {
				if oldest = "never"; !x.Oldest.IsZero() {
					oldest = s.time(x.Oldest)
				}
			}
			rows = append(rows, []string{x.Address, strconv.Itoa(x.Artifacts), unit.Bytes(x.Bytes), within, oldest, runText(x.Last), storeHealth(x)})
		}
		fmt.Fprintf(w, "\n%s\n", s.bold("Stores"))
		if err := s.table(w, []string{"OBJECT", "ARTIFACTS", "SIZE", "VERIFY WITHIN", "OLDEST CHECK", "LAST VERIFICATION", "HEALTH"}, rows); err != nil {
			return err
		}
	}
	if len(st.Quarantined) == 0 {
		return nil
	}
	var rows [][]string
	for _, q := range st.Quarantined[:min(len(st.Quarantined), mostDamaged)] {
		rows = append(rows, []string{q.Artifact, s.time(q.Started), q.Device, q.Domain, q.Store, s.time(q.Since), q.Todo})
	}
	fmt.Fprintf(w, "\n%s\n", s.red("Damaged artifacts (they count for nothing)"))
	if err := s.table(w, []string{"ARTIFACT", "TAKEN", "DEVICE", "DOMAIN", "STORE", "FOUND", "WHAT TO DO"}, rows); err != nil {
		return err
	}
	if more := len(st.Quarantined) - mostDamaged; more > 0 {
		fmt.Fprintf(w, "... and %d more (--json shows all)\n", more)
	}
	return nil
}

func storeHealth(x status.Store) string {
	text := ""
	add := func(n int, what string) {
		if n > 0 {
			text = after(text, ", ") + fmt.Sprintf("%d %s", n, what)
		}
	}
	add(x.Quarantined, "damaged")
	add(x.Overdue, "overdue")
	add(x.Due-x.Overdue, "due")
	if text == "" {
		return "healthy"
	}
	return text
}

// after puts a separator behind a text, unless it is empty.
func after(text, sep string) string {
	if text == "" {
		return ""
	}
	return text + sep
}
