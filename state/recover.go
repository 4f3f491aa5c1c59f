package state

import "time"

// HoldTime is how long nothing is deleted after the record was rebuilt or went back in time: people must be able to see that it
// is right before retention acts on it.
const HoldTime = 7 * 24 * time.Hour

// Hold keeps artifacts from deletion for a while, whatever their retention says.
type Hold struct {
	Until  time.Time `json:"until"`
	Reason string    `json:"reason,omitempty"`
}

// Holds reports whether nothing may be deleted at a moment.
func (h Hold) Holds(at time.Time) bool { return at.Before(h.Until) }

// Head is how far the catalogue of a store goes for one of those who write to it.
type Head struct {
	Writer string `json:"writer"`
	Seq    int64  `json:"seq"`
	SHA256 string `json:"sha256"` // of its last entry
}

// StoreSight is what was seen of a recorded store. An epoch is recorded where none is, and heads replace shorter ones.
type StoreSight struct {
	Store string // address; one that is not recorded is no error
	Epoch int64
	Heads []Head
}

// Further joins two sets of heads: of each writer the one that goes further. They are ordered as they came.
func Further(known, seen []Head) []Head {
	joined := append([]Head{}, known...)
next:
	for _, h := range seen {
		for i := range joined {
			if joined[i].Writer == h.Writer {
				if h.Seq > joined[i].Seq {
					joined[i] = h
				}
				continue next
			}
		}
		joined = append(joined, h)
	}
	return joined
}

// Recovery is what a store alone told of its artifacts, or a part of it.
type Recovery struct {
	Store   string     // address; every artifact is in it
	Found   []Artifact // the zero Started, Run and such: not known
	Cursors []Cursor   // move a schedule's cursor forward only
	Hold    Hold       // set when anything changes, unless a longer one is there
	Seen    []Head     // how far the store's catalogue went: given with what is found last
	Actor   string
	At      time.Time
}

// RecoveryResult counts what became of artifacts.
type RecoveryResult struct {
	Added     int `json:"added"`
	Changed   int `json:"changed"`
	Kept      int `json:"kept"`      // as they were recorded
	Elsewhere int `json:"elsewhere"` // recorded in another store, and left alone
	Cursors   int `json:"cursors"`   // moved
}

// Recovered joins the record of an artifact with what its store tells of it, and reports whether that changes
// the record. The record knows better what was judged or decided: a quarantine, a deletion that began and a pin stay. The store knows
// better what is there: what it deleted, lost or has damaged is not good. Both must be in the same store.
//
//	recorded \ found   good    quarantined   unverified    deleted
//	none               good    quarantined   unverified    deleted
//	good               -       quarantined   quarantined   deleted
//	unverified         good    quarantined   -             deleted
//	quarantined        -       -             -             deleted
//	expiring           -       -             -             deleted
//	deleted            -       -             -             -
func (a Artifact) Recovered(found Artifact, at time.Time) (Artifact, bool) {
	switch {
	case a.State == found.State, a.State == ArtifactDeleted:
		return a, false
	case found.State == ArtifactDeleted:
		a.State, a.Error = found.State, found.Error
		return a, true
	case a.State == ArtifactUnverified && found.State == ArtifactGood:
		found.Pinned = a.Pinned
		return found, true
	case a.State == ArtifactGood || a.State == ArtifactUnverified:
		a.State, a.Error, a.Quarantined = ArtifactQuarantined, found.Error, at
		return a, true
	}
	return a, false
}
