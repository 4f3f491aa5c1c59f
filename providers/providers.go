// Package providers holds the contracts to the outside world: devices,
// stores, mirrors and failover targets, their typed errors, and the
// registry that finds an implementation by its name in the configuration. It does no I/O.
package providers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Conditions a caller decides on. Match with errors.Is.
var (
	ErrUnavailable    = errors.New("not reachable")
	ErrNoAnswer       = errors.New("no answer")
	ErrNotFound       = errors.New("not found")
	ErrIdentity       = errors.New("not the store that was recorded")
	ErrNotEmpty       = errors.New("not empty")
	ErrNoSpace        = errors.New("no space left")
	ErrReadOnly       = errors.New("mounted read-only")
	ErrMedium         = errors.New("the medium failed")
	ErrTooSmall       = errors.New("smaller than the minimum")
	ErrChanged        = errors.New("changed while it was read")
	ErrSourceExit     = errors.New("source command failed")
	ErrStaleEpoch     = errors.New("a newer epoch is already there")
	ErrTooManyDeletes = errors.New("too many deletes")
	ErrEmptySource    = errors.New("source is empty")
	ErrNested         = errors.New("one side of the mirror lies in the other")
	ErrCorrupt        = errors.New("content does not match its checksum")
	ErrNoKey          = errors.New("cannot be decrypted")
	ErrSecret         = errors.New("the secret cannot be had")

	// ErrStoreNoAnswer is the ErrNoAnswer of a store.
	ErrStoreNoAnswer = fmt.Errorf("the store gives %w", ErrNoAnswer)
)

// NoSpace gives an error of the operating system that there is no room, as an ErrNoSpace that says so once.
func NoSpace(err error) error { return noSpace{err} }

type noSpace struct{ err error }

func (e noSpace) Error() string        { return e.err.Error() }
func (e noSpace) Unwrap() error        { return e.err }
func (e noSpace) Is(target error) bool { return target == ErrNoSpace }

// Error is a failed call to the outside world.
type Error struct {
	Op     string // verb: "inspect", "capture", "commit"
	Target string // what it was about: an address, a path
	Err    error
	Retry  bool   // the same call may succeed later without anybody acting
	Hint   string // what to do, in a full sentence
}

func (e *Error) Error() string {
	msg := fmt.Sprintf("%s %s: %v", e.Op, e.Target, e.Err)
	if e.Hint != "" {
		msg += " (" + e.Hint + ")"
	}
	return msg
}

func (e *Error) Unwrap() error { return e.Err }

// Retryable reports whether any error in the chain says that the call may succeed later.
func Retryable(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Retry
}

// Secret is a reference to a secret: the address "secret.NAME". Settings
// structs use it for every field that holds a credential; the value is
// resolved through Env.Secret when it is needed.
type Secret string

// Env is what a provider may use of its surroundings.
type Env struct {
	// Secret resolves a reference. The value must not reach logs, errors, argv or records.
	Secret func(ctx context.Context, ref Secret) (string, error)
	// Identity is the recorded identity of a store; empty before Init.
	Identity string
	// Epoch is the recorded epoch of a store; zero when none was recorded.
	Epoch int64
	// Writer names this installation in what it leaves in stores; empty for the host's own name.
	Writer string
	// Protected lists paths of holdfast's own open files, which no walker may open, by any name they have.
	Protected []string
}

// ExportsInPlace is the InPlace of a device type that takes exports back into any domain.
func ExportsInPlace(_ any, action Action, _ string) error {
	if action != ExportDomain {
		return fmt.Errorf("a %s in place: %w", action, errors.ErrUnsupported)
	}
	return nil
}

// DeviceType, StoreType, TargetType and MirrorType describe one implementation. Settings returns a
// pointer to a fresh settings struct with hcl, json and doc tags (see package
// config); Open takes a filled one. A settings struct may have a method
// Check(report func(path, problem string)) with rules that need no I/O.
type DeviceType struct {
	Type    string
	Doc     string
	Actions []Action // what Capture supports
	// InPlace says why Restore cannot put the artifacts of an action into a domain of the device itself, given its settings; nil: it
	// can. It needs no I/O. Without the function it never can.
	InPlace func(settings any, action Action, domain string) error
	// Reads gives the directory trees of this machine that captures read; it needs no I/O. Without the function there are none, or nobody can
	// tell.
	Reads    func(settings any) []Tree
	Parts    *Parts // nil: its artifacts are put back whole
	Lenient  bool   // RestoreRequest.Lenient can be given for restores into the device itself
	Settings func() any
	Open     func(ctx context.Context, name string, settings any, env Env) (Device, error)
}

// StoreType is a way to keep artifacts.
type StoreType struct {
	Type     string
	Doc      string
	Settings func() any
	// Place gives the directory of this machine that all of the store is below; empty: there is none. It needs no I/O.
	Place func(settings any) string
	Open  func(ctx context.Context, name string, settings any, env Env) (Store, error)
}

// Tree is a directory of this machine, with what is below it.
type Tree struct {
	Domain string // of the device whose captures read it
	Path   string // absolute
	// LeavesOut reports that nothing of a directory is read; its path is relative to the tree and slash separated.
	LeavesOut func(path string) bool
}

// TargetType is a kind of failover target. Member returns a fresh struct for the
// settings of one member; Open gets the filled ones by member name.
type TargetType struct {
	Type     string
	Doc      string
	Settings func() any
	Member   func() any
	Open     func(ctx context.Context, name string, settings any, members map[string]any, env Env) (Target, error)
}

// MirrorType copies from endpoints of one scheme to endpoints of another.
type MirrorType struct {
	Source, Target string // URL schemes
	Doc            string
	Open           func(ctx context.Context, name string, env Env) (Mirror, error)
}

// Registry is the list of implementations of one program. It does not change after construction.
type Registry struct {
	Devices []DeviceType
	Stores  []StoreType
	Targets []TargetType
	Mirrors []MirrorType
}

// Device finds a device type by name.
func (r *Registry) Device(typ string) (DeviceType, error) {
	return find("device type", r.Devices, typ, func(t DeviceType) string { return t.Type })
}

// Store finds a store type by name.
func (r *Registry) Store(typ string) (StoreType, error) {
	return find("store type", r.Stores, typ, func(t StoreType) string { return t.Type })
}

// Target finds a failover target type by name.
func (r *Registry) Target(typ string) (TargetType, error) {
	return find("failover target type", r.Targets, typ, func(t TargetType) string { return t.Type })
}

// Mirror finds the implementation for two endpoint URLs.
func (r *Registry) Mirror(source, target string) (MirrorType, error) {
	from, to := scheme(source), scheme(target)
	return find("mirror", r.Mirrors, from+" to "+to, func(t MirrorType) string { return t.Source + " to " + t.Target })
}

func scheme(url string) string {
	s, _, _ := strings.Cut(url, "://")
	return s
}

func find[T any](what string, all []T, want string, name func(T) string) (T, error) {
	if i := slices.IndexFunc(all, func(t T) bool { return name(t) == want }); i >= 0 {
		return all[i], nil
	}
	var known []string
	for _, t := range all {
		known = append(known, name(t))
	}
	slices.Sort(known)
	var none T
	return none, fmt.Errorf("no %s %q in this version; there are: %s", what, want, strings.Join(known, ", "))
}
