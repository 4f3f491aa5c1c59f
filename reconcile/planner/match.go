package planner

import (
	"slices"
	"strings"

	"github.com/holdfast-dr/holdfast/config"
)

// deviceIndex finds the devices an activity selects without looking at every device.
type deviceIndex struct {
	devices []*config.Device // ordered by name
	names   []string         // of devices
	byLabel map[[2]string][]int
}

// indexDevices takes devices that are ordered by address, and so by name.
func indexDevices(devices []*config.Device) deviceIndex {
	x := deviceIndex{devices: devices, names: make([]string, len(devices)), byLabel: map[[2]string][]int{}}
	for i, d := range devices {
		x.names[i] = d.Address.Name()
		for k, v := range d.Labels {
			x.byLabel[[2]string{k, v}] = append(x.byLabel[[2]string{k, v}], i)
		}
	}
	return x
}

// match lists the devices an activity selects, ordered by address.
func (x deviceIndex) match(act *config.Activity) []*config.Device {
	var found []int
	switch {
	case len(act.Devices) > 0:
		for _, p := range act.Devices {
			found = x.named(found, p)
		}
		slices.Sort(found)
		found = slices.Compact(found)
	case len(act.Labels) > 0:
		found = x.labelled(act.Labels)
	}
	selected := make([]*config.Device, 0, len(found))
	for _, i := range found {
		excluded := slices.ContainsFunc(act.Exclude, func(p string) bool { return config.MatchPattern(p, x.names[i]) })
		if !excluded && hasLabels(x.devices[i].Labels, act.Labels) {
			selected = append(selected, x.devices[i])
		}
	}
	return selected
}

// named adds the devices whose name matches a pattern.
func (x deviceIndex) named(found []int, pattern string) []int {
	head, _, wild := strings.Cut(pattern, "*")
	i, exact := slices.BinarySearch(x.names, head)
	if !wild {
		if exact {
			found = append(found, i)
		}
		return found
	}
	for ; i < len(x.names) && strings.HasPrefix(x.names[i], head); i++ {
		if config.MatchPattern(pattern, x.names[i]) {
			found = append(found, i)
		}
	}
	return found
}

// labelled lists the devices that have the rarest of some labels.
func (x deviceIndex) labelled(want map[string]string) []int {
	var rarest []int
	first := true
	for k, v := range want {
		if have := x.byLabel[[2]string{k, v}]; first || len(have) < len(rarest) {
			rarest, first = have, false
		}
	}
	return rarest
}

func hasLabels(have, want map[string]string) bool {
	for k, v := range want {
		if got, ok := have[k]; !ok || got != v {
			return false
		}
	}
	return true
}
