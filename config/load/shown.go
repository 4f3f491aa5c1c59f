package load

import (
	"bytes"
	"regexp"
	"slices"
	"strings"

	"github.com/holdfast-dr/holdfast/config/language"
)

// Shown gives the text of a file as messages may show it. Of a file that holds values of variables that is
// nothing, and so of every file that is no configuration by its name: any of them
// may be given with --var-file. In a configuration that has a sensitive variable the
// defaults of all variables are masked, byte by byte.
func Shown(name string, text []byte) []byte {
	native := strings.HasSuffix(name, language.NativeEnding)
	switch {
	case !native && !strings.HasSuffix(name, language.JSONEnding):
		return nil
	case !bytes.Contains(text, []byte("sensitive")):
		return text
	case native:
		return maskDefaults(text)
	}
	return nil
}

var firstWord = regexp.MustCompile(`^\s*([a-z_]*)`)

// maskDefaults works on lines, because the file may be one that cannot be parsed: of a variable it
// leaves those that begin with an argument or a block that is no default.
func maskDefaults(text []byte) []byte {
	masked := slices.Clone(text)
	table := language.KindByName(language.KindVariable).Table
	inVariable := false
	at := 0
	for line := range bytes.Lines(text) {
		word := string(firstWord.FindSubmatch(line)[1])
		if language.KindByName(word) != nil && line[0] == word[0] {
			inVariable = word == language.KindVariable
		}
		known := word == language.KindVariable || word == "condition" || word == "error_message" || table.Arg(word) != nil || table.Block(word) != nil
		from := bytes.Index(line, []byte("default"))
		if inVariable && !known && from < 0 {
			from = 0
		}
		if from >= 0 {
			mask(masked[at+from : at+len(line)])
		}
		at += len(line)
	}
	return masked
}

// mask leaves blanks and braces.
func mask(text []byte) {
	for i, c := range text {
		if c > ' ' && c != '{' && c != '}' {
			text[i] = '*'
		}
	}
}
