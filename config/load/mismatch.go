package load

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"github.com/holdfast-dr/holdfast/config/language"
	"github.com/holdfast-dr/holdfast/config/load/value"
)

// mismatch says how a value's type is not the one the argument needs, and what to write instead.
func mismatch(f *language.Field, v cty.Value) string {
	want, phrase := cty.String, "text"
	switch f.Form {
	case language.FormBool:
		want, phrase = cty.Bool, "true or false"
	case language.FormInt, language.FormFloat:
		want, phrase = cty.Number, "a number"
	case language.FormDuration:
		phrase = "a duration with its unit, in quotes"
	case language.FormSize:
		phrase = "a size with its unit, in quotes"
	}
	got := v.Type()
	if got == want {
		return ""
	}
	head := fmt.Sprintf("%s is %s, but this is %s.", f.Name, phrase, value.Describe(v))
	if f.Shape != language.Single {
		head = fmt.Sprintf("An element of %s is %s, but this is %s.", f.Name, phrase, value.Describe(v))
	}
	return head + " " + typeFix(f, v, want)
}

func typeFix(f *language.Field, v cty.Value, want cty.Type) string {
	write := func(value string) string {
		if f.Shape != language.Single {
			return "Write " + value + "."
		}
		return fmt.Sprintf("Write %s = %s.", f.Name, value)
	}
	switch got := v.Type(); {
	case got == cty.Number && want == cty.String:
		n := v.AsBigFloat().Text('f', -1)
		switch {
		case f.Form == language.FormDuration:
			return write(strconv.Quote(n+"s")) + " Units are ms, s, m, h, d and w."
		case f.Form == language.FormSize:
			return write(strconv.Quote(n+"MiB")) + " Units are B, KiB, MiB, GiB, TiB, kB, MB, GB and TB."
		case f.Enum != nil || f.Meaning != "":
			return write(f.ExampleValue())
		}
		return write(strconv.Quote(n))
	case got == cty.Bool && want == cty.String && f.Form == language.FormString && f.Enum == nil && f.Meaning == "":
		return write(strconv.Quote(strconv.FormatBool(v.True())))
	case got == cty.String && want == cty.Number && isNumber(v.AsString()):
		return strings.TrimSuffix(write(v.AsString()), ".") + ", without quotes."
	case got == cty.String && want == cty.Bool && (v.AsString() == "true" || v.AsString() == "false"):
		return strings.TrimSuffix(write(v.AsString()), ".") + ", without quotes."
	case (got.IsTupleType() || got.IsListType()) && v.LengthInt() == 1 && f.Shape == language.Single:
		return fmt.Sprintf("There is one value, so leave the brackets out. Write for example %s = %s.", f.Name, f.Example())
	}
	return write(f.ExampleValue())
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil && strings.ContainsAny(s, "0123456789") && !strings.ContainsAny(s, "xXpP_")
}
