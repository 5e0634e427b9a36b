package script

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// longName matches the names that Shorten replaces, and the shell pattern k_*,
// which stands for all of them. Most runs of kshell do not call Shorten, so the
// expressions are compiled by the first call.
var longName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\bk_([a-z]+\b|\*)`) })

// characters lists the second characters of the names that Shorten assigns. The
// first character is k.
const characters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// shorter lists the replacements that Shorten makes before it replaces names,
// in this order. In a URL, a newline and most operators take three characters,
// and a space takes one.
var shorter = sync.OnceValue(func() []replacement {
	return []replacement{
		{regexp.MustCompile(` ?(&&|\|\||;;|\|) ?`), "$1"},
		{regexp.MustCompile(`; `), ";"},
		{regexp.MustCompile(` ([+-]) 1\)`), "${1}1)"},
		{regexp.MustCompile(`;;\n`), ";;"},
		{regexp.MustCompile(`\n?;;esac`), "\nesac"},
		{regexp.MustCompile(`\bHUP INT QUIT TERM\b`), "1 2 3 15"},
		{regexp.MustCompile(` -KILL\b`), " -9"},
		{regexp.MustCompile(` -TERM\b`), " -15"},
		{regexp.MustCompile(`\b(then|do|else|in)\n`), "$1 "},
		{regexp.MustCompile(`\[ (.*?) \]`), "test $1"},
		{regexp.MustCompile(`(?m)(^|;;| in )([^\s;$]*\)) `), "$1$2"},
	}
})

type replacement struct {
	long *regexp.Regexp
	with string
}

// Shorten shrinks the sources as Shrink does, and makes them even shorter. It
// replaces each name k_NAME by a name of two characters, which is the same in
// all sources, and the pattern k_* by k?. It replaces [ ] by test and some
// names of signals by their numbers, and removes spaces and newlines beside
// operators and reserved words. It does not parse the sources, so it also
// changes text in quotes. The sources can have up to 62 names.
func Shorten(sources ...string) []string {
	count := map[string]int{}
	short := make([]string, len(sources))
	for i, source := range sources {
		short[i] = Shrink(source)
		for _, r := range shorter() {
			short[i] = r.long.ReplaceAllString(short[i], r.with)
		}
		for _, name := range longName().FindAllString(short[i], -1) {
			count[name]++
		}
	}
	delete(count, "k_*")
	names := slices.SortedFunc(maps.Keys(count), func(a, b string) int {
		return cmp.Or(count[b]-count[a], strings.Compare(a, b))
	})
	for i := range short {
		short[i] = longName().ReplaceAllStringFunc(short[i], func(name string) string {
			if name == "k_*" {
				return "k?"
			}
			return "k" + characters[slices.Index(names, name):][:1]
		})
	}
	return short
}
