package load_test

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/holdfast-dr/holdfast/config/glob"
	"github.com/holdfast-dr/holdfast/config/unit"
)

// Secret has the name that marks a credential.
type Secret string

type filesDevice struct {
	Roots         []*filesRoot `hcl:"root,blocks" json:"root" doc:"A directory to take."`
	OneFilesystem bool         `hcl:"one_filesystem,optional" json:"one_filesystem" default:"true" doc:"Stay on the file system of the root."`
}

type filesRoot struct {
	Name    string   `hcl:"name,label" json:"name" doc:"Name of the root; a domain of the device."`
	Path    string   `hcl:"path" json:"path" doc:"Absolute path."`
	Exclude []string `hcl:"exclude,optional" json:"exclude,omitempty" kind:"paths" doc:"Paths left out."`
}

// Check wants absolute paths and at least one root.
func (f *filesDevice) Check(report func(path, problem string)) {
	if len(f.Roots) == 0 {
		report("root", "a device of type files needs at least one root block")
	}
	for i, r := range f.Roots {
		if !path.IsAbs(r.Path) {
			report(fmt.Sprintf("root[%d].path", i), fmt.Sprintf("%q is not an absolute path", r.Path))
		}
	}
}

// Doubt is about patterns that begin with the path of their root.
func (f *filesDevice) Doubt(report func(path, problem string)) {
	for i, r := range f.Roots {
		for _, d := range glob.Doubts(r.Exclude, r.Path) {
			report(fmt.Sprintf("root[%d].exclude[%d]", i, d.Index), "The pattern "+d.Why+".")
		}
	}
}

type postgresqlDevice struct {
	DSN     Secret            `hcl:"dsn" json:"dsn" doc:"Connection string."`
	Options map[string]string `hcl:"options,optional" json:"options,omitempty" doc:"Extra settings."`
	Jobs    *int              `hcl:"jobs,optional" json:"jobs,omitempty" min:"1" max:"16" doc:"Parallel workers."`
	Ratio   float64           `hcl:"ratio,optional" json:"ratio" default:"0.5" min:"0" max:"1" doc:"Share of the bandwidth."`
}

type commandDevice struct {
	Command []string          `hcl:"command" json:"command" doc:"Program and arguments."`
	Env     map[string]Secret `hcl:"env,optional" json:"env,omitempty" doc:"Environment of the program."`
	Tokens  []Secret          `hcl:"tokens,optional" json:"tokens,omitempty" doc:"Credentials on its standard input."`
	Timeout unit.Duration     `hcl:"timeout,optional" json:"timeout" default:"1h" min:"1s" max:"24h" doc:"After this it is killed."`
	MinSize unit.Size         `hcl:"min_size,optional" json:"min_size,omitempty" doc:"Less is a failure."`
}

type plainStore struct {
	Path      string     `hcl:"path" json:"path" doc:"Directory of the store."`
	Mount     *mount     `hcl:"mount,block" json:"mount,omitempty" doc:"What must be mounted."`
	FreeSpace *freeSpace `hcl:"free_space,block" json:"free_space,omitempty" doc:"What must be free."`
}

type mount struct {
	Required bool `hcl:"required,optional" json:"required,omitempty" doc:"Must be a mount point."`
	Remote   bool `hcl:"remote,optional" json:"remote,omitempty" doc:"Must be a remote file system."`
}

type freeSpace struct {
	MinPercent int       `hcl:"min_percent,optional" json:"min_percent,omitempty" min:"0" max:"100" doc:"Share of the file system."`
	MinBytes   unit.Size `hcl:"min_bytes,optional" json:"min_bytes,omitempty" doc:"Bytes."`
}

type dnsTarget struct {
	Name string        `hcl:"name" json:"name" doc:"Record that moves."`
	TTL  unit.Duration `hcl:"ttl,optional" json:"ttl" default:"1m" doc:"Time to live."`
}

type dnsMember struct {
	Address string `hcl:"address" json:"address" doc:"IP address."`
	Key     Secret `hcl:"key,optional" json:"key,omitempty" doc:"TSIG key."`
}

// Check wants something like an address.
func (m *dnsMember) Check(report func(path, problem string)) {
	if !strings.Contains(m.Address, ".") {
		report("address", fmt.Sprintf("%q is not an IP address", m.Address))
	}
}

type webhookTarget struct {
	URL string `hcl:"url" json:"url" doc:"Called for every move."`
}

// registry is a small stand-in for the list of providers.
type registry struct{}

var settings = map[string]map[string]func() any{
	"device": {
		"files":      func() any { return new(filesDevice) },
		"postgresql": func() any { return new(postgresqlDevice) },
		"command":    func() any { return new(commandDevice) },
	},
	"store":           {"plain": func() any { return new(plainStore) }},
	"failover_target": {"dns": func() any { return new(dnsTarget) }, "webhook": func() any { return new(webhookTarget) }},
}

func (registry) Names(kind string) []string {
	var names []string
	for name := range settings[kind] {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (registry) Settings(kind, typ string) (any, bool) {
	make, ok := settings[kind][typ]
	if !ok {
		return nil, false
	}
	return make(), true
}

func (registry) Member(typ string) (any, bool) {
	if typ == "dns" {
		return new(dnsMember), true
	}
	return nil, false
}

func (registry) Endpoint(source, target string) error {
	for _, url := range []string{source, target} {
		if scheme, _, _ := strings.Cut(url, "://"); scheme != "file" {
			return fmt.Errorf("this version has no mirror from %s to %s; it has file to file", source, target)
		}
	}
	return nil
}
