package load

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/zclconf/go-cty/cty"
)

// mismatch says how a value's type is not the one the argument needs, and what to write instead.
func mismatch(f *field, v cty.Value) string {
	want, phrase := cty.String, "text"
	switch f.form {
	case formBool:
		want, phrase = cty.Bool, "true or false"
	case formInt, formFloat:
		want, phrase = cty.Number, "a number"
	case formDuration:
		phrase = "a duration with its unit, in quotes"
	case formSize:
		phrase = "a size with its unit, in quotes"
	}
	got := v.Type()
	if got == want {
		return ""
	}
	head := fmt.Sprintf("%s is %s, but this is %s.", f.name, phrase, describe(v))
	if f.shape != single {
		head = fmt.Sprintf("An element of %s is %s, but this is %s.", f.name, phrase, describe(v))
	}
	return head + " " + typeFix(f, v, want)
}

func typeFix(f *field, v cty.Value, want cty.Type) string {
	write := func(value string) string {
		if f.shape != single {
			return "Write " + value + "."
		}
		return fmt.Sprintf("Write %s = %s.", f.name, value)
	}
	switch got := v.Type(); {
	case got == cty.Number && want == cty.String:
		n := v.AsBigFloat().Text('f', -1)
		switch {
		case f.form == formDuration:
			return write(strconv.Quote(n+"s")) + " Units are ms, s, m, h, d and w."
		case f.form == formSize:
			return write(strconv.Quote(n+"MiB")) + " Units are B, KiB, MiB, GiB, TiB, kB, MB, GB and TB."
		case f.enum != nil || f.meaning != "":
			return write(f.exampleValue())
		}
		return write(strconv.Quote(n))
	case got == cty.Bool && want == cty.String && f.form == formString && f.enum == nil && f.meaning == "":
		return write(strconv.Quote(strconv.FormatBool(v.True())))
	case got == cty.String && want == cty.Number && isNumber(v.AsString()):
		return strings.TrimSuffix(write(v.AsString()), ".") + ", without quotes."
	case got == cty.String && want == cty.Bool && (v.AsString() == "true" || v.AsString() == "false"):
		return strings.TrimSuffix(write(v.AsString()), ".") + ", without quotes."
	case (got.IsTupleType() || got.IsListType()) && v.LengthInt() == 1 && f.shape == single:
		return fmt.Sprintf("There is one value, so leave the brackets out. Write for example %s = %s.", f.name, f.example())
	}
	return write(f.exampleValue())
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil && strings.ContainsAny(s, "0123456789") && !strings.ContainsAny(s, "xXpP_")
}
