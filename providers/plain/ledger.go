package plain

import (
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain/chain"
	"github.com/holdfast-dr/holdfast/providers/plain/layout"
)

// ledger is what the catalogue says.
type ledger struct {
	committed, deleted map[providers.ArtifactID]entry
	byManifest         map[string]providers.ArtifactID // that were not deleted, by the path of the manifest
	chains             []chain.Entry
}

func newLedger() ledger {
	return ledger{map[providers.ArtifactID]entry{}, map[providers.ArtifactID]entry{}, map[string]providers.ArtifactID{}, nil}
}

func (l *ledger) add(e entry) {
	l.chains = append(l.chains, chain.Entry{Link: e.Link, Path: e.path, SHA256: e.sum})
	if e.Event == layout.Deleted {
		l.deleted[e.ID] = e
	} else {
		l.committed[e.ID] = e
	}
}

// close makes the ledger ready when all entries are in.
func (l *ledger) close() {
	for id, e := range l.committed {
		if _, gone := l.deleted[id]; !gone {
			l.byManifest[e.Manifest] = id
		}
	}
}
