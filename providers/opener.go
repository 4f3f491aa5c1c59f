package providers

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/holdfast-dr/holdfast/config/unit"
)

// Spec is what is recorded of an object: enough to open its provider.
type Spec struct {
	Type     string          // the type label
	Body     json.RawMessage // its arguments; unknown ones are ignored
	Identity string          // stores: the recorded identity
	Epoch    int64           // stores: the recorded epoch
}

// Opener opens providers by address. It is safe for concurrent use when Lookup and Env are.
type Opener struct {
	Registry *Registry
	Env      Env                                // Identity and Epoch are set for each store from its Spec
	Lookup   func(address string) (Spec, error) // the specification of an object
}

// Device opens the device at an address. Its calls end with their context, soon after it, if with ErrNoAnswer.
func (o *Opener) Device(ctx context.Context, address string) (Device, error) {
	t, settings, err := o.deviceType(address)
	if err != nil {
		return nil, err
	}
	return answerDevice(ctx, address, func(ctx context.Context) (Device, error) { return t.Open(ctx, objectName(address), settings, o.Env) })
}

// InPlace says why the device at an address cannot take the artifacts of an action back into one of its domains; nil: it can.
func (o *Opener) InPlace(address string, action Action, domain string) error {
	t, settings, err := o.deviceType(address)
	if err != nil {
		return err
	}
	if t.InPlace == nil {
		return fmt.Errorf("devices of type %q cannot be restored into: %w", t.Type, errors.ErrUnsupported)
	}
	return t.InPlace(settings, action, domain)
}

// Reads gives the directory trees that captures of the device at an address read.
func (o *Opener) Reads(address string) ([]Tree, error) {
	t, settings, err := o.deviceType(address)
	if err != nil || t.Reads == nil {
		return nil, err
	}
	return t.Reads(settings), nil
}

// Place gives the directory of this machine that the store at an address is below; empty: there is none.
func (o *Opener) Place(address string) (string, error) {
	t, _, settings, err := o.storeType(address)
	if err != nil || t.Place == nil {
		return "", err
	}
	return t.Place(settings), nil
}

// storeType gives the type of the store at an address, what is recorded of it, and its settings.
func (o *Opener) storeType(address string) (t StoreType, spec Spec, settings any, err error) {
	if spec, err = o.Lookup(address); err != nil {
		return t, spec, nil, err
	}
	if t, err = o.Registry.Store(spec.Type); err != nil {
		return t, spec, nil, err
	}
	settings = t.Settings()
	return t, spec, settings, decode(address, spec.Body, settings)
}

// Lenient says why the device at an address cannot leave out of a restore what it refuses; nil: it can.
func (o *Opener) Lenient(address string) error {
	t, _, err := o.deviceType(address)
	if err == nil && !t.Lenient {
		err = fmt.Errorf("devices of type %q take all of an artifact or nothing: %w", t.Type, errors.ErrUnsupported)
	}
	return err
}

// Store opens the store at an address. Its calls end in time, if with ErrStoreNoAnswer; iterators and what takes as long as there is
// content end with their context, as those of a device do. What one opens of a store ends with the context that opened it.
func (o *Opener) Store(ctx context.Context, address string) (Store, error) {
	t, spec, settings, err := o.storeType(address)
	if err != nil {
		return nil, err
	}
	var body struct {
		Timeout unit.Duration `json:"timeout"`
	}
	if err := decode(address, spec.Body, &body); err != nil {
		return nil, err
	}
	env := o.Env
	env.Identity, env.Epoch = spec.Identity, spec.Epoch
	return answerStore(ctx, address, cmp.Or(body.Timeout.Std(), DefaultTimeout), func(ctx context.Context) (Store, error) {
		return t.Open(ctx, objectName(address), settings, env)
	})
}

// Target opens the failover target at an address.
func (o *Opener) Target(ctx context.Context, address string) (Target, error) {
	spec, err := o.Lookup(address)
	if err != nil {
		return nil, err
	}
	t, err := o.Registry.Target(spec.Type)
	if err != nil {
		return nil, err
	}
	settings := t.Settings()
	if err := decode(address, spec.Body, settings); err != nil {
		return nil, err
	}
	var body struct {
		Members []struct {
			Name     string          `json:"name"`
			Settings json.RawMessage `json:"settings"`
		} `json:"member"`
	}
	if err := decode(address, spec.Body, &body); err != nil {
		return nil, err
	}
	members := make(map[string]any, len(body.Members))
	for _, m := range body.Members {
		settings := t.Member()
		if len(m.Settings) > 0 {
			if err := decode(address, m.Settings, settings); err != nil {
				return nil, err
			}
		}
		members[m.Name] = settings
	}
	return t.Open(ctx, objectName(address), settings, members, o.Env)
}

// Mirror opens the implementation that copies source to target (endpoint URLs) for the mirror at an address. Its calls end as those of a device.
func (o *Opener) Mirror(ctx context.Context, address, source, target string) (Mirror, error) {
	t, err := o.Registry.Mirror(source, target)
	if err != nil {
		return nil, err
	}
	return answerMirror(ctx, address, func(ctx context.Context) (Mirror, error) { return t.Open(ctx, objectName(address), o.Env) })
}

func decode(address string, body json.RawMessage, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("read the specification of %s: %w", address, err)
	}
	return nil
}

// objectName is the address without its kind: the name people gave the object.
func objectName(address string) string {
	_, name, _ := strings.Cut(address, ".")
	return name
}
