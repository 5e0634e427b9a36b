// Package similar finds the existing names that are similar to a name that a user
// typed and that does not exist.
//
// It imports no other package of kshell, and every package may import it.
package similar

import (
	"cmp"
	"slices"
	"strings"

	"github.com/hbollon/go-edlib"
)

const (
	maxEdits  = 2 // of a name that is longer than shortName
	maxNames  = 3 // that Names returns
	shortName = 4 // the length, in bytes, up to which only one edit is allowed
)

// Names returns the names that differ from wanted by at most two edits, or by one
// if wanted has at most four bytes. It returns at most three names, the most similar
// first, and never wanted itself. It ignores case.
func Names(wanted string, names []string) []string {
	if wanted == "" {
		return nil
	}
	limit := maxEdits
	if len(wanted) <= shortName {
		limit = 1
	}
	var found []string
	for _, name := range Sort(wanted, names) {
		if name != wanted && distance(wanted, name) <= limit {
			found = append(found, name)
		}
	}
	slices.SortStableFunc(found, func(a, b string) int { return cmp.Compare(distance(wanted, a), distance(wanted, b)) })
	return found[:min(len(found), maxNames)]
}

// DidYouMean returns a question that suggests the names that are similar to wanted,
// such as "did you mean -c web or -c db?". Each name follows prefix. DidYouMean
// returns "" if no name is similar.
func DidYouMean(wanted string, names []string, prefix string) string {
	found := Names(wanted, names)
	for i := range found {
		found[i] = prefix + found[i]
	}
	return Question(found)
}

// Question returns a question that suggests names, such as "did you mean a, b or c?".
// It returns "" if there are no names.
func Question(names []string) string {
	switch last := len(names) - 1; last {
	case -1:
		return ""
	case 0:
		return "did you mean " + names[0] + "?"
	default:
		return "did you mean " + strings.Join(names[:last], ", ") + " or " + names[last] + "?"
	}
}

// Sort returns names sorted by their similarity to wanted: first the names that
// contain wanted, then the others. Both groups are sorted by edit distance, then
// alphabetically. The search for wanted and the edit distance ignore case.
func Sort(wanted string, names []string) []string {
	type scored struct {
		name     string
		missing  int // 0 if the name contains wanted, else 1
		distance int
	}
	scores := make([]scored, 0, len(names))
	for _, name := range names {
		s := scored{name: name, missing: 1, distance: distance(wanted, name)}
		if strings.Contains(strings.ToLower(name), strings.ToLower(wanted)) {
			s.missing = 0
		}
		scores = append(scores, s)
	}
	slices.SortFunc(scores, func(a, b scored) int {
		return cmp.Or(
			cmp.Compare(a.missing, b.missing), cmp.Compare(a.distance, b.distance), cmp.Compare(a.name, b.name),
		)
	})
	sorted := make([]string, len(scores))
	for i, s := range scores {
		sorted[i] = s.name
	}
	return sorted
}

// distance returns the number of edits that change a to b: an edit inserts, removes
// or replaces a character, or swaps two adjacent characters. It ignores case.
func distance(a, b string) int {
	return edlib.OSADamerauLevenshteinDistance(strings.ToLower(a), strings.ToLower(b))
}
