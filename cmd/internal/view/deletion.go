package view

import "github.com/holdfast-dr/holdfast/reconcile"

// deletionSections arranges the deletion of an artifact that a person named.
func deletionSections(p *reconcile.Plan, style Style) []section {
	var lines []line
	for i, d := range p.Deletions {
		for _, id := range d.IDs {
			l := line{sign: "-", subject: id, text: "is DELETED and cannot be brought back", below: []string{"taken        " + style.when(d.Oldest, p.Timestamp)}}
			for _, t := range p.Actions[i].Tasks {
				l.below = append(l.below, t.Action)
			}
			l.below = append(l.below, p.Actions[i].Reason)
			lines = append(lines, l)
		}
	}
	return []section{{"Deletes", true, lines}}
}
