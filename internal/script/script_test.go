package script

import "testing"

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
