package reconcile

import "slices"

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
