package planner

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/reconcile"
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
		if c.Action == reconcile.Delete || c.Action == reconcile.Forget {
			deletes++
		}
		if c.Class == reconcile.ClassDestroy {
			destroying = append(destroying, c.Address)
		}
	}
	for _, a := range p.Actions {
		if a.Class == reconcile.ClassRole {
			moving = append(moving, a.Address)
		}
	}
	if len(destroying) > 0 {
		p.Gates = append(p.Gates, reconcile.Gate{Allow: "--allow=destroy", Class: reconcile.ClassDestroy, Reason: "loses " + list(destroying)})
	}
	if len(moving) > 0 {
		p.Gates = append(p.Gates, reconcile.Gate{Allow: "--allow=role", Class: reconcile.ClassRole, Reason: "moves the active side of " + list(moving)})
	}
	if deletes > brakeObjects || (deletes > 1 && deletes*100 > recorded*brakePercent) || (deletes > 0 && len(b.desired) == 0) {
		p.Gates = append(p.Gates, reconcile.Gate{
			Allow: fmt.Sprintf("--allow-delete=%d", deletes), Deletes: deletes,
			Reason: fmt.Sprintf("removes %d of %d recorded objects", deletes, recorded),
		})
	}
}

// brakeDeletion demands a number for a retention that would take too large a part of the good artifacts it governs.
func (b *builder) brakeDeletion(r *config.Retention, d reconcile.Deletion, good int) {
	percent := cmp.Or(r.MaxDelete, deletePercent)
	if d.Count > brakeObjects && d.Count*100 > good*percent {
		b.plan.Gates = append(b.plan.Gates, reconcile.Gate{
			Allow: fmt.Sprintf("--allow-delete=%d", d.Count), Deletes: d.Count,
			Reason: fmt.Sprintf("%s deletes %d artifacts of %d that are good, more than %d %%", d.Address, d.Count, good, percent),
		})
	}
}

// list joins names for a sentence and cuts a long one.
func list(names []string) string {
	const most = 5
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
