package providertest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/holdfast-dr/holdfast/providers"
)

// storeDiesInInit: marking a place, and taking it over, can be begun again wherever it broke off.
func storeDiesInInit(t *testing.T, at StorePlace) {
	for n := 1; at.Dies(t, "", n, func(s providers.Store) error { return s.Init(t.Context(), storeIdentity) }); n++ {
		must(t, at.Open(t, "").Init(t.Context(), storeIdentity))
		info, err := at.Open(t, storeIdentity).Stat(t.Context())
		if err != nil || info.Identity != storeIdentity {
			t.Fatalf("init after it died at %d: %+v, %v", n, info, err)
		}
	}
	Put(t, at.Open(t, storeIdentity), NewRef("d", "a", providers.ExportDomain), Content{"export.zip", []byte("x")})
	for n := 1; at.Dies(t, storeIdentity, n, func(s providers.Store) error { return s.Adopt(t.Context(), storeIdentity) }); n++ {
		s := at.Open(t, storeIdentity)
		before, err := s.Stat(t.Context())
		must(t, err)
		must(t, s.Adopt(t.Context(), storeIdentity))
		after, err := s.Stat(t.Context())
		if err != nil || after.Epoch <= before.Epoch {
			t.Fatalf("adopt after it died at %d: epoch %d, before %d, %v", n, after.Epoch, before.Epoch, err)
		}
		at.nothingFound(t, nil)
	}
}

// aftermaths are what may follow when a process died at work on an artifact. None may leave one that is there and not in the catalogue: if
// it is lost then, nobody misses it.
var aftermaths = map[string]func(*testing.T, StorePlace, providers.Manifest) error{
	"it is looked for, and committed again": func(t *testing.T, at StorePlace, m providers.Manifest) error {
		s := at.Open(t, storeIdentity)
		switch found, err := s.Get(t.Context(), m.ArtifactRef); {
		case errors.Is(err, providers.ErrNotFound):
			return s.Discard(t.Context(), m.ID)
		case err != nil:
			return err
		default:
			_, err = s.Commit(t.Context(), found)
			return err
		}
	},
	"it is given up": func(t *testing.T, at StorePlace, m providers.Manifest) error {
		return at.Open(t, storeIdentity).Discard(t.Context(), m.ID)
	},
	"it is begun anew": func(t *testing.T, at StorePlace, m providers.Manifest) error {
		s := at.Open(t, storeIdentity)
		_, err := s.Stage(t.Context(), m.ArtifactRef)
		return errors.Join(err, s.Discard(t.Context(), m.ID))
	},
	"it is swept": func(t *testing.T, at StorePlace, _ providers.Manifest) error {
		at.Age(t)
		_, err := at.Open(t, storeIdentity).Sweep(t.Context(), func(providers.ArtifactID) bool { return false })
		return err
	},
}

func storeDiesInCommit(t *testing.T, at StorePlace) {
	s := openNew(t, at)
	for _, action := range []providers.Action{providers.SecureBackup, providers.ExportDomain} {
		for name, follow := range aftermaths {
			died, all := true, map[providers.ArtifactID]string{}
			for n := 1; died; n++ {
				m := PutStaged(t, s, NewRef("d", "a", action), Content{"export.zip", []byte("x")}, Content{"second", []byte("y")})
				all[m.ID] = fmt.Sprintf("%s: commit died at %d, then %s", action, n, name)
				died = at.Dies(t, storeIdentity, n, func(s providers.Store) error {
					_, err := s.Commit(t.Context(), m)
					return err
				})
				if err := follow(t, at, m); err != nil {
					t.Errorf("%s: %v", all[m.ID], err)
				}
			}
			at.nothingFound(t, all)
		}
	}
	for _, r := range RecoverAll(t, at.Open(t, storeIdentity)) {
		if r.Condition != providers.Intact || r.Uncatalogued {
			t.Errorf("recovered %s as %s, uncatalogued: %t", r.Manifest.ID, r.Condition, r.Uncatalogued)
		}
	}
}

func storeDiesInDelete(t *testing.T, at StorePlace) {
	s := openNew(t, at)
	for _, action := range []providers.Action{providers.SecureBackup, providers.ExportDomain} {
		for _, again := range []bool{false, true} {
			died, all := true, map[providers.ArtifactID]string{}
			for n := 1; died; n++ {
				m := Put(t, s, NewRef("d", "a", action), Content{"export.zip", []byte("x")}, Content{"second", []byte("y")})
				all[m.ID] = fmt.Sprintf("%s: delete died at %d, called again: %t", action, n, again)
				died = at.Dies(t, storeIdentity, n, func(s providers.Store) error { return s.Delete(t.Context(), m.ArtifactRef) })
				if again {
					must(t, s.Delete(t.Context(), m.ArtifactRef))
				}
				must(t, aftermaths["it is swept"](t, at, m))
			}
			at.nothingFound(t, all)
		}
	}
	for _, r := range RecoverAll(t, at.Open(t, storeIdentity)) {
		if r.Condition != providers.Intact && r.Condition != providers.Deleted {
			t.Errorf("recovered %s as %s: %s", r.Manifest.ID, r.Condition, r.Detail)
		}
	}
}

// nothingFound checks the place, and says what was done to the artifact of a finding.
func (at StorePlace) nothingFound(t *testing.T, done map[providers.ArtifactID]string) {
	t.Helper()
	for _, f := range Findings(t, at.Open(t, storeIdentity)) {
		t.Errorf("%s: found %+v", done[f.Artifact], f)
	}
}
