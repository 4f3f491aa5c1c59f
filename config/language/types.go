package language

// Types is what the language takes from the providers. Kind is "device",
// "store" or "failover_target".
type Types interface {
	// Names lists the known types of a kind.
	Names(kind string) []string
	// Settings gives a pointer to a fresh settings struct; false: no such type.
	Settings(kind, typ string) (any, bool)
	// Member gives a pointer to a fresh struct for the settings of one member of
	// a failover target; false: members of this type have no settings.
	Member(typ string) (any, bool)
	// Endpoint is nil when a mirror can be made from source to target, both URLs.
	Endpoint(source, target string) error
}
