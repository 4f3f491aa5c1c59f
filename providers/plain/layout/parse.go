package layout

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/holdfast-dr/holdfast/providers"
)

// ExportOf is the place of the export that a file in a domain's directory belongs to by its name:
// <domain>-export-<time>-<variant>, and from the first dot on what it likes.
func ExportOf(rel, name string) (Place, bool) {
	head := path.Base(rel) + "-export-"
	rest, ok := strings.CutPrefix(name, head)
	if !ok || len(rest) < len(stampLayout)+len("-p") {
		return Place{}, false
	}
	at, variant := rest[:len(stampLayout)], rest[len(stampLayout):]
	variant, _, _ = strings.Cut(variant, ".")
	_, ok = parseStamp(at)
	stem := head + at + variant
	return Place{Dir: rel, Stem: stem, Manifest: stem + exportManifest}, ok && variant[0] == '-' && validVariant.MatchString(variant[1:])
}

// RefOf reads an artifact's reference from its place. The id is made of time and place, and so the same each time.
func RefOf(action providers.Action, p Place) (providers.ArtifactRef, error) {
	parts := strings.Split(p.Dir, "/")
	ref := providers.ArtifactRef{Device: Unescape(parts[0]), Domain: providers.AllDomains, Action: action}
	at := parts[len(parts)-1]
	if action == providers.ExportDomain {
		ref.Domain = Unescape(at)
		at, ref.Variant = p.Stem[len(parts[len(parts)-1]+"-export-"):], providers.Variant(p.Stem[strings.LastIndexByte(p.Stem, '-')+1:])
		at = at[:len(stampLayout)]
	}
	var ok bool
	if ref.Started, ok = parseStamp(at); !ok {
		return ref, fmt.Errorf("%q is not a time", at)
	}
	sum := sha256.Sum256([]byte(p.ManifestPath()))
	id, err := ulid.New(uint64(max(0, ref.Started.UnixMilli())), bytes.NewReader(sum[:]))
	if err != nil {
		return ref, err
	}
	ref.ID = providers.ArtifactID(id.String())
	if err := CheckRef(ref); err != nil {
		return ref, err
	}
	if want := Shifted(ref, 0); want.Dir != p.Dir && olderHome(ref) != p.Dir {
		return ref, errors.New("the names of its directories are cut short, so device and domain are not known")
	}
	return ref, nil
}

// Unescape undoes Escape, but for names that were cut short.
func Unescape(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if name[i] == '%' && i+3 <= len(name) {
			if c, err := strconv.ParseUint(name[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(c))
				i += 2
				continue
			}
		}
		b.WriteByte(name[i])
	}
	return b.String()
}

// PlaceHolding finds which of an artifact's possible places a path belongs to.
func PlaceHolding(ref providers.ArtifactRef, file string) (Place, bool) {
	if dir, base := path.Split(file); dir == olderHome(ref)+"/" {
		file = path.Join(Home(ref), base)
	}
	for n := range ShiftLimit {
		if p := Shifted(ref, n); p.Holds(file) {
			return p, true
		}
	}
	return Place{}, false
}

// Named is when the ID of an artifact was made, in milliseconds; the zero time for what is no ID.
func Named(id providers.ArtifactID) time.Time {
	parsed, err := ulid.ParseStrict(string(id))
	if err != nil {
		return time.Time{}
	}
	return parsed.Timestamp().UTC()
}
