// Package layout knows where the files of a plain store lie, how they are named
// and what its documents look like. It turns artifacts into paths and paths back into artifacts, and
// reads no clock and no disk.
package layout

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/plain/codec"
)

// Names of the layout, and what limits them.
const (
	MetaDir    = ".holdfast"
	MarkerName = "store.json"
	TmpDir     = MetaDir + "/tmp"
	TrashDir   = MetaDir + "/trash"
	CatalogDir = MetaDir + "/catalog"

	SecureDir      = "secure-backup"
	DomainDir      = "domain"
	SecureManifest = "holdfast-manifest.json"
	exportManifest = ".holdfast.json" // after the stem

	NameLimit   = 255 // bytes a file system takes for one name
	objectLimit = 120 // bytes of a device or domain: it is also a part of file names

	// ShiftLimit is how many milliseconds after its start an artifact may be filed.
	ShiftLimit = 1000
)

var (
	// ValidID matches the ids of artifacts.
	ValidID      = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)
	validVariant = regexp.MustCompile(`^[0-9a-z_-]{1,32}$`)
	validSHA256  = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// CheckRef says what keeps an artifact from having a place in the layout.
func CheckRef(ref providers.ArtifactRef) error {
	switch year := ref.Started.UTC().Year(); {
	case !ValidID.MatchString(string(ref.ID)):
		return fmt.Errorf("%q is not an artifact id", ref.ID)
	case ref.Device == "":
		return fmt.Errorf("artifact %s names no device", ref.ID)
	case ref.Action != providers.SecureBackup && ref.Action != providers.ExportDomain:
		return fmt.Errorf("artifact %s has the unknown action %q", ref.ID, ref.Action)
	case ref.Action == providers.ExportDomain && ref.Domain == "":
		return fmt.Errorf("artifact %s names no domain", ref.ID)
	case ref.Variant != "" && !validVariant.MatchString(string(ref.Variant)):
		return fmt.Errorf("artifact %s has the unusable variant %q", ref.ID, ref.Variant)
	case year < 1 || year > 9999:
		return fmt.Errorf("artifact %s starts in the year %d", ref.ID, year)
	}
	return nil
}

// Place is where one artifact lies.
type Place struct {
	Dir      string // of its files and its manifest, below the root
	Stem     string // what the names of an export's files begin with; empty for a secure backup
	Manifest string // file name
}

// ManifestPath is the path of the manifest in the store.
func (p Place) ManifestPath() string { return path.Join(p.Dir, p.Manifest) }

// Home is the directory that an artifact's possible places are entries of.
func Home(ref providers.ArtifactRef) string {
	device := escapeDevice(ref.Device)
	if ref.Action == providers.SecureBackup {
		return path.Join(device, SecureDir)
	}
	return path.Join(device, DomainDir, Escape(ref.Domain, objectLimit))
}

// olderHome is where DPOD files exports of all domains by its example, beside where it does by its text. Nothing
// is written there.
func olderHome(ref providers.ArtifactRef) string {
	if ref.Action != providers.ExportDomain || ref.Domain != providers.AllDomains {
		return ""
	}
	return path.Join(escapeDevice(ref.Device), providers.AllDomains)
}

// placeAt is the place of an artifact filed under a time.
func placeAt(ref providers.ArtifactRef, at time.Time) Place {
	if ref.Action == providers.SecureBackup {
		return Place{Dir: path.Join(Home(ref), Stamp(at)), Manifest: SecureManifest}
	}
	variant := ref.Variant
	if variant == "" {
		variant = providers.Persisted
	}
	stem := exportPrefix(ref) + Stamp(at) + "-" + string(variant)
	return Place{Dir: Home(ref), Stem: stem, Manifest: stem + exportManifest}
}

// Shifted is the place of an artifact that found n earlier ones taken.
func Shifted(ref providers.ArtifactRef, n int) Place {
	return placeAt(ref, ref.Started.UTC().Truncate(time.Millisecond).Add(time.Duration(n)*time.Millisecond))
}

// PlaceOf is the place that a directory entry of Home(ref) stands for, if it is one.
func PlaceOf(action providers.Action, homeDir, entry string) (Place, bool) {
	if action == providers.SecureBackup {
		return Place{Dir: path.Join(homeDir, entry), Manifest: SecureManifest}, true
	}
	stem, ok := strings.CutSuffix(entry, exportManifest)
	return Place{Dir: homeDir, Stem: stem, Manifest: entry}, ok && stem != ""
}

// Near reports whether an entry of Home(ref) can be the artifact's own place.
func Near(ref providers.ArtifactRef, entry string) bool {
	if ref.Action == providers.ExportDomain {
		rest, ok := strings.CutPrefix(entry, exportPrefix(ref))
		if !ok || len(rest) < len(stampLayout) {
			return false
		}
		entry = rest[:len(stampLayout)]
	}
	at, ok := parseStamp(entry)
	after := at.Sub(ref.Started.UTC().Truncate(time.Millisecond))
	return ok && after >= 0 && after < ShiftLimit*time.Millisecond
}

func exportPrefix(ref providers.ArtifactRef) string {
	return Escape(ref.Domain, objectLimit) + "-export-"
}

// Names gives the file names of an artifact's files, in their order and without repetition.
func (p Place) Names(files []providers.File) []string {
	used := map[string]bool{p.Manifest: true}
	names := make([]string, len(files))
	for i, f := range files {
		prefix, name := p.fileName(i, f)
		for used[prefix+name] {
			name = respell(name)
		}
		used[prefix+name] = true
		names[i] = prefix + name
	}
	return names
}

// fileName names one file. A secure backup's keep the device's names. An
// export's main file keeps the suffix of its name; the others are
// told apart by their whole names. What the store did to the content follows as a suffix.
func (p Place) fileName(i int, f providers.File) (prefix, rest string) {
	name, done := f.Name, codec.Suffix(f)
	limit := NameLimit - len(done) - 4 // for two respellings
	if p.Stem == "" {
		return "", Escape(name, limit) + done
	}
	if i == 0 {
		_, suffix, found := strings.Cut(name, ".")
		if !found {
			return p.Stem, done
		}
		name = suffix
	}
	prefix = p.Stem + "."
	return prefix, Escape(name, limit-len(prefix)) + done
}

// StagedName is the name of a file while it is staged, whatever is done to its content.
func StagedName(name string) string { return Escape(name, NameLimit) }

// Holds reports whether a path from a manifest lies at this place.
func (p Place) Holds(file string) bool {
	dir, base := path.Split(file)
	if dir != p.Dir+"/" || base == "" || base == "." || base == ".." || base == p.Manifest || strings.ContainsAny(base, "\x00\\") {
		return false
	}
	return p.Stem == "" || base == p.Stem || strings.HasPrefix(base, p.Stem+".")
}

const stampLayout = "2006-01-02-15-04-05.000"

// Stamp is a time as paths have it, in UTC.
func Stamp(t time.Time) string {
	return strings.Replace(t.UTC().Format(stampLayout), ".", "-", 1)
}

func parseStamp(s string) (time.Time, bool) {
	dot := len(stampLayout) - len("000") - 1
	if len(s) != len(stampLayout) || s[dot] != '-' {
		return time.Time{}, false
	}
	t, err := time.Parse(stampLayout, s[:dot]+"."+s[dot+1:])
	return t, err == nil
}

// escapeDevice escapes a device's name. It stands at the top of the store,
// where ext4 keeps a directory of its own.
func escapeDevice(name string) string {
	if name == LostFound {
		return respell(name)
	}
	return Escape(name, objectLimit)
}

// LostFound is a directory that ext4 keeps at the top of a file system.
const LostFound = "lost+found"

// Escape makes any name a file name of at most limit bytes that no file system
// here rejects or reads as something else. Different names give different file
// names: bytes that cannot stand as they are become %XX, and of a name that
// is too long the beginning is kept, followed by "%~" and its hash.
func Escape(name string, limit int) string {
	if name == "" {
		return "%"
	}
	var b strings.Builder
	cut := 0 // longest prefix that leaves room for the hash
	const tail = 2 + 32
	for i, size := 0, 0; i < len(name); i += size {
		var r rune
		r, size = utf8.DecodeRuneInString(name[i:])
		invalid := r == utf8.RuneError && size == 1
		first, last := i == 0, i+size == len(name)
		switch {
		case invalid, r == '%', r == '/', r == '\\', !unicode.IsPrint(r),
			r == '.' && (first || last), r == ' ' && (first || last):
			for _, c := range []byte(name[i : i+size]) {
				fmt.Fprintf(&b, "%%%02X", c)
			}
		default:
			b.WriteString(name[i : i+size])
		}
		if b.Len() <= limit-tail {
			cut = b.Len()
		}
	}
	if b.Len() <= limit {
		return b.String()
	}
	sum := sha256.Sum256([]byte(name))
	return b.String()[:cut] + "%~" + hex.EncodeToString(sum[:16])
}

// respell gives an escaped name another spelling, which Escape never produces.
func respell(escaped string) string { return "%=" + escaped }
