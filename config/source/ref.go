package source

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/holdfast-dr/holdfast/config/diag"
)

// refs are the names of one repository, local or advertised by a server.
type refs interface {
	// Head gives the full name of the branch HEAD names ("" when detached) and
	// its commit (zero when the branch has no commit yet).
	Head() (branch string, id objectID, err error)
	// Find gives what a full name such as refs/heads/main points at.
	Find(name string) (objectID, bool, error)
	// Names lists every full name.
	Names() ([]string, error)
	// Absent says how to get a name that is not there; "" when there is nothing to say.
	Absent(ref string) string
}

// checkRef refuses what can name neither a ref nor a commit, before it reaches
// the library or a server.
func checkRef(ref string) error {
	if ref == "" {
		return nil
	}
	bad := strings.HasPrefix(ref, "-") || strings.Contains(ref, "..") || strings.Contains(ref, "@{") ||
		strings.ContainsAny(ref, " ~^:?*[\\") || diag.Printable(ref) != ref || strings.HasPrefix(ref, "/") || strings.HasSuffix(ref, "/")
	if bad {
		return fmt.Errorf("%q is not a branch, tag or commit id; expressions such as main~1 are not supported", diag.Printable(ref))
	}
	return nil
}

// fetchHead names what was fetched last.
const fetchHead = "FETCH_HEAD"

// pick finds ref among the names: HEAD, refs/..., a branch, a tag, a remote's
// branch. found is false when no name fits; it may still be a commit id.
func pick(rs refs, ref string) (name string, id objectID, found bool, err error) {
	if ref == "" || ref == "HEAD" {
		name, id, err = rs.Head()
		name = shortName(name)
		if err == nil && id.IsZero() {
			err = unborn(rs, name)
		}
		return name, id, true, err
	}
	if isFullID(ref) {
		return "", plumbing.NewHash(ref), false, nil
	}
	candidates := []string{"refs/heads/" + ref, "refs/tags/" + ref, "refs/remotes/" + ref}
	if strings.HasPrefix(ref, "refs/") || ref == fetchHead {
		candidates = []string{ref}
	}
	var fits []string
	for _, c := range candidates {
		at, ok, err := rs.Find(c)
		if err != nil {
			return "", id, false, err
		}
		if !ok {
			continue
		}
		if len(fits) > 0 && at != id {
			return "", id, false, fmt.Errorf("ref %s is ambiguous; write %s or %s", ref, fits[0], c)
		}
		fits, id = append(fits, c), at
	}
	if len(fits) == 0 {
		return "", id, false, nil
	}
	return shortName(fits[0]), id, true, nil
}

var errNoCommits = errors.New("the repository has no commits yet; commit the configuration first")

// unborn explains a HEAD that leads to no commit.
func unborn(rs refs, branch string) error {
	known, err := shortNames(rs)
	switch {
	case err != nil:
		return err
	case len(known) == 0:
		return errNoCommits
	}
	return fmt.Errorf("branch %s has no commits yet; %s", branch, suggest(branch, "branches and tags", known))
}

func unknownRef(rs refs, ref string) error {
	known, err := shortNames(rs)
	if err != nil {
		return err
	}
	if _, id, err := rs.Head(); len(known) == 0 && (err != nil || id.IsZero()) {
		return errors.Join(errNoCommits, err)
	}
	if how := rs.Absent(ref); how != "" && !slices.Contains(known, ref) {
		return fmt.Errorf("there is no branch, tag or commit %s here; %s", ref, how)
	}
	return fmt.Errorf("there is no branch, tag or commit %s; %s", ref, suggest(ref, "branches and tags", known))
}

func shortName(full string) string {
	for _, p := range []string{"refs/heads/", "refs/tags/", "refs/remotes/", "refs/"} {
		if s, ok := strings.CutPrefix(full, p); ok {
			return s
		}
	}
	return full
}

// shortNames lists branches, tags and the branches of remotes, each in order.
func shortNames(rs refs) ([]string, error) {
	full, err := rs.Names()
	if err != nil {
		return nil, err
	}
	slices.Sort(full)
	var short []string
	for _, kind := range []string{"refs/heads/", "refs/tags/", "refs/remotes/"} {
		for _, n := range full {
			if s, ok := strings.CutPrefix(n, kind); ok && !strings.HasSuffix(s, "/HEAD") {
				short = append(short, diag.Printable(s))
			}
		}
	}
	return short, nil
}

func isHex(s string) bool {
	return s != "" && strings.Trim(strings.ToLower(s), "0123456789abcdef") == ""
}

func isFullID(s string) bool { return len(s) == 40 && isHex(s) }

// isPartID says whether s can be the start of a commit id.
func isPartID(s string) bool { return len(s) >= 4 && len(s) < 40 && isHex(s) }

// byPrefix finds the one commit whose id starts with some digits.
func byPrefix(db *database, rs refs, digits string) (objectID, error) {
	ids, err := db.withPrefix(strings.ToLower(digits))
	switch {
	case err != nil:
		return objectID{}, err
	case len(ids) == 0:
		return objectID{}, unknownRef(rs, digits)
	case len(ids) > 1:
		return objectID{}, fmt.Errorf("commit %s is ambiguous: %d commits start like this; give more digits", digits, len(ids))
	}
	return ids[0], nil
}
