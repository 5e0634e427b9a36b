package stream

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"kshell/internal/apiclient"
)

// item returns an entry from a text such as "a@3:20": the name, the version and
// the time, in seconds.
func item(t *testing.T, text string) *entry[Object] {
	t.Helper()
	name, rest, _ := strings.Cut(text, "@")
	version, at, _ := strings.Cut(rest, ":")
	var seconds int64
	if at != "" {
		if _, err := fmt.Sscan(at, &seconds); err != nil {
			t.Fatal(err)
		}
	}
	meta := Meta{UID: name, Name: name, Version: version, When: time.Unix(seconds, 0)}
	return &entry[Object]{object: &Object{Meta: meta}, meta: meta, size: 10}
}

// Each step is a whole list ("= a@1 b@1"), the new state of one object ("a@2"),
// or a deletion ("- a@2"). The text after "->" is the expected changes.
func TestView(t *testing.T) {
	for name, c := range map[string]struct {
		limit int
		steps []string
	}{
		"list, change, delete": {0, []string{
			"= a@1 b@2 -> ADDED a@1, ADDED b@2", "c@3 -> ADDED c@3", "a@4 -> MODIFIED a@4", "- b@5 -> DELETED b@5",
			"- b@5 ->", "b@6 -> ADDED b@6",
		}},
		"the same version again": {0, []string{"= a@1 -> ADDED a@1", "a@1 ->", "= a@1 ->"}},
		"versions have no order": {0, []string{"= a@9 -> ADDED a@9", "a@10 -> MODIFIED a@10", "a@8 -> MODIFIED a@8"}},
		"without a version":      {0, []string{"= a -> ADDED a@", "a -> MODIFIED a@"}},
		"another list": {0, []string{
			"= b@1 a@1 d@1 -> ADDED b@1, ADDED a@1, ADDED d@1",
			"= c@2 d@2 a@1 -> DELETED b@1, ADDED c@2, MODIFIED d@2", "= -> DELETED c@2, DELETED d@2, DELETED a@1",
		}},
		"deleted in the list as it was last": {0, []string{"= a@1 -> ADDED a@1", "a@2 -> MODIFIED a@2", "= -> DELETED a@2"}},
		"limit, list":                        {2, []string{"= a@1:30 b@1:10 c@1:20 d@1:5 e@1:7 -> ADDED c@1, ADDED a@1"}},
		"limit, forgotten": {2, []string{
			"= a@1:1 b@1:2 -> ADDED a@1, ADDED b@1", "c@2:3 -> ADDED c@2", "- a@3:1 ->", "a@4:1 ->", "- b@5:2 -> DELETED b@5",
		}},
		"limit, forgotten in the list": {2, []string{
			"= a@1:1 b@1:2 -> ADDED a@1, ADDED b@1", "= a@1:1 b@1:2 c@2:3 -> ADDED c@2", "- a@3:1 ->",
		}},
		"limit, deleted in the list": {2, []string{
			"= a@1:1 b@1:2 c@1:3 -> ADDED b@1, ADDED c@1", "= a@1:1 c@1:3 -> DELETED b@1, ADDED a@1",
		}},
		"limit, a forgotten one becomes new": {2, []string{
			"= a@1:1 b@1:2 -> ADDED a@1, ADDED b@1", "c@2:3 -> ADDED c@2", "a@3:4 -> ADDED a@3", "- b@4:2 ->",
		}},
		"limit, the time of one changes": {2, []string{
			"= a@1:1 b@1:2 -> ADDED a@1, ADDED b@1", "a@2:5 -> MODIFIED a@2", "c@3:3 -> ADDED c@3", "- b@4:2 ->",
			"- a@5:5 -> DELETED a@5",
		}},
		"limit, equal times": {1, []string{"= a@1:1 -> ADDED a@1", "b@2:1 -> ADDED b@2", "- a@3:1 ->"}},
		"limit, older than all": {1, []string{
			"= a@1:5 -> ADDED a@1", "b@2:4 ->", "- b@2:4 ->", "- a@3:5 -> DELETED a@3",
			"b@4:4 -> ADDED b@4",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			v := view[Object]{limit: c.limit}
			for _, step := range c.steps {
				input, want, _ := strings.Cut(step, "->")
				if got := strings.Join(applyStep(t, &v, strings.Fields(input)), ", "); got != strings.TrimSpace(want) {
					t.Errorf("%s: got %q", step, got)
				}
				if len(v.items) != len(v.index) || v.size != 10*len(v.items) || c.limit > 0 && len(v.items) > c.limit {
					t.Errorf("%s: %d items, %d in the index, size %d", step, len(v.items), len(v.index), v.size)
				}
			}
		})
	}
}

func applyStep(t *testing.T, v *view[Object], words []string) (changes []string) {
	t.Helper()
	add := func(c Change[Object]) { changes = append(changes, string(c.Type)+describe(c)) }
	if words[0] == "=" {
		l := listing[Object]{limit: v.limit, keys: map[string]bool{}}
		for _, word := range words[1:] {
			if err := l.add(item(t, word)); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range v.replace(&l) {
			add(c)
		}
		return changes
	}
	c, changed, err := v.apply(item(t, words[len(words)-1]), words[0] == "-")
	if err != nil {
		t.Fatal(err)
	}
	if changed {
		add(c)
	}
	return changes
}

// The total size of the objects is limited. Objects that were forgotten do not
// count.
func TestView_Size(t *testing.T) {
	large := func(name string) *entry[Object] {
		e := item(t, name+"@1")
		e.size = maxView/2 + 1
		return e
	}
	var tooLarge *apiclient.TooLargeError
	l := listing[Object]{keys: map[string]bool{}}
	if err := errors.Join(l.add(large("a")), l.add(large("b"))); !errors.As(err, &tooLarge) {
		t.Errorf("a list: %v", err)
	}
	var v view[Object]
	_, _, err1 := v.apply(large("a"), false)
	_, _, err2 := v.apply(large("b"), false)
	if err1 != nil || !errors.As(err2, &tooLarge) {
		t.Errorf("events: %v, %v", err1, err2)
	}
	v = view[Object]{limit: 1}
	l = listing[Object]{limit: 1, keys: map[string]bool{}}
	for _, name := range []string{"a", "b", "c"} {
		if _, _, err := v.apply(large(name), false); err != nil {
			t.Error(err)
		}
	}
	if l.add(large("a")); l.size > maxView {
		t.Error("one object is too large")
	}
}

// Objects without a uid are identified by namespace and name.
func TestView_WithoutUID(t *testing.T) {
	var v view[Object]
	for _, namespace := range []string{"x", "y"} {
		meta := Meta{Name: "a", Namespace: namespace, Version: "1"}
		c, changed, err := v.apply(&entry[Object]{object: &Object{Meta: meta}, meta: meta}, false)
		if c.Type != Added || !changed || err != nil {
			t.Errorf("%s: %s, %v", namespace, c.Type, err)
		}
	}
}
