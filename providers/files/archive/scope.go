package archive

import (
	"context"
	"encoding/json"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/holdfast-dr/holdfast/config/glob"
	"github.com/holdfast-dr/holdfast/providers"
)

// Rules say what of a tree is captured. They are kept in the artifact, so that a restore knows what a capture left out.
type Rules struct {
	Include   []string `json:"include,omitempty"`    // patterns of what is taken; none: everything
	Exclude   []string `json:"exclude,omitempty"`    // patterns of what of it is left out
	Caches    bool     `json:"caches,omitempty"`     // the content of directories with a CACHEDIR.TAG is left out
	IfPresent []string `json:"if_present,omitempty"` // the content of directories with a file of such a name is left out
	NoDump    bool     `json:"nodump,omitempty"`     // what carries the flag nodump is left out
}

// Scope applies rules. Paths are relative to the tree and slash separated.
type Scope struct {
	rules            Rules
	include, exclude glob.Matcher
}

// NewScope reads the patterns of rules.
func NewScope(rules Rules) (s Scope, err error) {
	s.rules = rules
	if s.include, err = glob.Compile(rules.Include); err != nil {
		return s, err
	}
	s.exclude, err = glob.Compile(rules.Exclude)
	return s, err
}

// Idle tells after a walk of the whole tree which patterns have matched nothing. Exclusions for every level are not told: they
// are often written in case something is there.
func (s *Scope) Idle() (all []string) {
	for _, p := range s.include.Idle() {
		all = append(all, fmt.Sprintf("the include pattern %q matched nothing", p))
	}
	for _, p := range s.exclude.IdlePlaces() {
		all = append(all, fmt.Sprintf("the exclude pattern %q matched nothing", p))
	}
	return all
}

// takes reports whether the patterns take a path itself.
func (s *Scope) takes(path string, isDir bool) bool {
	return !s.exclude.Match(path, isDir) && (s.include.Empty() || s.include.Match(path, isDir))
}

// LeavesOut reports whether the patterns take nothing at a path, neither it nor anything below it.
func (s *Scope) LeavesOut(path string, isDir bool) bool {
	return s.exclude.Match(path, isDir) || !s.include.Empty() && !s.include.Match(path, isDir) && !(isDir && s.include.MayMatchBelow(path))
}

// LeavesOutEntry reports the same of a name in an open directory, which may carry the flag nodump.
func (s *Scope) LeavesOutEntry(dir int, name, path string, isDir bool) bool {
	return s.LeavesOut(path, isDir) || s.rules.NoDump && noDump(dir, name)
}

func noDump(dir int, name string) bool {
	var st unix.Statx_t
	err := unix.Statx(dir, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE, &st)
	return err == nil && st.Attributes&unix.STATX_ATTR_NODUMP != 0
}

// The mark of a directory whose content can be made again (https://bford.info/cachedir/).
const (
	cacheTag       = "CACHEDIR.TAG"
	cacheSignature = "Signature: 8a477f597d28d172789f06886806bc55"
)

// Tag gives the name of the file in an open directory that says that the rest of it is left out; empty: there is none.
func (s *Scope) Tag(dir int) string {
	if s.rules.Caches && isCache(dir) {
		return cacheTag
	}
	for _, name := range s.rules.IfPresent {
		var st unix.Stat_t
		if unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
			return name
		}
	}
	return ""
}

func isCache(dir int) bool {
	fd, err := openRetry(dir, cacheTag, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	b := make([]byte, len(cacheSignature))
	n, err := preadFull(fd, b, 0)
	return err == nil && string(b[:n]) == cacheSignature
}

// rulesLine is the line of a tree's rules in the listing, before those of entries.
func (t *Tree) rulesLine() ([]byte, error) {
	b, err := json.Marshal(line{Path: t.Prefix, Type: kindRules, Rules: &t.Scope.rules})
	return append(b, '\n'), err
}

// LeftOut is what a capture did not take, as its artifact tells.
type LeftOut struct {
	Rules *Rules          // nil: an older artifact, which does not tell
	Paths map[string]bool // what could not be read, and what is holdfast's own
}

// ReadLeftOut reads the listing of an export.
func ReadLeftOut(ctx context.Context, src providers.Source) (LeftOut, error) {
	left := LeftOut{Paths: map[string]bool{}}
	err := eachLine(ctx, src, func(l *line) bool {
		switch {
		case l.Type == kindRules:
			left.Rules = l.Rules
		case l.Type == kindSkipped, l.Incomplete:
			left.Paths[l.path()] = true
		}
		return true
	})
	return left, err
}
