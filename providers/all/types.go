package all

import (
	"slices"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/language"
	"github.com/holdfast-dr/holdfast/providers"
)

// Types answers the loader's questions about the providers of a registry.
func Types(r *providers.Registry) language.Types { return types{r} }

type types struct{ r *providers.Registry }

func (t types) Names(kind string) []string {
	var names []string
	switch kind {
	case config.KindDevice:
		for _, d := range t.r.Devices {
			names = append(names, d.Type)
		}
	case config.KindStore:
		for _, s := range t.r.Stores {
			names = append(names, s.Type)
		}
	case config.KindFailoverTarget:
		for _, x := range t.r.Targets {
			names = append(names, x.Type)
		}
	}
	slices.Sort(names)
	return names
}

func (t types) Settings(kind, typ string) (any, bool) {
	switch kind {
	case config.KindDevice:
		if d, err := t.r.Device(typ); err == nil {
			return d.Settings(), true
		}
	case config.KindStore:
		if s, err := t.r.Store(typ); err == nil {
			return s.Settings(), true
		}
	case config.KindFailoverTarget:
		if x, err := t.r.Target(typ); err == nil {
			return x.Settings(), true
		}
	}
	return nil, false
}

func (t types) Member(typ string) (any, bool) {
	x, err := t.r.Target(typ)
	if err != nil {
		return nil, false
	}
	return x.Member(), true
}

func (t types) Endpoint(source, target string) error {
	_, err := t.r.Mirror(source, target)
	return err
}
