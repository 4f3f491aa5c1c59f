// Package source turns a git commit or a directory into an fs.FS of
// configuration files. Only it and the package below it know git.
//
// A commit is read from its objects: nothing is checked out, no hook and no
// program runs, and links, submodules and special files are never followed. A
// directory is read once, into memory, so that Info.Dirty speaks of the very
// bytes the caller parses.
package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/source/remote"
)

// Spec names what to read: either Dir or Repo.
type Spec struct {
	Dir  string // a directory, in git or not
	Repo string // a local repository or file://, https://, ssh:// or user@host:path
	Ref  string // with Repo: branch, tag, refs/..., commit id (4 digits or more, 40 for a remote); default HEAD
	Path string // folder inside Dir or the commit, with slashes; default its root
}

// Info says where configuration came from. It never holds a credential.
type Info struct {
	Repo    string    `json:"repo,omitempty"`    // repository, as a person would recognise it; empty outside git
	Commit  string    `json:"commit,omitempty"`  // 40 digits; empty for a directory without a commit
	Ref     string    `json:"ref,omitempty"`     // short name of the branch or tag; empty when detached or named by id
	Subject string    `json:"subject,omitempty"` // first line of the commit message
	Author  string    `json:"author,omitempty"`
	Time    time.Time `json:"time,omitzero"` // when the commit was made, UTC
	// Dirty says that the configuration files are not those of Commit: changed,
	// added or removed, or there is no commit at all.
	Dirty bool   `json:"dirty"`
	Path  string `json:"path,omitempty"` // folder inside the repository; empty for its root
}

// Source is opened configuration. FS is safe for concurrent use until Close;
// its root was checked: every configuration file is a plain file within limits.
type Source struct {
	Info Info
	FS   fs.FS

	// Unknown says why the commit of a directory is not known although there is
	// a repository around it. Its files are read all the same.
	Unknown error

	ancestry func(ctx context.Context, ancestor string) (Descent, error)
	release  []func() error
}

// Close frees what the source holds open. FS must not be used afterwards.
func (s *Source) Close() error {
	var errs []error
	for _, f := range s.release {
		errs = append(errs, f())
	}
	s.release = nil
	return errors.Join(errs...)
}

// Open reads the configuration that spec names. Its errors say what is wrong
// and what to do. The caller closes the source. A remote repository gets 60
// seconds, or less when ctx ends earlier.
func Open(ctx context.Context, spec Spec) (s *Source, err error) {
	defer guard(&err)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	folder, err := cleanPath(spec.Path)
	if err != nil {
		return nil, err
	}
	switch {
	case spec.Dir != "" && spec.Repo != "":
		return nil, errors.New("both a directory and a repository are given; give one")
	case spec.Dir != "" && spec.Ref != "":
		return nil, fmt.Errorf("a directory is read as it lies on disk, so ref %q cannot apply; name a repository instead of a directory", spec.Ref)
	case spec.Dir != "":
		return openDir(spec.Dir, folder)
	case spec.Repo != "":
		return openRepo(ctx, spec, folder)
	}
	return nil, errors.New("no source is given; name a directory or a repository")
}

func openRepo(ctx context.Context, spec Spec, folder string) (*Source, error) {
	loc, err := remote.Parse(spec.Repo)
	if err != nil {
		return nil, err
	}
	if err := checkRef(spec.Ref); err != nil {
		return nil, err
	}
	if loc.OnServer() {
		return openRemote(ctx, loc, spec.Ref, folder)
	}
	s, err := openCommit(loc.Path, spec.Ref, folder)
	if errors.Is(err, errMissing) {
		// git gc may have moved the objects while they were looked for.
		s, err = openCommit(loc.Path, spec.Ref, folder)
	}
	return s, err
}

func openCommit(path, ref, folder string) (*Source, error) {
	r, err := openLocal(path)
	if err != nil {
		return nil, err
	}
	s, err := r.source(ref, folder)
	if err != nil {
		return nil, errors.Join(err, r.db.Close())
	}
	return s, nil
}

// source makes a Source of the commit that ref names in a local repository.
func (r *repository) source(ref, folder string) (*Source, error) {
	name, id, err := r.resolve(ref)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", r.where, err)
	}
	s, err := commitSource(r.db, r.where, name, id, folder)
	if err != nil {
		return nil, err
	}
	s.ancestry = func(ctx context.Context, ancestor string) (Descent, error) {
		return r.history().descent(ctx, s.Info.Commit, ancestor)
	}
	return s, nil
}

// guard turns a panic into an error. The git library has panicked on damaged
// and hostile objects before; such a repository must not stop an agent that
// also watches over failovers.
func guard(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("the repository is damaged in a way the git library cannot handle (%s); check it with git fsck", diag.Printable(fmt.Sprint(r)))
	}
}
