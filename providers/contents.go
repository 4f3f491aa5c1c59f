package providers

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"
)

// Parts is how the artifacts of a device type are looked into and put back in parts. It belongs to the type and not to an open device: what
// lies in an artifact is enough, and neither the device nor its secrets are needed.
type Parts struct {
	// Refuse says why artifacts of an action cannot be put back in parts (RestoreRequest.Include), into a directory or, with intoDevice,
	// into the device itself; nil: they can. It needs no I/O.
	Refuse func(settings any, action Action, intoDevice bool) error
	// Contents lists what is inside an artifact. It holds a bounded part of the list in memory. What is there only for the artifact, such
	// as its checksums, is not listed.
	Contents func(ctx context.Context, settings any, action Action, src Source) Contents
}

// Contents gives the entries of an artifact in its own order, which need not be sorted. An error ends it.
type Contents = iter.Seq2[Entry, error]

// Entry is one thing inside an artifact that can be put back by itself: a file of an archive, a table of a database.
type Entry struct {
	// Path names it to people and to the patterns of package glob: relative, slash separated, of any bytes but NUL. Of what a restore into
	// a directory writes it is the path below that directory.
	Path     string
	Kind     string    // "file", "dir", "symlink", or a word of the device's own, such as "table"
	Size     int64     // bytes that a restore writes of it; -1: not known
	Mode     string    // permission bits, octal; empty: it has none
	Modified time.Time // zero: not known
	Target   string    // of links
}

// Failing is the contents of an artifact that cannot be listed.
func Failing(err error) Contents { return func(yield func(Entry, error) bool) { yield(Entry{}, err) } }

// Parts says why artifacts of an action of the device at an address cannot be put back in parts, into a directory or, with intoDevice, into
// the device itself; nil: they can.
func (o *Opener) Parts(address string, action Action, intoDevice bool) error {
	t, settings, err := o.deviceType(address)
	if err != nil {
		return err
	}
	if t.Parts == nil {
		return fmt.Errorf("devices of type %q put their artifacts back whole: %w", t.Type, errors.ErrUnsupported)
	}
	return t.Parts.Refuse(settings, action, intoDevice)
}

// Contents lists what is inside an artifact of the device at an address. Where the device type cannot look into it, these are its files as
// they were captured.
func (o *Opener) Contents(ctx context.Context, address string, action Action, src Source) Contents {
	t, settings, err := o.deviceType(address)
	switch {
	case err != nil:
		return Failing(err)
	case t.Parts == nil:
		return FilesOf(src)
	}
	return t.Parts.Contents(ctx, settings, action, src)
}

// FilesOf lists the files of an artifact as they were captured.
func FilesOf(src Source) Contents {
	return func(yield func(Entry, error) bool) {
		for _, f := range src.Files() {
			if !yield(Entry{Path: f.Name, Kind: "file", Size: f.Size}, nil) {
				return
			}
		}
	}
}

// deviceType gives the type of the device at an address, and its settings.
func (o *Opener) deviceType(address string) (t DeviceType, settings any, err error) {
	spec, err := o.Lookup(address)
	if err != nil {
		return t, nil, err
	}
	if t, err = o.Registry.Device(spec.Type); err != nil {
		return t, nil, err
	}
	settings = t.Settings()
	return t, settings, decode(address, spec.Body, settings)
}
