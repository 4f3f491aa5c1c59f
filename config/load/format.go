package load

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2/hclwrite"

	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/language"
	"github.com/holdfast-dr/holdfast/config/load/syntax"
)

// Format gives a file in canonical style: spacing, indentation, alignment.
// Nothing is reordered and no comment is lost. A file with syntax errors is
// not formatted; the list says why.
func Format(src []byte, filename string) ([]byte, diag.List) {
	f := &syntax.File{Name: filename, Text: src}
	f.Parse()
	if f.Report.Incomplete {
		return nil, f.Report.List
	}
	if strings.HasSuffix(filename, language.JSONEnding) {
		return formatJSON(src), nil
	}
	out := bytes.ReplaceAll(src, []byte("\r\n"), []byte("\n"))
	for range 4 { // one pass can make room for the next
		next := endLine(hclwrite.Format(out))
		if bytes.Equal(next, out) {
			break
		}
		out = next
	}
	return out, nil
}

// FormatWithin is Format that ends with the context, and within bounds of time and memory.
func FormatWithin(ctx context.Context, src []byte, filename string) ([]byte, diag.List, error) {
	var out []byte
	var list diag.List
	if err := within(ctx, usual, func() { out, list = Format(src, filename) }); err != nil {
		return nil, nil, fmt.Errorf("format %s: %w", filename, err) // out may still be written to
	}
	return out, list, nil
}

func formatJSON(src []byte) []byte {
	var out bytes.Buffer
	if err := json.Indent(&out, bytes.TrimSpace(src), "", "  "); err != nil {
		return src // HCL's reader takes a little more than the standard library does
	}
	return endLine(out.Bytes())
}

// endLine ends text with exactly one newline.
func endLine(text []byte) []byte {
	text = bytes.TrimRight(text, " \t\r\n")
	if len(text) == 0 {
		return text
	}
	return append(text, '\n')
}
