package postgresql

import "encoding/json"

// What black-box tests cannot reach without a server for each case.

// ParseDSN gives the parameters of a connection string.
func ParseDSN(text string) (map[string]string, error) { return parseDSN(text) }

// SameValue compares a value as written in a file with a parameter's.
func SameValue(written, setting, unit, kind string) bool {
	return sameValue(written, parameter{setting: setting, unit: unit, kind: kind})
}

// Match matches a pattern.
func Match(pattern, name string) bool { return match(pattern, name) }

// Reseal changes the checksum of a file in a record, as somebody would who wants to be believed.
func Reseal(b []byte, name, sum string) ([]byte, error) {
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, err
	}
	r.Files[name] = sum
	r, err := r.seal()
	if err != nil {
		return nil, err
	}
	return json.Marshal(r)
}
