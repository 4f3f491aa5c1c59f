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
	if strings.HasPrefix(ref, "refs/") {
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

// unborn explains a HEAD that leads to no commit.
func unborn(rs refs, branch string) error {
	names, err := rs.Names()
	if err != nil {
		return err
	}
	branches := shortNames(names)
	if len(branches) == 0 {
		return errors.New("the repository has no commits yet; commit the configuration first")
	}
	return fmt.Errorf("branch %s has no commits yet; %s", branch, suggest(branch, "branches and tags", branches))
}

func unknownRef(rs refs, ref string) error {
	names, err := rs.Names()
	if err != nil {
		return err
	}
	short := shortNames(names)
	if len(short) == 0 {
		return errors.New("the repository has no commits yet; commit the configuration first")
	}
	return fmt.Errorf("there is no branch, tag or commit %s; %s", ref, suggest(ref, "branches and tags", short))
}

func shortName(full string) string {
	for _, p := range []string{"refs/heads/", "refs/tags/", "refs/remotes/", "refs/"} {
		if s, ok := strings.CutPrefix(full, p); ok {
			return s
		}
	}
	return full
}

// shortNames keeps branches and tags, branches first, in order.
func shortNames(full []string) []string {
	var branches, tags []string
	for _, n := range full {
		if b, ok := strings.CutPrefix(n, "refs/heads/"); ok {
			branches = append(branches, diag.Printable(b))
		} else if t, ok := strings.CutPrefix(n, "refs/tags/"); ok {
			tags = append(tags, diag.Printable(t))
		}
	}
	slices.Sort(branches)
	slices.Sort(tags)
	return append(branches, tags...)
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
