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
	return changed(b, func(r *record) { r.Files[name] = sum })
}

// changed seals a record again that somebody changed.
func changed(b []byte, change func(*record)) ([]byte, error) {
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, err
	}
	change(&r)
	r, err := r.seal()
	if err != nil {
		return nil, err
	}
	return json.Marshal(r)
}

// Miscount changes the number of rows of every table in a record.
func Miscount(b []byte) ([]byte, error) {
	return changed(b, func(r *record) {
		for name := range r.Facts.Rows {
			r.Facts.Rows[name]++
		}
	})
}

// OfVersion makes a record one of another server version.
func OfVersion(b []byte, number int) ([]byte, error) {
	return changed(b, func(r *record) { r.Server.Number = number })
}

// SettingValue writes a stored setting for SQL.
func SettingValue(name, value string) string { return settingValue(name, value) }

// KeptName names a replaced database.
func KeptName(name, at string) string { return keptName(name, at) }

// NewName names the database that is built to replace another.
func NewName(name string) string { return besideName(newPrefix, name) }

// OldName names a replaced database that is being dropped.
func OldName(name string) string { return besideName(oldPrefix, name) }

// WithoutProperties makes a record one of a version that did not record what belongs to a database itself.
func WithoutProperties(b []byte) ([]byte, error) {
	return changed(b, func(r *record) { r.Database.Properties, r.Database.Objects = nil, nil })
}
