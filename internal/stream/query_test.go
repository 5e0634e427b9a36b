package stream

import (
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func FuzzEncode_Decodes(f *testing.F) {
	f.Add(`[ "$k_n" = %24 ] && echo "$(id)"; # a+b=c?d&e=f/:@!*,%2525'`)
	f.Add("\x00\xff\n\x7fä")
	f.Fuzz(func(t *testing.T, value string) {
		want := url.Values{"command": {value, "", value}, "container": {"web"}}
		got, err := url.ParseQuery(encode(want))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%q: %s", encode(want), d)
		}
	})
}

func TestEncode_FewEscapes(t *testing.T) {
	got := encode(url.Values{"command": {"sh", `$(cd /; a=1) + 'x' & "y" #`}})
	if want := "command=sh&command=$(cd+/%3B+a=1)+%2B+%27x%27+%26+%22y%22+%23"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
