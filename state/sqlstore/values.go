package sqlstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-dr/holdfast/state"
)

// How values of the records are kept in columns.

// micros is a time as it is stored: microseconds since 1970 UTC, 0 for none.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// instant reads a stored time.
type instant time.Time

func (i *instant) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("%T is not a time", v)
	}
	*i = instant{}
	if n != 0 {
		*i = instant(time.UnixMicro(n).UTC())
	}
	return nil
}

// text is JSON as it is stored: NULL for none.
func text(raw json.RawMessage) any {
	if raw == nil {
		return nil
	}
	return string(raw)
}

// rawJSON reads stored JSON.
type rawJSON json.RawMessage

func (r *rawJSON) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*r = nil
	case string:
		*r = rawJSON(v)
	case []byte:
		*r = append(rawJSON(nil), v...)
	default:
		return fmt.Errorf("%T is not JSON", v)
	}
	return nil
}

// nameList reads a stored JSON list of names.
type nameList []string

func (l *nameList) Scan(v any) error {
	s, ok := v.(string)
	if !ok {
		return fmt.Errorf("%T is not a list", v)
	}
	*l = nil
	if s == "[]" {
		return nil
	}
	return json.Unmarshal([]byte(s), (*[]string)(l))
}

func listText(names []string) (string, error) {
	if len(names) == 0 {
		return "[]", nil
	}
	b, err := json.Marshal(names)
	return string(b), err
}

// headList reads a stored list of heads.
type headList []state.Head

func (l *headList) Scan(v any) error {
	s, ok := v.(string)
	if !ok {
		return fmt.Errorf("%T is not a list", v)
	}
	*l = nil
	if s == "[]" {
		return nil
	}
	return json.Unmarshal([]byte(s), (*[]state.Head)(l))
}

func headText(heads []state.Head) (string, error) {
	if len(heads) == 0 {
		return "[]", nil
	}
	b, err := json.Marshal(heads)
	return string(b), err
}

// holdText reads a stored hold; there may be none.
type holdText state.Hold

func (h *holdText) Scan(v any) error {
	*h = holdText{}
	if v == nil {
		return nil
	}
	s, ok := v.(string)
	if !ok {
		return fmt.Errorf("%T is not a hold", v)
	}
	return json.Unmarshal([]byte(s), (*state.Hold)(h))
}

// number reads a number that the records hold as text: the id of a run.
type number string

func (n *number) Scan(v any) error {
	i, ok := v.(int64)
	if !ok {
		return fmt.Errorf("%T is not an id", v)
	}
	*n = number(strconv.FormatInt(i, 10))
	return nil
}

// runNumber is the stored form of a run's id.
func runNumber(id string) (int64, error) {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil || n < 1 || strconv.FormatInt(n, 10) != id {
		return 0, fmt.Errorf("run %q: %w", id, state.ErrNotFound)
	}
	return n, nil
}

// taskKey is the stored form of a task's id.
type taskKey struct{ run, seq int64 }

func parseTask(id string) (taskKey, error) {
	run, seq, _ := strings.Cut(id, ".")
	r, err := runNumber(run)
	s, err2 := runNumber(seq)
	if errors.Join(err, err2) != nil {
		return taskKey{}, fmt.Errorf("task %q: %w", id, state.ErrNotFound)
	}
	return taskKey{r, s}, nil
}

func (k taskKey) String() string {
	return strconv.FormatInt(k.run, 10) + "." + strconv.FormatInt(k.seq, 10)
}

// wantJSON refuses what could not be written out again.
func wantJSON(what string, raw json.RawMessage) error {
	if raw != nil && !json.Valid(raw) {
		return fmt.Errorf("%s is not valid JSON", what)
	}
	return nil
}
