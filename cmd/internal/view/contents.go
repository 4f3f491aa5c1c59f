package view

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/holdfast-dr/holdfast/config/unit"
)

// Entry is one thing inside an artifact.
type Entry struct {
	Path     string
	Kind     string
	Size     int64 // -1: not known
	Mode     string
	Modified time.Time // zero: not known
	Target   string
}

// entryJSON is its JSON. Path and Target replace bytes that are not UTF-8; the raw fields then hold the true name.
type entryJSON struct {
	Path      string    `json:"path"`
	PathRaw   []byte    `json:"path_raw,omitempty"`
	Kind      string    `json:"kind"`
	Size      *int64    `json:"size,omitempty"`
	Mode      string    `json:"mode,omitempty"`
	Modified  time.Time `json:"modified,omitzero"`
	Target    string    `json:"target,omitempty"`
	TargetRaw []byte    `json:"target_raw,omitempty"`
}

// Entries prints what is inside an artifact while it is read: a line for each, or one JSON document.
type Entries struct {
	Count int // that were added

	out   *bufio.Writer
	json  bool
	style Style
}

// NewEntries begins the list of an artifact.
func NewEntries(w io.Writer, id string, asJSON bool, s Style) *Entries {
	e := &Entries{out: bufio.NewWriter(w), json: asJSON, style: s}
	if asJSON {
		fmt.Fprintf(e.out, "{\n  \"artifact\": %q,\n  \"entries\": [", id)
	}
	return e
}

// Add prints one entry. Errors of writing are told by then or by End.
func (e *Entries) Add(one Entry) error {
	e.Count++
	if !e.json {
		_, err := fmt.Fprintln(e.out, e.style.entry(one))
		return err
	}
	text, err := json.Marshal(one.json())
	if err != nil {
		return err
	}
	comma := ","
	if e.Count == 1 {
		comma = ""
	}
	_, err = fmt.Fprintf(e.out, "%s\n    %s", comma, text)
	return err
}

// End ends the list.
func (e *Entries) End() error {
	if e.json {
		e.out.WriteString("\n  ]\n}\n") // an error stays until Flush
	}
	return e.out.Flush()
}

// Broken ends a list that is not whole, and gives the error that is still to be told: the JSON document tells it itself.
func (e *Entries) Broken(why error) error {
	if !e.json {
		_ = e.out.Flush() // there is something worse to tell
		return why
	}
	text, err := json.Marshal(why.Error())
	if err != nil {
		return err
	}
	fmt.Fprintf(e.out, "\n  ],\n  \"error\": %s\n}\n", text)
	return e.out.Flush()
}

func (one Entry) json() entryJSON {
	j := entryJSON{Path: one.Path, Kind: one.Kind, Mode: one.Mode, Modified: one.Modified, Target: one.Target}
	if one.Size >= 0 {
		j.Size = &one.Size
	}
	if !utf8.ValidString(one.Path) {
		j.PathRaw = []byte(one.Path)
	}
	if !utf8.ValidString(one.Target) {
		j.TargetRaw = []byte(one.Target)
	}
	return j
}

// entry is a line for people.
func (s Style) entry(one Entry) string {
	size, path := "-", Line(one.Path)
	switch {
	case one.Kind == "dir":
		path += "/"
	case one.Size >= 0:
		size = unit.Bytes(one.Size)
	}
	if one.Target != "" {
		path += " -> " + Line(one.Target)
	}
	return fmt.Sprintf("%-5s  %-8s  %10s  %-23s  %s", one.Mode, one.Kind, size, s.time(one.Modified), path)
}
