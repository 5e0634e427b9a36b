package script

import (
	"slices"
	"testing"
)

func TestShrink(t *testing.T) {
	source := "#!/bin/sh\n# A comment\n\nif true; then\n\t# Another one.\n\n" +
		"\techo '# text' # kept\nfi\n\techo \\\n\t\t  last"
	want := "if true; then\necho '# text' # kept\nfi\necho \\\n  last"
	if got := Shrink(source); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestQuoteAll(t *testing.T) {
	for want, words := range map[string][]string{
		`ls -la /tmp`:               {"ls", "-la", "/tmp"},
		`'a b' '' '$HOME' 'a;b'`:    {"a b", "", "$HOME", "a;b"},
		`'it'\''s' 'ä' a=b,c@d%+:_`: {"it's", "ä", "a=b,c@d%+:_"},
	} {
		if got := QuoteAll(words); got != want {
			t.Errorf("%q becomes %s, want %s", words, got, want)
		}
	}
}

func TestShorten(t *testing.T) {
	got := Shorten("# A comment\nk_one=1 k_two=$k_one\nif [ \"$k_two\" ] && k_three; then\n\techo $k_two\nfi\n",
		"k_three() {\n\tcase $k_two in\n\tk_*) false ;;\n\t*) exit ;;\n\tesac\n}\n")
	want := []string{
		"kb=1 ka=$kb\nif test \"$ka\"&&kc;then echo $ka\nfi\n",
		"kc(){\ncase $ka in k?)false;;*)exit\nesac\n}\n",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
