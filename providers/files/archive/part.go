package archive

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/config/glob"
	"github.com/holdfast-dr/holdfast/providers"
)

// Contents lists the entries of an artifact. It reads its listing, not its archive.
func Contents(ctx context.Context, src providers.Source) providers.Contents {
	return func(yield func(providers.Entry, error) bool) {
		err := eachLine(ctx, src, func(l *line) bool { return l.Path == "." || !l.inArchive() || yield(l.entry(), nil) })
		if err != nil {
			yield(providers.Entry{}, err)
		}
	}
}

func (l *line) entry() providers.Entry {
	return providers.Entry{
		Path: l.path(), Kind: l.Type, Size: l.Size, Mode: l.Mode, Modified: time.Unix(0, l.MTime).UTC(), Target: l.target(),
	}
}

// eachLine reads the listing of an artifact to its end, or until a line is not wanted.
func eachLine(ctx context.Context, src providers.Source, want func(*line) bool) error {
	if err := checkFiles(src); err != nil {
		return err
	}
	listing, err := openZstd(ctx, src, listingName)
	if err != nil {
		return err
	}
	defer listing.Close()
	x := &extractor{listing: bufio.NewReaderSize(listing, 64<<10)}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		switch l, err := x.anyLine(); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case !want(l):
			return nil
		}
	}
}

func checkFiles(src providers.Source) error {
	if files := src.Files(); len(files) != 2 || files[1].Name != listingName {
		return fmt.Errorf("%w: an artifact of a files device has an archive and %s", providers.ErrCorrupt, listingName)
	}
	return nil
}

// part is what of an archive is put back. Of a nil part it is everything.
type part struct {
	chosen  glob.Matcher
	dirs    map[string]bool   // that hold something chosen
	instead map[string]string // files that are not chosen: a chosen hard link to each, which gets its content
	left    int               // entries that are still needed
}

// choose reads from the listing what the patterns are about. What it keeps grows with what is chosen.
func choose(ctx context.Context, src providers.Source, patterns []string) (*part, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	chosen, err := glob.Compile(patterns)
	if err != nil {
		return nil, err
	}
	p := &part{chosen: chosen, dirs: map[string]bool{}, instead: map[string]string{}}
	if err := eachLine(ctx, src, p.note); err != nil {
		return nil, err
	}
	if p.left == 0 && len(p.dirs) == 0 {
		return nil, fmt.Errorf("nothing in the artifact matches %q: %w", patterns, providers.ErrNotFound)
	}
	p.left += len(p.instead) + len(p.dirs)
	return p, nil
}

func (p *part) note(l *line) bool {
	path := l.path()
	if path == "." || !l.inArchive() || !p.chosen.Match(path, l.Type == kindDir) {
		return true
	}
	if l.Type == kindDir {
		p.dirs[path] = true
	} else {
		p.left++
	}
	for dir, at := path, strings.LastIndexByte(path, '/'); at >= 0 && !p.dirs[dir[:at]]; at = strings.LastIndexByte(dir, '/') {
		dir = dir[:at]
		p.dirs[dir] = true
	}
	if to := l.target(); l.Type == kindHardlink && !p.chosen.Match(to, false) && p.instead[to] == "" {
		p.instead[to] = path
	}
	return true
}

// begin makes the directories. They get what they carry when the archive comes to them, which may be after a file in them: the content
// of a hard link lies where its first name was.
func (p *part) begin(t *treeWriter) error {
	if p == nil {
		return nil
	}
	for _, dir := range slices.Sorted(maps.Keys(p.dirs)) {
		if err := checkPath(dir); err != nil {
			return err
		}
		if err := t.emptyDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// take reports whether an entry is put back, and gives it the name under which it is.
func (p *part) take(n *node, l *line) bool {
	switch first, last := p.instead[n.target], p.instead[n.path]; {
	case n.path == ".":
		return true
	case l.Type == kindDir && p.dirs[n.path], l.Type != kindDir && p.chosen.Match(n.path, false):
		p.left--
		if l.Type == kindHardlink && first != "" {
			n.target = first
			return n.path != first
		}
		return true
	case l.Type != kindDir && last != "":
		p.left--
		n.path = last
		return true
	}
	return false
}

// done reports whether nothing more of the archive is needed.
func (p *part) done() bool { return p != nil && p.left == 0 }
