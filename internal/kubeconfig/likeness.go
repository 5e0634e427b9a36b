package kubeconfig

import (
	"cmp"
	"slices"
	"strings"
)

// sortByLikeness returns names sorted by their similarity to wanted: first the
// names that contain wanted, then the others. Both groups are sorted by edit
// distance, then alphabetically. The search for wanted and the edit distance
// ignore case.
func sortByLikeness(wanted string, names []string) []string {
	wanted = strings.ToLower(wanted)
	type scored struct {
		name     string
		missing  int // 0 if the name contains wanted, else 1
		distance int
	}
	scores := make([]scored, 0, len(names))
	for _, name := range names {
		lower := strings.ToLower(name)
		s := scored{name: name, missing: 1, distance: distance(wanted, lower)}
		if strings.Contains(lower, wanted) {
			s.missing = 0
		}
		scores = append(scores, s)
	}
	slices.SortFunc(scores, func(a, b scored) int {
		return cmp.Or(cmp.Compare(a.missing, b.missing), cmp.Compare(a.distance, b.distance), cmp.Compare(a.name, b.name))
	})
	sorted := make([]string, len(scores))
	for i, s := range scores {
		sorted[i] = s.name
	}
	return sorted
}

// distance returns the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
