package plain

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

const (
	metaDir    = ".holdfast"
	markerName = "store.json"
	tmpDir     = metaDir + "/tmp"
	trashDir   = metaDir + "/trash"
	catalogDir = metaDir + "/catalog"

	secureDir      = "secure-backup"
	domainDir      = "domain"
	secureManifest = "holdfast-manifest.json"
	exportManifest = ".holdfast.json" // after the stem

	nameLimit   = 255 // bytes a file system takes for one name
	objectLimit = 120 // bytes of a device or domain: it is also a part of file names

	// shiftLimit is how many milliseconds after its start an artifact may be filed.
	shiftLimit = 1000
)

var (
	validID      = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)
	validVariant = regexp.MustCompile(`^[0-9a-z_-]{1,32}$`)
	validSHA256  = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// checkRef says what keeps an artifact from having a place in the layout.
func checkRef(ref providers.ArtifactRef) error {
	switch year := ref.Started.UTC().Year(); {
	case !validID.MatchString(string(ref.ID)):
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

// place is where one artifact lies.
type place struct {
	dir      string // of its files and its manifest, below the root
	stem     string // what the names of an export's files begin with; empty for a secure backup
	manifest string // file name
}

func (p place) manifestPath() string { return path.Join(p.dir, p.manifest) }

// home is the directory that an artifact's possible places are entries of.
func home(ref providers.ArtifactRef) string {
	device := escapeDevice(ref.Device)
	if ref.Action == providers.SecureBackup {
		return path.Join(device, secureDir)
	}
	return path.Join(device, domainDir, escape(ref.Domain, objectLimit))
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
func placeAt(ref providers.ArtifactRef, at time.Time) place {
	if ref.Action == providers.SecureBackup {
		return place{dir: path.Join(home(ref), stamp(at)), manifest: secureManifest}
	}
	variant := ref.Variant
	if variant == "" {
		variant = providers.Persisted
	}
	stem := exportPrefix(ref) + stamp(at) + "-" + string(variant)
	return place{dir: home(ref), stem: stem, manifest: stem + exportManifest}
}

// shifted is the place of an artifact that found n earlier ones taken.
func shifted(ref providers.ArtifactRef, n int) place {
	return placeAt(ref, ref.Started.UTC().Truncate(time.Millisecond).Add(time.Duration(n)*time.Millisecond))
}

// placeOf is the place that a directory entry of home(ref) stands for, if it is one.
func placeOf(action providers.Action, homeDir, entry string) (place, bool) {
	if action == providers.SecureBackup {
		return place{dir: path.Join(homeDir, entry), manifest: secureManifest}, true
	}
	stem, ok := strings.CutSuffix(entry, exportManifest)
	return place{dir: homeDir, stem: stem, manifest: entry}, ok && stem != ""
}

// near reports whether an entry of home(ref) can be the artifact's own place.
func near(ref providers.ArtifactRef, entry string) bool {
	if ref.Action == providers.ExportDomain {
		rest, ok := strings.CutPrefix(entry, exportPrefix(ref))
		if !ok || len(rest) < len(stampLayout) {
			return false
		}
		entry = rest[:len(stampLayout)]
	}
	at, ok := parseStamp(entry)
	after := at.Sub(ref.Started.UTC().Truncate(time.Millisecond))
	return ok && after >= 0 && after < shiftLimit*time.Millisecond
}

func exportPrefix(ref providers.ArtifactRef) string {
	return escape(ref.Domain, objectLimit) + "-export-"
}

// names gives the file names of an artifact's files, in their order and without repetition.
func (p place) names(files []providers.File) []string {
	used := map[string]bool{p.manifest: true}
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
func (p place) fileName(i int, f providers.File) (prefix, rest string) {
	name, done := f.Name, codec.Suffix(f)
	limit := nameLimit - len(done) - 4 // for two respellings
	if p.stem == "" {
		return "", escape(name, limit) + done
	}
	if i == 0 {
		_, suffix, found := strings.Cut(name, ".")
		if !found {
			return p.stem, done
		}
		name = suffix
	}
	prefix = p.stem + "."
	return prefix, escape(name, limit-len(prefix)) + done
}

// stagedName is the name of a file while it is staged, whatever is done to its content.
func stagedName(name string) string { return escape(name, nameLimit) }

// holds reports whether a path from a manifest lies at this place.
func (p place) holds(file string) bool {
	dir, base := path.Split(file)
	if dir != p.dir+"/" || base == "" || base == "." || base == ".." || base == p.manifest || strings.ContainsAny(base, "\x00\\") {
		return false
	}
	return p.stem == "" || base == p.stem || strings.HasPrefix(base, p.stem+".")
}

const stampLayout = "2006-01-02-15-04-05.000"

func stamp(t time.Time) string {
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
	if name == lostFound {
		return respell(name)
	}
	return escape(name, objectLimit)
}

const lostFound = "lost+found"

// escape makes any name a file name of at most limit bytes that no file system
// here rejects or reads as something else. Different names give different file
// names: bytes that cannot stand as they are become %XX, and of a name that
// is too long the beginning is kept, followed by "%~" and its hash.
func escape(name string, limit int) string {
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

// respell gives an escaped name another spelling, which escape never produces.
func respell(escaped string) string { return "%=" + escaped }
