package similar

import (
	"fmt"
	"slices"
	"testing"
)

func TestSort(t *testing.T) {
	tests := []struct {
		wanted string
		names  []string
		want   []string
	}{
		{"prdo", []string{"dev", "prod", "stage"}, []string{"prod", "dev", "stage"}},
		{"PROD", []string{"prog", "eu-west-prod-1"}, []string{"eu-west-prod-1", "prog"}},
		{"x", []string{"b", "a"}, []string{"a", "b"}},
		{"kitten", []string{"sitting", "kit"}, []string{"kit", "sitting"}},
	}
	for _, test := range tests {
		if got := Sort(test.wanted, test.names); !slices.Equal(got, test.want) {
			t.Errorf("Sort(%q): got %v, want %v", test.wanted, got, test.want)
		}
	}
}

func TestNames(t *testing.T) {
	many := make([]string, 1000)
	for i := range many {
		many[i] = fmt.Sprintf("web-%04d", i)
	}
	tests := []struct {
		wanted string
		names  []string
		want   []string
	}{
		{"namepsace", []string{"name", "namespace", "names"}, []string{"namespace"}},
		{"exce", []string{"watch", "exec"}, []string{"exec"}},
		{"Web", []string{"web", "wab", "w"}, []string{"web", "wab"}}, // short: one edit
		{"web", []string{"web", "db"}, nil},                          // the name itself is no suggestion
		{"web-b", []string{"xweb-bx", "web-"}, []string{"web-", "xweb-bx"}},
		{"nope", []string{"nodd", "pipe"}, nil},
		{"prdo", []string{"prod"}, []string{"prod"}},
		{"web-00015", many, []string{"web-0001", "web-0005", "web-0015"}},
		{"", []string{"", "a", "ab"}, nil},
		{"straße", []string{"strasse"}, []string{"strasse"}},
		{"x", nil, nil},
	}
	for _, test := range tests {
		if got := Names(test.wanted, test.names); !slices.Equal(got, test.want) {
			t.Errorf("Names(%q): got %v, want %v", test.wanted, got, test.want)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	names := []string{"web1", "web2", "web3", "web4", "db"}
	for wanted, want := range map[string]string{
		"dc":   "did you mean -c db?",
		"web5": "did you mean -c web1, -c web2 or -c web3?",
		"log":  "",
	} {
		if got := DidYouMean(wanted, names, "-c "); got != want {
			t.Errorf("DidYouMean(%q): got %q, want %q", wanted, got, want)
		}
	}
}
