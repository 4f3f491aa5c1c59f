package reconcile

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/state"
)

// StoreIdentity is the identity that a state of some lineage gives a store, the same each time.
func StoreIdentity(lineage, address string) string {
	sum := sha256.Sum256([]byte("store\x00" + lineage + "\x00" + address))
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

// StoreMark is what tells a store from others and from older copies of itself.
type StoreMark struct {
	Identity string
	Epoch    int64        // 0: not known
	Heads    []state.Head // of its catalogue, as far as they are known
}

// Misfit is why a place is not the store that was recorded.
type Misfit struct {
	Summary string // "is an older copy"
	Detail  string // full sentences, with what to do
}

// Misfit compares what was recorded of a store with what its place carries; nil when it fits. What was not
// recorded is not compared.
func (want StoreMark) Misfit(address string, seen StoreMark) *Misfit {
	name := config.Address(address).Name()
	older := fmt.Sprintf(" Nothing is written to it. Mount the right copy; or, to go on with this one, make it the store: holdfast store init --adopt %s.", name)
	switch {
	case want.Identity != "" && seen.Identity != want.Identity:
		return &Misfit{"is another store", fmt.Sprintf("Its place carries the identity %s; recorded is %s. Nothing is written to it. Mount the right one at its path, or correct the path.", seen.Identity, want.Identity)}
	case want.Epoch > 0 && seen.Epoch < want.Epoch:
		return &Misfit{"is an older copy of the store", fmt.Sprintf("Its place carries the epoch %d; recorded is %d.", seen.Epoch, want.Epoch) + older}
	case want.Epoch > 0 && seen.Epoch > want.Epoch:
		return &Misfit{"was adopted by another state", fmt.Sprintf(
			"Its place carries the epoch %d; recorded is %d. Another installation, or another state of this one, took it over. Nothing is written to it. To take it back: holdfast store init --adopt %s.",
			seen.Epoch, want.Epoch, name)}
	}
	for _, h := range want.Heads {
		for _, s := range seen.Heads {
			switch {
			case s.Writer != h.Writer:
			case s.Seq < h.Seq:
				return &Misfit{"is an older copy of the store", fmt.Sprintf("Its catalogue ends with entry %d of writer %s; entry %d was seen.", s.Seq, s.Writer, h.Seq) + older}
			case s.Seq == h.Seq && s.SHA256 != h.SHA256:
				return &Misfit{"is another copy of the store", fmt.Sprintf("Entry %d of writer %s in its catalogue is another than the one that was seen.", s.Seq, s.Writer) + older}
			}
		}
	}
	return nil
}

// Behind says that this installation wrote something to a store that its state does not know: the state is older than the store, as a copy that
// was put back is. It is nil when the state knows, also by a run that failed after it had published what it took, or nobody can tell, as while a
// run goes on that may just have written it.
func Behind(st *state.Snapshot, address string, last *StoreEvent) *Misfit {
	if last == nil || len(st.OpenRuns) > 0 {
		return nil
	}
	var known int64
	for _, h := range st.Objects[address].Heads {
		if h.Writer == last.Writer {
			known = h.Seq
		}
	}
	i := slices.IndexFunc(st.Catalogue, func(a state.ArtifactBrief) bool { return a.ID == last.Artifact })
	if last.Seq <= known || i >= 0 && (!last.Deleted || st.Catalogue[i].State == state.ArtifactExpiring) {
		return nil
	}
	for _, r := range st.LastRuns {
		if !r.Status.Good() && !last.Deleted && !last.Named.Before(r.StartedAt.Truncate(time.Millisecond)) && !last.Named.After(r.EndedAt) {
			return nil
		}
	}
	did := "took"
	if last.Deleted {
		did = "deleted"
	}
	return &Misfit{"knows more than this state", fmt.Sprintf(
		"This installation %s artifact %s there with entry %d of its catalogue, and this state knows it up to entry %d: an older copy of the state was put back, or runs failed after "+
			"they had published what they took. "+
			"Nothing is written to the store, and nothing in it is deleted, until the record is complete: holdfast store rescan %s.",
		did, last.Artifact, last.Seq, known, config.Address(address).Name())}
}

// Mark is what is recorded of a store.
func Mark(o state.Object) StoreMark {
	return StoreMark{Identity: o.Identity, Epoch: o.Epoch, Heads: o.Heads}
}

// Mark is what a store's place was seen to carry.
func (s StoreSeen) Mark() StoreMark {
	return StoreMark{Identity: s.Identity, Epoch: s.Epoch, Heads: s.Heads}
}
