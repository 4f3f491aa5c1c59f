package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-dr/holdfast/config"
)

// Brake: a plan that removes more than this needs --allow-delete, since the cause is more often a mistake than an
// intent. One removal alone is never a mass removal.
const (
	brakeObjects = 5
	brakePercent = 20

	deletePercent = 50 // of artifacts, unless a retention says otherwise
)

func (b *builder) gates() {
	p := b.plan
	deletes, recorded := 0, len(b.st.Objects)
	var destroying, moving []string
	for _, c := range p.Changes {
		if c.Action == Delete || c.Action == Forget {
			deletes++
		}
		if c.Class == ClassDestroy {
			destroying = append(destroying, c.Address)
		}
	}
	for _, a := range p.Actions {
		if a.Class == ClassRole {
			moving = append(moving, a.Address)
		}
	}
	if len(destroying) > 0 {
		p.Gates = append(p.Gates, Gate{Allow: "--allow=destroy", Class: ClassDestroy, Reason: "loses " + list(destroying)})
	}
	if len(moving) > 0 {
		p.Gates = append(p.Gates, Gate{Allow: "--allow=role", Class: ClassRole, Reason: "moves the active side of " + list(moving)})
	}
	if deletes > brakeObjects || (deletes > 1 && deletes*100 > recorded*brakePercent) || (deletes > 0 && len(b.desired) == 0) {
		p.Gates = append(p.Gates, Gate{
			Allow: fmt.Sprintf("--allow-delete=%d", deletes), Deletes: deletes,
			Reason: fmt.Sprintf("removes %d of %d recorded objects", deletes, recorded),
		})
	}
}

// brakeDeletion demands a number for a retention that would take too large a part of the good artifacts it governs.
func (b *builder) brakeDeletion(r *config.Retention, d Deletion, good int) {
	percent := cmp.Or(r.MaxDelete, deletePercent)
	if d.Count > brakeObjects && d.Count*100 > good*percent {
		b.plan.Gates = append(b.plan.Gates, Gate{
			Allow: fmt.Sprintf("--allow-delete=%d", d.Count), Deletes: d.Count,
			Reason: fmt.Sprintf("%s deletes %d artifacts of %d that are good, more than %d %%", d.Address, d.Count, good, percent),
		})
	}
}

// Allowed is what the person or the pipeline that applies a plan agreed to.
type Allowed struct {
	Classes []Class
	Deletes int
}

// Closed lists the gates of the plan that were not opened.
func (p *Plan) Closed(ok Allowed) []Gate {
	var closed []Gate
	for _, g := range p.Gates {
		if g.Class != "" && !slices.Contains(ok.Classes, g.Class) || g.Deletes > ok.Deletes {
			closed = append(closed, g)
		}
	}
	return closed
}

// list joins names for a sentence and cuts a long one.
func list(names []string) string {
	const most = 5
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
