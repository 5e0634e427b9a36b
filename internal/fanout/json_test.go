package fanout

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"kshell/internal/stream"
)

func TestJSONLine_EveryByteCanBeDecoded(t *testing.T) {
	allBytes := make([]byte, 256)
	for i := range allBytes {
		allBytes[i] = byte(i)
	}
	inputs := []string{
		"a <b> & c\n", "\n", "no feed", "\xff\xfe\n\x00\x1b[31m\n", strings.Repeat("ü", maxLine) + "\n", string(allBytes),
	}
	for _, in := range inputs {
		var out bytes.Buffer
		l := newLineWriter(&out, jsonLine("", Container{"p", "c"}, "stderr"))
		_, _ = l.Write([]byte(in))
		l.finish()
		var got strings.Builder
		for d := json.NewDecoder(&out); d.More(); {
			var line lineJSON
			if err := d.Decode(&line); err != nil {
				t.Fatal(err)
			}
			if line.Pod != "p" || line.Container != "c" || line.Stream != "stderr" ||
				(line.Line == nil) == (line.Base64 == nil) {
				t.Errorf("line %+v", line)
			}
			if line.Line != nil {
				got.WriteString(*line.Line)
			} else {
				raw, err := base64.StdEncoding.DecodeString(*line.Base64)
				if err != nil {
					t.Fatal(err)
				}
				got.Write(raw)
			}
			if !line.Open {
				got.WriteByte('\n')
			}
		}
		if got.String() != in {
			t.Errorf("%.100q was decoded as %.100q", in, got.String())
		}
	}
}

func TestJSONLine_ControlAndFormatCharactersAreEscaped(t *testing.T) {
	const in = "\x1b[2J\x7f\u009b\u0085\u202e\u2066\u2028\ufeff\U000e0041\tü"
	const want = `{"pod":"p","container":"c","stream":"stdout",` +
		`"line":"\u001b[2J\u007f\u009b\u0085\u202e\u2066\u2028\ufeff\udb40\udc41\tü"}` + "\n"
	got := jsonLine("", Container{"p", "c"}, "stdout")(nil, []byte(in), false)
	if string(got) != want {
		t.Errorf("got  %s want %s", got, want)
	}
	var line lineJSON
	if err := json.Unmarshal(got, &line); err != nil || *line.Line != in {
		t.Errorf("decoded as %q, %v, want %q", *line.Line, err, in)
	}
}

func TestJSONEnd(t *testing.T) {
	lost := &stream.LostError{Err: errors.New("reset")}
	got := string(jsonEnd("", Container{"p", "c"}, newResult("p", lost), lost))
	want := `{"pod":"p","container":"c","exitCode":255,"cause":"lost","message":"connection lost: reset"}` + "\n"
	if got != want {
		t.Errorf("got %s want %s", got, want)
	}
}
