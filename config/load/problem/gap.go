package problem

// Gaps are what could not be read of a configuration. A name that seems
// missing may be declared there.
type Gaps struct {
	Partial bool            // a file, or the instances of a block
	lost    map[string]bool // labels of blocks that were left out; "" when there is one
}

// Lose notes a block that is left out.
func (g *Gaps) Lose(labels []string) {
	if g.lost == nil {
		g.lost = map[string]bool{}
	}
	g.lost[""] = true
	for _, label := range labels {
		g.lost[label] = true
	}
}

// None reports whether everything was read.
func (g *Gaps) None() bool { return !g.Partial && len(g.lost) == 0 }

// MayHave reports whether a name may be declared in what was not read.
func (g *Gaps) MayHave(name string) bool { return g.Partial || g.lost[name] }
