package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// settings are what the config file of a repository says that decides how it
// is read: nothing of it is ever run or followed.
type settings struct {
	objectFormat, refStorage string
	partial                  bool     // objects were left out when it was cloned
	remotes                  []string // names, in order
}

// readSettings reads the config file of a repository. Without one there are none.
func readSettings(path string) (s settings, err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return s, err
	}
	if len(text) > maxFileSize {
		return s, &tooLarge{"its config file", int64(len(text)), maxFileSize}
	}
	err = eachSetting(text, func(section, name, key, value string) {
		switch {
		case section == "extensions" && key == "objectformat":
			s.objectFormat = value
		case section == "extensions" && key == "refstorage":
			s.refStorage = value
		case section == "extensions" && key == "partialclone", section == "remote" && key == "promisor" && !strings.EqualFold(value, "false"):
			s.partial = true
		}
		if section == "remote" && name != "" && !slices.Contains(s.remotes, name) {
			s.remotes = append(s.remotes, name)
		}
	})
	return s, err
}

// configReader goes through a config file as git does (git-config(1), "Syntax").
type configReader struct {
	text []byte
	at   int
}

// eachSetting calls do for every "section.name.key = value" of a config file. A
// key without a value has "true". Values may be of any encoding. What git
// refuses is an error.
func eachSetting(text []byte, do func(section, name, key, value string)) error {
	text = bytes.ReplaceAll(bytes.TrimPrefix(text, []byte("\ufeff")), []byte("\r\n"), []byte("\n"))
	r := &configReader{text: text}
	section, name, ok := "", "", true
	for ok {
		switch c := r.next(); {
		case c == 0 && r.at > len(r.text):
			return nil
		case c == '#' || c == ';':
			r.restOfLine()
		case c == '[':
			section, name, ok = r.section()
		case isLetter(c):
			key, value, good := r.setting(c)
			if ok = good; ok {
				do(section, name, key, value)
			}
		default:
			ok = strings.IndexByte(" \t\n\r\v\f", c) >= 0
		}
	}
	return fmt.Errorf("its config file is damaged in line %d", 1+bytes.Count(r.text[:min(r.at-1, len(r.text))], []byte("\n")))
}

// next gives the next byte, 0 at the end and beyond.
func (r *configReader) next() byte {
	r.at++
	if r.at > len(r.text) {
		return 0
	}
	return r.text[r.at-1]
}

func (r *configReader) restOfLine() {
	for c := r.next(); c != '\n' && r.at <= len(r.text); c = r.next() {
	}
}

func isLetter(c byte) bool  { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isKeyByte(c byte) bool { return isLetter(c) || c >= '0' && c <= '9' || c == '-' }

// section reads [section], [section "name"] or, as git once wrote it, [section.name].
func (r *configReader) section() (section, name string, ok bool) {
	var b strings.Builder
	for c := r.next(); c != ']'; c = r.next() {
		switch {
		case c == ' ' || c == '\t':
			name, ok = r.quotedName()
			return strings.ToLower(b.String()), name, ok
		case !isKeyByte(c) && c != '.':
			return "", "", false
		}
		b.WriteByte(c)
	}
	section, name, _ = strings.Cut(strings.ToLower(b.String()), ".")
	return section, name, true
}

// quotedName reads the name after a section, up to its bracket.
func (r *configReader) quotedName() (string, bool) {
	c := r.next()
	for c == ' ' || c == '\t' {
		c = r.next()
	}
	var b strings.Builder
	for ok := c == '"'; ok; b.WriteByte(c) {
		if c = r.next(); c == '"' {
			return b.String(), r.next() == ']'
		}
		if c == '\\' {
			c = r.next()
		}
		ok = c != '\n' && r.at <= len(r.text)
	}
	return "", false
}

// setting reads "key", or "key = value", whose first letter was read already.
func (r *configReader) setting(first byte) (key, value string, ok bool) {
	b := []byte{first}
	c := r.next()
	for ; isKeyByte(c); c = r.next() {
		b = append(b, c)
	}
	for c == ' ' || c == '\t' {
		c = r.next()
	}
	key = strings.ToLower(string(b))
	switch {
	case c == '\n' || r.at > len(r.text):
		return key, "true", true
	case c != '=':
		return "", "", false
	}
	value, ok = r.value()
	return key, value, ok
}

// value reads up to the end of the line, without spaces around it and comments.
func (r *configReader) value() (string, bool) {
	var b []byte
	quoted, kept := false, 0 // kept: length without trailing spaces
	for {
		c := r.next()
		switch {
		case c == '\n' || r.at > len(r.text):
			return string(b[:kept]), !quoted
		case c == '"':
			quoted = !quoted
			continue
		case !quoted && (c == '#' || c == ';'):
			r.restOfLine()
			return string(b[:kept]), true
		case !quoted && (c == ' ' || c == '\t'):
			if len(b) > 0 {
				b = append(b, c)
			}
			continue
		case c == '\\':
			c = r.next()
			at := strings.IndexByte("tbn\\\"\n", c)
			if at < 0 {
				return "", false
			}
			if c == '\n' {
				continue
			}
			c = "\t\b\n\\\""[at]
		}
		b = append(b, c)
		kept = len(b)
	}
}
